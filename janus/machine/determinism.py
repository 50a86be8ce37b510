"""Settings that make a GPU compute deterministically and in true float32.

A run that is killed and resumed must end with the same bytes. By default that fails on a GPU:
fused attention sums its gradients in the order in which blocks finish, cuDNN chooses convolutions
by timing them, and float32 products may round their operands to TF32 (10 bits), which is too
coarse for exactly protected subspaces.
"""

from __future__ import annotations

import os
from typing import Any

import torch


def make_deterministic(device: torch.device) -> None:
    """Use deterministic kernels and unrounded float32 until this process ends. No effect on a CPU.

    Call it before the first tensor is on `device`. From then on an operator without a
    deterministic kernel raises RuntimeError.
    """
    if device.type != "cuda":
        return
    # cuBLAS reads it at start; older torch refuses deterministic mode without it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    # cuDNN's attention is not deterministic, and builds a plan for every batch shape
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True)
    # no code here reads unwritten memory, so filling it would only cost time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def cuda_record() -> dict[str, Any]:
    """The settings and versions that decide the last bits of results on a GPU, for provenance."""
    return {
        "cuda": torch.version.cuda,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "cudnn": torch.backends.cudnn.version(),
        "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        "repeatable": torch.are_deterministic_algorithms_enabled(),
        "cudnn_attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }
