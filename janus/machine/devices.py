"""Names of this machine's CPU and GPUs, and the choice of the device to train on.

Only `pick_device` imports torch: planning compares device names with past runs and must be fast.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

from janus.config.execution import Execution
from janus.errors import ConfigError, suggest


def cpu_name() -> str:
    """Model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def gpu_names(driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names of the GPUs that the NVIDIA driver lists (Linux), spelt as torch spells them."""
    found = []
    for path in sorted(driver.glob("*/information")):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                found.append(value.strip())
    return found


def pick_device(name: str) -> str:
    """The device to use; 'auto' becomes cuda or cpu. Raises ConfigError for a missing device."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"unknown device {name!r}.{suggest(name, ['auto', 'cpu', 'cuda'])}"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device={name}: only cpu and cuda are supported")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}: this machine has {torch.cuda.device_count()} GPUs")
    return name


def for_one_of_several(execution: Execution) -> Execution:
    """`execution` for a process beside which others train: its device, and one thread on a CPU.

    One core for each of several cells is faster than all cores for one after the other.
    """
    device = pick_device(execution.device)
    return replace(execution, device=device, threads=1 if device == "cpu" else execution.threads)
