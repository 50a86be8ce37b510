"""What a weight file is, told by its first bytes and its index. No torch: for planning.

A file that is empty, cut short, or something else altogether is refused when a sweep is planned,
not when its first cell starts. Whether the tensors fit a model is asked in `weights/fit.py`.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from janus.errors import DataError

KINDS = ".safetensors, .pth, .pt or .bin"
"""The weight files that are read, by their usual suffixes; the content decides."""

_AGAIN = "Copy or download it again"


def kind_of(path: Path) -> str:
    """`safetensors`, `torch` (written by torch.save) or `npz`, by content, whatever the suffix.

    Raises DataError for all else, and for a file that is empty, cut short or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise DataError(f"{path} cannot be loaded: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} cannot be loaded: it is empty (0 bytes). {_AGAIN}")
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if start.startswith(b"\x80"):
        return "torch"  # of before torch 1.6: one pickle after another
    if start[8:9] == b"{":
        _check_safetensors(path)
        return "safetensors"
    if start.startswith(b"version https://git-lfs"):
        raise DataError(
            f"{path} cannot be loaded: it is a Git LFS pointer, not the weights; run `git lfs pull`"
        )
    raise DataError(
        f"{path} cannot be loaded: it begins with {start[:20]!r}, as no {KINDS} file does"
    )


@lru_cache(maxsize=64)
def readable(path: Path, size: int, mtime_ns: int) -> None:
    """Raise DataError for a file that no run could read; once, however many cells name it."""
    if kind_of(path) == "npz":
        raise DataError(
            f"{path} cannot be loaded: a JAX archive. Convert it once: python -m janus.weights "
            f"convert {path} OUT.safetensors --model NAME_IN_TIMM"
        )


def metadata_of(path: Path) -> dict[str, str]:
    """The text that a .safetensors file carries beside its tensors."""
    with safe_open(str(path), "np") as opened:
        return dict(opened.metadata() or {})


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(str(path), "np") as opened:
            count = len(opened.keys())
    except SafetensorError as error:
        raise DataError(f"{path} cannot be loaded: it is damaged ({error}). {_AGAIN}") from error
    if not count:
        raise DataError(f"{path} cannot be loaded: it holds no tensors")


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} cannot be loaded: it is cut short. {_AGAIN}") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise DataError(
            f"{path} cannot be loaded: it is a TorchScript program, not weights. Save its weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise DataError(f"{path} cannot be loaded: a zip archive, but not one that torch.save wrote")
