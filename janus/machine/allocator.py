"""Settings of the C memory allocator: keep large blocks for reuse, or return them to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # from malloc.h


def reuse_large_blocks() -> bool:
    """Keep freed blocks of up to 1 GiB for the next batch. Returns whether the C library accepted.

    By default glibc requests every block above 32 MiB from the kernel, which fills it with zeros:
    for a batch of 64 images of 224 x 224 that takes longer than computing the batch
    (tests/perf/input_path.py). The separate 64 MiB heap of each thread has the same cost, so all
    threads share one heap. Results do not change.
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
    """Return freed memory, which `reuse_large_blocks` keeps, to the system and to the GPU.

    A worker trains one cell after another; memory of the last cell must not count for the next.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
