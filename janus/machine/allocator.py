"""How this process takes memory from the system, and gives it back."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # from malloc.h


def reuse_large_blocks() -> bool:
    """Keep freed blocks of up to 1 GiB for the next batch; whether the C library agreed.

    By default glibc maps every block above 32 MiB anew and the kernel zeroes its pages, which for a
    batch of 64 images of 224 x 224 takes longer than to make it (tests/perf/input_path.py). So do
    the heaps of 64 MiB that threads get for themselves: all share one. Never changes a result.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library
    wanted = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: 2**31 - 1, _ARENA_MAX: 1}
    answers = [int(mallopt(name, value)) for name, value in wanted.items()]
    return all(answers)


def release_memory() -> None:
    """Return freed memory, which `reuse_large_blocks` holds on to, to the system and the GPU.

    A worker trains one cell after another: what the last one used is not the next one's.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
