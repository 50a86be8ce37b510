"""Loads the bundled bench of 100 glyph classes in five type styles, and draws it again.

Loading reads `assets/glyphs.npz` and needs only numpy. Drawing that file again
(`python -m janus.data.glyphs build`) needs the fonts of `fonts.py`; equal fonts and libraries give
equal bytes. Train and test images use different font families. The style of each image is stored,
so that the same images also serve as a domain-incremental bench.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from janus.data.glyphs import fonts
from janus.data.glyphs.fonts import STYLES
from janus.errors import DataError

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PATH = ASSETS / "glyphs.npz"

# Of each group of characters that look alike under jitter of size and position only one is a
# class: O for 0, o and the degree sign; 1 for I, l and |; capitals for c k p s u v w x y z; Greek
# letters only if no Latin one looks alike. Marks that differ only in height (. , ' ` - _) are none.
_DIGITS = "123456789"
_UPPER = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
_LOWER = "abdefghijmnrty"
_GREEK = "ΓΔΘΞΣΦΨΩδζλξπσω"
_MARKS = '!"#$%&()*+/:;<=>?@[\\]^{}~'
_LATIN_1 = "£€§©¥¶±÷«»ßæ"
CLASSES: tuple[str, ...] = tuple(_DIGITS + _UPPER + _LOWER + _GREEK + _MARKS + _LATIN_1)

PER_STYLE: dict[str, int] = {"train": 12, "test": 4}
"""Images per class and style; times five styles, 60 train and 20 test images a class."""


@dataclass(frozen=True, slots=True)
class GlyphData:
    """The bench in memory. N is 6000 for train and 2000 for test."""

    train_images: NDArray[np.uint8]
    """[N, 32, 32], white ink on black."""
    train_labels: NDArray[np.int64]
    """[N], index into CLASSES."""
    train_styles: NDArray[np.int64]
    """[N], index into STYLES."""
    train_families: NDArray[np.int64]
    """[N], index into `families`."""
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    test_styles: NDArray[np.int64]
    test_families: NDArray[np.int64]
    families: tuple[str, ...]
    """Names of the font families."""


def load_glyphs(path: Path | None = None) -> GlyphData:
    """The bench from `path` (default: the bundled file). Raises DataError if it is damaged."""
    path = PATH if path is None else path
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        codepoints, styles = arrays["classes"], arrays["styles"]
        data = GlyphData(
            **{
                f"{split}_{part}": arrays[f"{split}_{part}"].astype(kind)
                for split in PER_STYLE
                for part, kind in _PARTS.items()
            },
            families=tuple(str(name) for name in arrays["families"]),
        )
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. It is part of the package; "
            "'python -m janus.data.glyphs build' draws it again."
        ) from None
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as the glyph bench ({error}). It may be cut off; restore it, "
            "or rebuild it with 'python -m janus.data.glyphs build'."
        ) from error
    _check(data, path, codepoints, styles)
    return data


_PARTS: dict[str, type[np.generic]] = {
    "images": np.uint8,
    "labels": np.int64,
    "styles": np.int64,
    "families": np.int64,
}


def _check(
    data: GlyphData, path: Path, codepoints: NDArray[np.uint32], styles: NDArray[np.str_]
) -> None:
    """Raise DataError for a readable file that is not this bench."""
    same = tuple(chr(c) for c in codepoints) == CLASSES and tuple(styles.tolist()) == STYLES
    for split, each in PER_STYLE.items():
        n = each * len(STYLES) * len(CLASSES)
        same &= getattr(data, f"{split}_images").shape == (n, 32, 32)
        same &= all(
            getattr(data, f"{split}_{part}").shape == (n,)
            for part in ("labels", "styles", "families")
        )
    if not same:
        raise DataError(
            f"{path} holds other classes, styles or counts than this version of Janus expects; "
            "restore the file, or rebuild it with 'python -m janus.data.glyphs build'."
        )


def _draw_split(split: str, family_index: dict[str, int]) -> Iterator[tuple[object, int, int, int]]:
    """Yield (image, label, style, family) of one split, class by class and style by style."""
    from janus.data.glyphs.make.draw import covering, draw_character, keyed_rng

    for label, character in enumerate(CLASSES):
        for style_index, style in enumerate(STYLES):
            found = covering(fonts.families(style, split), character)
            if len(found) < 2:
                raise DataError(f"only {len(found)} {style} {split} families draw {character!r}")
            turn = keyed_rng("glyphs", split, character, style).permutation(len(found))
            for i in range(PER_STYLE[split]):
                family, files = found[turn[i % len(found)]]
                rng = keyed_rng("glyphs", split, character, style, i)
                path = files[rng.integers(len(files))]
                yield (
                    draw_character(path, character, rng),
                    label,
                    style_index,
                    family_index[family.name],
                )


def write_bundle(path: Path) -> None:
    """Draw the bench and write it to `path`. Raises DataError if fonts are missing."""
    if missing := fonts.missing_files():
        raise DataError(
            f"{len(missing)} font files are missing, the first is {missing[0]}. "
            f"On Debian 12:\n  {fonts.install_line()}"
        )
    names = [family.name for family in fonts.FAMILIES]
    family_index = {name: i for i, name in enumerate(names)}
    arrays: dict[str, Any] = {
        "classes": np.array([ord(c) for c in CLASSES], dtype=np.uint32),
        "styles": np.array(STYLES),
        "families": np.array(names),
    }
    for split in PER_STYLE:
        images, labels, styles, families = zip(*_draw_split(split, family_index), strict=True)
        arrays[f"{split}_images"] = np.stack(images)
        arrays[f"{split}_labels"] = np.array(labels, dtype=np.uint8)
        arrays[f"{split}_styles"] = np.array(styles, dtype=np.uint8)
        arrays[f"{split}_families"] = np.array(families, dtype=np.uint8)
        logger.info("%s: %d images", split, len(images))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def glyph_sheet(data: GlyphData, style: str, split: str, path: Path) -> None:
    """Write a PNG of one style: a column per class, a row per image, 25 classes per band."""
    from PIL import Image

    chosen = getattr(data, f"{split}_styles") == STYLES.index(style)
    images, labels = (getattr(data, f"{split}_{part}")[chosen] for part in ("images", "labels"))
    rows, columns, pitch = PER_STYLE[split], 25, 34
    bands = -(-len(CLASSES) // columns)
    picture = np.full((bands * (rows * pitch + 8), columns * pitch), 64, dtype=np.uint8)
    for label in range(len(CLASSES)):
        band, column = divmod(label, columns)
        for row, image in enumerate(images[labels == label]):
            y, x = band * (rows * pitch + 8) + row * pitch, column * pitch
            picture[y : y + 32, x : x + 32] = image
    Image.fromarray(picture).save(path)
