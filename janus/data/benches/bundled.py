"""The two benches that are bundled with the package: glyphs, and renditions of them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch

from janus.config.cell import BenchConfig
from janus.config.compose import file_sha256
from janus.data.glyphs import bundle, fonts, renditions
from janus.data.images.images import Bench, Images
from janus.errors import DataError


def load_bundled_glyphs(config: BenchConfig) -> Bench:
    """The glyphs, cleanly printed; their styles are the domains."""
    return _bundled(*_bundled_file(config))


def load_bundled_renditions(config: BenchConfig) -> Bench:
    """The glyphs printed faintly, on texture and in texture; these kinds are the domains."""
    return _rendered(*_bundled_file(config))


def _bundled_file(config: BenchConfig) -> tuple[Path, int, int]:
    """The file of the bundled glyphs, its size and time. Raises DataError if a root is given."""
    if config.root is not None:
        raise DataError(f"bench {config.name} is bundled with the package; leave out bench.root")
    path = bundle.PATH
    stat = path.stat() if path.is_file() else None
    return path, stat.st_size if stat else 0, stat.st_mtime_ns if stat else 0


@lru_cache(maxsize=1)
def _rendered(path: Path, size: int, mtime_ns: int) -> Bench:
    """The renditions of the glyphs; cached for processes that train many cells on them."""
    data = bundle.load_glyphs(path)
    digest = hashlib.sha256()
    parts = {}
    for split in ("train", "test"):
        made = renditions.render_split(data, split)
        digest.update(made.images.tobytes() + made.labels.tobytes())
        parts[split] = Images(
            store=torch.from_numpy(made.images).unsqueeze(1),
            labels=torch.from_numpy(made.labels),
            domains=torch.from_numpy(made.kinds),
            groups=torch.from_numpy(made.families),
        )
    return Bench(
        parts["train"],
        parts["test"],
        class_names=bundle.CLASSES,
        domain_names=renditions.KINDS,
        sha256=digest.hexdigest(),
    )


@lru_cache(maxsize=1)
def _bundled(path: Path, size: int, mtime_ns: int) -> Bench:
    """The bundled glyphs; cached for processes that train many cells on them."""
    data = bundle.load_glyphs(path)
    parts = {
        split: Images(
            store=torch.from_numpy(getattr(data, f"{split}_images")).unsqueeze(1),
            labels=torch.from_numpy(getattr(data, f"{split}_labels")),
            domains=torch.from_numpy(getattr(data, f"{split}_styles")),
            groups=torch.from_numpy(getattr(data, f"{split}_families")),
        )
        for split in ("train", "test")
    }
    return Bench(
        parts["train"],
        parts["test"],
        class_names=bundle.CLASSES,
        domain_names=fonts.STYLES,
        sha256=file_sha256(str(path), size, mtime_ns),
    )
