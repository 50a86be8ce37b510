"""Recognises the format of a weight file from its first bytes and its index, without torch.

So planning a sweep already refuses a file that is empty, cut short, or no weight file at all.
Whether the tensors fit a model is checked later, in `weights/fit.py`.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from janus.errors import DataError

KINDS = ".safetensors, .pth, .pt or .bin"
"""Suffixes of the weight files that can be read; the content decides, not the suffix."""

_AGAIN = "Copy or download it again"


def kind_of(path: Path) -> str:
    """The format of the file by its content: `safetensors`, `torch` (torch.save) or `npz`.

    Raises DataError for any other format, and for a file that is empty, cut short or unreadable.
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
        return "torch"  # files of torch before 1.6: several pickles in a row
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
    """Raise DataError for a file that no run could read. Cached: many cells name the same file."""
    if kind_of(path) == "npz":
        raise DataError(
            f"{path} cannot be loaded: a JAX archive. Convert it once: python -m janus.weights "
            f"convert {path} OUT.safetensors --model NAME_IN_TIMM"
        )


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file: text by key."""
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
