"""Loads CIFAR-100 from its Python pickles without running code from them.

A pickle can call functions; this reader allows only numpy arrays and plain containers.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct

from janus.config.cell import BenchConfig
from janus.data.files.known_checksums import known_checksums
from janus.data.images.images import Bench, Images
from janus.errors import DataError

MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""Published checksums of the three files, as torchvision lists them."""


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),
}
"""Names that a pickled array of bytes uses, under numpy's old and new module paths."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The object of this name if it is allowed. Raises UnpicklingError for any other name."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return ALLOWED[module, name]


def read_pickle(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in a CIFAR pickle, with text keys, and the file's MD5."""
    try:
        with open(path, "rb") as stream:
            record = _ArraysOnly(stream, encoding="latin1").load()
    except Exception as error:  # for a damaged pickle the reader may raise any exception
        raise _damaged(path, error) from None
    if not isinstance(record, dict):
        raise _damaged(path, "it holds no mapping")
    keys = {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in record.items()}
    return keys, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _damaged(path: Path, why: object) -> DataError:
    return DataError(f"{path} is not a CIFAR pickle, or is damaged: {why}. Fetch it again")


def split_hash(sums: dict[str, str]) -> str:
    """The hash of the split, made from the MD5 sums of the three files."""
    text = "\n".join(f"{sums[name]}  {name}" for name in ("train", "test", "meta"))
    return hashlib.sha256(text.encode()).hexdigest()


def load_cifar100(config: BenchConfig) -> Bench:
    """Both splits, 3 x 32 x 32, fine labels. Raises DataError for missing or damaged files.

    Under `eval=validation` the test file is not opened: its known checksum is used.
    """
    root = Path(config.root or ".").expanduser()
    folder = root / "cifar-100-python" if (root / "cifar-100-python").is_dir() else root
    if missing := [name for name in MD5 if not (folder / name).is_file()]:
        raise DataError(
            f"bench {config.name}: {folder} lacks {', '.join(missing)}. Fetch them with: "
            f"python -m janus.data fetch {config.name} bench.root={root}"
        )
    meta, sums = read_pickle(folder / "meta")
    found = {"meta": sums} | known_checksums(config, {"test": MD5["test"]})
    parts = {}
    for name in ("train", "test") if config.eval == "test" else ("train",):
        record, found[name] = read_pickle(folder / name)
        parts[name] = _images(record, folder / name)
    names = meta.get("fine_label_names")
    if not isinstance(names, list) or not names:
        raise _damaged(folder / "meta", "it has no fine_label_names")
    classes = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)
    return Bench(
        parts["train"],
        parts.get("test", parts["train"].none()),
        class_names=classes,
        domain_names=("all",),
        sha256=split_hash(found),
        test_sums={"test": found["test"]},
    )


def _images(record: dict[str, Any], path: Path) -> Images:
    data, labels = record.get("data"), record.get("fine_labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise _damaged(path, "data is no array of N x 3072 bytes")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise _damaged(path, "fine_labels does not have one number per image")
    if not all(isinstance(n, int) for n in labels):
        raise _damaged(path, "fine_labels holds something else than numbers")
    numbers = torch.tensor(labels, dtype=torch.long)
    pixels = torch.from_numpy(np.ascontiguousarray(data).reshape(-1, 3, 32, 32))
    return Images(pixels, numbers, torch.zeros_like(numbers), torch.arange(len(numbers)))
