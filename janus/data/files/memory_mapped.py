"""Prepared benches: all images decoded once into files that every run on a machine memory-maps.

A folder holds `train.u8` and `test.u8` (all pixels, one image after another), `index.safetensors`
(labels, domains, groups, sizes) and `manifest.json`. The manifest is written last, so a folder
without it is incomplete and not used.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from janus import atomic_files
from janus.config.cell import BenchConfig
from janus.data.files import stale
from janus.data.images.flat_images import FlatImages
from janus.data.images.images import Bench, Images
from janus.data.images.varied_size import VariedSizeImages
from janus.errors import DataError, RunError

CHUNK = 64
"""Number of images decoded at a time."""


def write_prepared(bench: Bench, config: BenchConfig) -> Path:
    """Decode every image of `bench` and write the folder; returns it.

    Raises DataError if an image cannot be read or the disk is too small.
    """
    folder = config.prepared_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    (folder / stale.NAME).unlink(missing_ok=True)
    parts = {"train": bench.train, "test": bench.test}
    sizes = {name: _sizes(images) for name, images in parts.items()}
    needed = sum(int(s.prod(1).sum()) * _channels(parts[n]) for n, s in sizes.items())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder} would need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free. Name "
            "another folder with bench.cache=DIR, or store smaller images: bench.stored_side=256"
        )
    index: dict[str, Tensor] = {}
    sums: dict[str, str] = {}
    for name, images in parts.items():
        sums[name] = _write_pixels(folder / f"{name}.u8", images)
        index |= {f"{name}_{n}": getattr(images, n) for n in ("labels", "domains", "groups")}
        index[f"{name}_sizes"] = sizes[name]
    record = {n: t.clone().contiguous() for n, t in index.items()}
    atomic_files.replace(folder / "index.safetensors", lambda path: save_file(record, str(path)))
    manifest = {
        "bench": config.name,
        "split": config.split,
        "split_sha256": bench.sha256,
        "stored_side": config.stored_side,
        "class_names": list(bench.class_names),
        "domain_names": list(bench.domain_names),
        "shared_test": bench.shared_test,
        "shape": {n: _shape(images) for n, images in parts.items()},
        "bytes": {n: (folder / f"{n}.u8").stat().st_size for n in parts},
        "sha256": sums,
    }
    stale.record_files(folder, bench)
    atomic_files.replace(folder / "manifest.json", atomic_files.json_writer(manifest))
    return folder


def find_prepared(config: BenchConfig) -> Bench | None:
    """The prepared bench, memory-mapped; None if there is none. Raises DataError if it is damaged.

    Under `eval=validation` the test pixels are not opened, and the bench has no test images.
    """
    if config.root is None and config.cache is None:
        return None  # the bench is bundled with the package
    folder = config.prepared_folder
    manifest = atomic_files.read_record(folder / "manifest.json")
    if not manifest:
        return None
    opened = ("train", "test") if config.eval == "test" else ("train",)
    try:
        index = load_file(str(folder / "index.safetensors"))
        parts = {name: _images(folder, name, manifest, index) for name in opened}
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(folder, config, error) from None
    for name in opened:
        count = manifest["bytes"][name]
        if (folder / f"{name}.u8").stat().st_size != count:
            raise _damaged(folder, config, f"{name}.u8 does not have its {count} bytes")
    return Bench(
        parts["train"],
        parts.get("test", parts["train"].none()),
        class_names=tuple(manifest["class_names"]),
        domain_names=tuple(manifest["domain_names"]),
        sha256=manifest["split_sha256"],
        shared_test=manifest["shared_test"],
    )


def altered_arrays(config: BenchConfig) -> list[str]:
    """Names of the arrays whose hash differs from the manifest's."""
    folder = config.prepared_folder
    bundled = config.root is None and config.cache is None
    manifest = {} if bundled else atomic_files.read_record(folder / "manifest.json")
    return [n for n, s in manifest.get("sha256", {}).items() if _file_sum(folder / f"{n}.u8") != s]


def _damaged(folder: Path, config: BenchConfig, why: object) -> DataError:
    return DataError(
        f"the prepared arrays in {folder} are damaged ({why}). Write them again with: "
        f"python -m janus.data prepare {config.words}"
    )


def _channels(images: Images) -> int:
    return 3 if isinstance(images.store, VariedSizeImages) else images.store.shape[1]


def _shape(images: Images) -> list[int] | None:
    """(C, H, W) if all images have the same size, else None."""
    return None if isinstance(images.store, VariedSizeImages) else list(images.store.shape[1:])


def _sizes(images: Images) -> Tensor:
    if isinstance(images.store, VariedSizeImages):
        return images.store.sizes(images.where())
    return torch.tensor(images.store.shape[2:]).repeat(len(images), 1)


def _write_pixels(path: Path, images: Images) -> str:
    """Write all pixels, in order, into a new file; returns its SHA-256.

    Not into the old file, because running cells may have mapped it: they would read wrong pixels,
    or crash beyond its end.
    """
    digest = hashlib.sha256()

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as stream:
            for block in _blocks(images):
                digest.update(block)
                stream.write(block)

    path.unlink(missing_ok=True)  # frees its space; runs that mapped the old file keep it
    try:
        atomic_files.replace(path, fill)
    except RunError:
        raise DataError(f"no space left to write {path}; see bench.cache") from None
    return digest.hexdigest()


def _blocks(images: Images) -> Iterator[bytes]:
    for rows in images.where().split(CHUNK):
        if isinstance(images.store, VariedSizeImages):
            for image in images.store.read(rows):
                yield image.contiguous().numpy().tobytes()
        else:
            yield images.store[rows].numpy().tobytes()


def _images(folder: Path, name: str, manifest: dict[str, Any], index: dict[str, Tensor]) -> Images:
    path, count = folder / f"{name}.u8", manifest["bytes"][name]
    flat = torch.from_file(str(path), shared=False, size=count, dtype=torch.uint8)
    shape = manifest["shape"][name]
    store = FlatImages(flat, index[f"{name}_sizes"]) if shape is None else flat.view(-1, *shape)
    return Images(store, *(index[f"{name}_{n}"] for n in ("labels", "domains", "groups")))


def _file_sum(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
