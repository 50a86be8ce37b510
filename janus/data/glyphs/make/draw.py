"""Draws one glyph as a 32x32 grey image, white on black.

Used to draw the bench again and to pretrain the backbone, not to load them: only this module needs
fontTools. Every random choice comes from a generator with a key, so that an image does not depend
on the order in which images are drawn.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from janus.data.glyphs.fonts import FontFamily

SIDE = 32
_CANVAS = 96
_ROOM = 240  # drawn on a larger sheet first, so that no part of a glyph is cut off
_MARGIN = 3
_EM_RANGE = (44.0, 60.0)
_TURN_DEGREES = 10.0
_SHIFT = 5.0
_CAP_HEIGHT = 0.70
"""Height of capitals as a share of the font size; every font is scaled to it."""
_BASELINE = 0.66


def keyed_rng(*key: object) -> np.random.Generator:
    """A generator seeded by the words of `key`; equal keys give equal numbers on any machine."""
    text = "/".join(str(part) for part in key)
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return np.random.default_rng(seed)


@cache
def _codepoints(path: Path) -> frozenset[int]:
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap() or {})


@lru_cache(maxsize=4096)
def _font(path: Path, pixels: int) -> ImageFont.FreeTypeFont:
    # The basic layout engine: results must not depend on whether libraqm is installed.
    return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)


def _ink(path: Path, character: str, pixels: int) -> bytes:
    return bytes(_font(path, pixels).getmask(character, mode="L"))


@cache
def _em_scale(path: Path) -> float:
    """Factor that scales this font's capital H to the common height."""
    _, top, _, bottom = _font(path, 200).getbbox("H", anchor="ls")
    return float(np.clip(_CAP_HEIGHT * 200 / max(bottom - top, 1), 0.7, 2.2))


@cache
def draws(path: Path, character: str) -> bool:
    """Whether the font file has its own, non-empty glyph for `character`."""
    if ord(character) not in _codepoints(path):
        return False
    ink = _ink(path, character, 40)
    return any(ink) and ink != _notdef(path)


@cache
def _notdef(path: Path) -> bytes:
    """The image that the font draws for a missing character (U+10FFFF is never assigned)."""
    return _ink(path, "\U0010ffff", 40)


def usable_files(family: FontFamily, character: str) -> tuple[Path, ...]:
    """The font files of the family that can draw `character`; () if none can."""
    if character in family.skip:
        return ()
    return tuple(path for path in family.files() if draws(path, character))


def covering(
    families: tuple[FontFamily, ...], character: str
) -> tuple[tuple[FontFamily, tuple[Path, ...]], ...]:
    """The families that can draw `character`, each with the files that can."""
    found = ((family, usable_files(family, character)) for family in families)
    return tuple((family, files) for family, files in found if files)


def draw_character(path: Path, character: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One image [32, 32] of `character` with random size, rotation and shift, area-averaged."""
    size = round(rng.uniform(*_EM_RANGE) * _em_scale(path))
    turn = rng.uniform(-_TURN_DEGREES, _TURN_DEGREES)
    shift = rng.uniform(-_SHIFT, _SHIFT, size=2)
    sheet = _turned(path, character, size, turn)
    widest = _CANVAS - 2 * _MARGIN
    left, top, right, bottom = _box(sheet)
    if max(right - left, bottom - top) > widest:
        size = int(size * widest / max(right - left, bottom - top))
        sheet = _turned(path, character, size, turn)
        left, top, right, bottom = _box(sheet)
    # The crop is moved where needed, so that the frame never cuts the glyph.
    corner = (_ROOM - _CANVAS) / 2
    x = np.clip(round(corner - shift[0]), right + _MARGIN - _CANVAS, left - _MARGIN)
    y = np.clip(round(corner - shift[1]), bottom + _MARGIN - _CANVAS, top - _MARGIN)
    crop = sheet.crop((int(x), int(y), int(x) + _CANVAS, int(y) + _CANVAS))
    return np.asarray(crop.reduce(_CANVAS // SIDE), dtype=np.uint8)


def _turned(path: Path, character: str, size: int, turn: float) -> Image.Image:
    """The glyph, centred horizontally on the common baseline and rotated by `turn` degrees."""
    sheet = Image.new("L", (_ROOM, _ROOM), 0)
    font = _font(path, size)
    left, _, right, _ = font.getbbox(character, anchor="ls")
    start = ((_ROOM - left - right) / 2, _ROOM / 2 + (_BASELINE - 0.5) * _CANVAS)
    ImageDraw.Draw(sheet).text(start, character, fill=255, font=font, anchor="ls")
    return sheet.rotate(turn, resample=Image.Resampling.BICUBIC)


def _box(sheet: Image.Image) -> tuple[int, int, int, int]:
    box = sheet.getbbox()
    if box is None:
        raise ValueError("empty glyph")
    return box
