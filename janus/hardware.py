"""What the processors of this machine are called. No torch: plans compare them with past runs."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def gpu_names(driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names of the GPUs that the NVIDIA driver lists (Linux); as torch names them."""
    found = []
    for path in sorted(driver.glob("*/information")):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                found.append(value.strip())
    return found
