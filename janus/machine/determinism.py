"""What is asked of a GPU before anything runs on it: float32 that is float32, the same every time.

A run that is killed and resumed has to end with the same bytes. By default several kernels of a
transformer's training do not give them on a GPU: the backward passes of fused attention add in the
order in which blocks arrive, cuDNN's convolutions are chosen by the clock, and float32 products may
round their operands to TF32 (10 bits), which the exactness of protected subspaces does not survive.
"""

from __future__ import annotations

import os
from typing import Any

import torch


def make_deterministic(device: torch.device) -> None:
    """Choose repeatable kernels and unrounded float32, until this process ends. Nothing on a CPU.

    To be called before the first tensor reaches `device`. Operators for which torch has no
    repeatable kernel raise RuntimeError from then on.
    """
    if device.type != "cuda":
        return
    # read by cuBLAS when it starts; earlier releases of torch refuse to be repeatable without it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    # cuDNN's attention is not repeatable, and builds a plan for every shape of a batch
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True)
    # nothing here reads memory that it has not written: filling it would only cost kernels
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def cuda_record() -> dict[str, Any]:
    """What decides the last bits of results on a GPU, besides its name: part of their record."""
    return {
        "cuda": torch.version.cuda,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "cudnn": torch.backends.cudnn.version(),
        "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        "repeatable": torch.are_deterministic_algorithms_enabled(),
        "cudnn_attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }
