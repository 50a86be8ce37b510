"""Records the provenance of a result: code, machine, library versions, memory, numerical settings.

Provenance is stored beside the result and is never part of it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import socket
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from janus import atomic_files
from janus.machine import determinism
from janus.machine.allocator import release_memory
from janus.machine.devices import cpu_name
from janus.machine.plain_timm import plain_timm

PACKAGES = ("torch", "torchvision", "timm", "numpy", "safetensors", "ray", "janus-lora")


def numerics(device: torch.device) -> dict[str, Any]:
    """The settings that decide the last bits of a result: equal records mean equal result bytes."""
    on_gpu = device.type == "cuda"
    switched = {"plain_timm": True} if plain_timm() else {}
    return (
        switched
        | {
            "device": torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
            "capability": "" if on_gpu else torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "timm": _version("timm"),
        }
        | (determinism.cuda_record() | {"cpu": cpu_name()} if on_gpu else {})
    )


def reset_peak_memory(device: torch.device) -> None:
    """Restart the measurement of peak memory, because a process may train several cells.

    On systems other than Linux the peak of the host memory cannot be reset.
    """
    release_memory()
    if device.type == "cuda":
        torch.cuda.init()  # for "cuda:1" the next line would not initialise CUDA
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device_memory_bytes(device: torch.device) -> int | None:
    """Total memory of the GPU in bytes; None on a CPU."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process in bytes: allocated on the GPU, or resident in host memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@lru_cache
def machine() -> dict[str, Any]:
    """Host, CPU, GPUs, Python and package versions, and the git state of the code."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "git": _git(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _git() -> dict[str, Any]:
    """Commit and dirty flag of the working tree that holds the code; empty outside a work tree.

    For the copy of the code that cluster jobs run, both come from its `snapshot.json`.
    """
    here = Path(__file__).resolve().parent
    record = atomic_files.read_record(here.parent / "snapshot.json")
    if isinstance(record.get("git"), dict):
        return {**record["git"], "snapshot": record.get("hash", "")}

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # a package installed inside another repository does not belong to that repository
    tracked = ask("ls-files", "--error-unmatch", "__init__.py")
    sha = ask("rev-parse", "HEAD") if tracked else None
    return {"sha": sha, "dirty": bool(ask("status", "--porcelain", "."))} if sha else {}
