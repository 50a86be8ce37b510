"""Renditions of the bundled glyphs: the same characters as in `glyphs`, printed in other ways.

    faint       light ink on grey paper, with little contrast
    on_texture  the glyph on a patterned ground
    in_texture  one pattern inside the glyph, another one around it

Each is also turned by up to 10 degrees, scaled and sheared. The bench is to `glyphs` what
ImageNet-R is to ImageNet: the network was pretrained on characters, but on none printed like these.

The images are computed from `assets/glyphs.npz` when the bench is loaded. All arithmetic is on
integers, and random numbers are bytes of SHAKE-256 under a key that names the image: all machines
and all versions of numpy give the same images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from janus.data.glyphs.bundle import GlyphData

KINDS: tuple[str, ...] = ("faint", "on_texture", "in_texture")

COPIES: dict[str, int] = {"train": 1, "test": 3}
"""Renditions of one glyph. A training glyph has one, so that no two training images show the same
drawing; a test glyph has one of each kind. That gives 60 training and 60 test images a class."""

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Renditions:
    """Images of one split. N is 6000 for both splits."""

    images: NDArray[np.uint8]
    """[N, 32, 32]"""
    labels: NDArray[np.int64]
    """[N], index into `bundle.CLASSES`"""
    kinds: NDArray[np.int64]
    """[N], index into KINDS"""
    families: NDArray[np.int64]
    """[N], font family of the glyph, index into `GlyphData.families`"""


def render_split(data: GlyphData, split: str) -> Renditions:
    """The renditions of a split ("train" or "test"), in the order of its glyphs."""
    glyphs, labels, families = (
        np.repeat(getattr(data, f"{split}_{part}"), COPIES[split], axis=0)
        for part in ("images", "labels", "families")
    )
    kinds = np.arange(len(glyphs)) % len(KINDS)
    images = np.empty_like(glyphs)
    for kind, paint in enumerate((_faint, _on_texture, _in_texture)):
        for chosen in np.array_split(np.flatnonzero(kinds == kind), 8):  # limits memory
            draws = _Draws(f"renditions/{split}", chosen)
            images[chosen] = paint(_warp(glyphs[chosen].astype(np.int32), draws), draws)
    return Renditions(images, labels, kinds, families)


class _Draws:
    """Random numbers for the images with the given numbers (N of them)."""

    def __init__(self, key: str, numbers: NDArray[np.int64]) -> None:
        each = (hashlib.shake_256(f"{key}/{i}".encode()).digest(512) for i in numbers)
        self._bytes = np.frombuffer(b"".join(each), dtype=np.uint8).reshape(len(numbers), 512)

    def next(self, count: int) -> Integers:
        """The next `count` bytes of every image, [N, count]."""
        taken, self._bytes = self._bytes[:, :count], self._bytes[:, count:]
        return taken.astype(np.int32)

    def between(self, low: int, high: int) -> Integers:
        """An integer from `low` to `high`, both included, for every image: [N, 1, 1]."""
        first, second = self.next(2).T
        drawn: Integers = low + (first * 256 + second) * (high - low + 1) // 65536
        return drawn[:, None, None]


_ONE = 4096
"""1 in the fixed-point numbers of `_warp`."""
_TURN = 10
_DEGREES = range(-_TURN, _TURN + 1)
_COS: Integers = np.array([round(cos(radians(d)) * _ONE) for d in _DEGREES], np.int32)
_SIN: Integers = np.array([round(sin(radians(d)) * _ONE) for d in _DEGREES], np.int32)
_Y, _X = np.indices((32, 32), np.int32)


def _warp(ink: Integers, draws: _Draws) -> Integers:
    """The images [N, 32, 32], each turned, scaled and sheared about its centre; outside is black.

    By bilinear interpolation. A glyph becomes up to 12 % larger or 15 % smaller.
    """
    turn = draws.between(0, 2 * _TURN)
    zoom, shear = draws.between(3660, 4820), draws.between(-820, 820)  # of 4096
    # where each output pixel comes from: half pixels, from the centre of the image
    x, y = 2 * _X - 31, 2 * _Y - 31
    x_sheared, y_sheared = x * _ONE + shear * y, y * _ONE
    cosine, sine = _COS[turn] * zoom // _ONE, _SIN[turn] * zoom // _ONE
    x_source = (cosine * x_sheared - sine * y_sheared) // _ONE + 31 * _ONE
    y_source = (sine * x_sheared + cosine * y_sheared) // _ONE + 31 * _ONE
    left, top = x_source // (2 * _ONE), y_source // (2 * _ONE)
    right_share, lower_share = (  # in 64ths of a pixel
        (source - 2 * _ONE * whole) * 32 // _ONE
        for source, whole in ((x_source, left), (y_source, top))
    )
    frame = 16
    padded = np.pad(ink, ((0, 0), (frame, frame), (frame, frame)))
    image = np.arange(len(ink))[:, None, None]

    def row(down: int) -> Integers:
        rows, columns = top + down + frame, left + frame
        here, right = padded[image, rows, columns], padded[image, rows, columns + 1]
        mixed: Integers = (64 - right_share) * here + right_share * right
        return mixed

    warped: Integers = (64 - lower_share) * row(0) + lower_share * row(1)
    return (warped + 64 * 32) // (64 * 64)


_STEP_X, _STEP_Y = np.array([[1, 0, 1, 1], [0, 1, 1, -1]], np.int32)
"""Directions of stripes: along the columns, the rows and both diagonals."""


def _texture(draws: _Draws) -> Integers:
    """A pattern for every image, [N, 32, 32] in 0..255: stripes, checks, dots or squares."""
    choice = draws.between(0, 3)
    period, phase, direction = draws.between(3, 5), draws.between(0, 4), draws.between(0, 3)
    across = _STEP_X[direction] * _X + _STEP_Y[direction] * _Y
    stripes = ((across + phase) % period < (period + 1) // 2) * 255
    size = draws.between(2, 4)
    checks = (_X // size + _Y // size) % 2 * 255
    bits = np.unpackbits(draws.next(128).astype(np.uint8), axis=1)
    dots = bits.reshape(-1, 32, 32) * np.int32(255)
    squares = draws.next(64).reshape(-1, 8, 8).repeat(4, axis=1).repeat(4, axis=2)
    patterns: Integers = np.choose(choice, [stripes, checks, dots, squares])
    return patterns


def _faint(ink: Integers, draws: _Draws) -> Integers:
    return 110 + ink * draws.between(31, 64) // 256


def _on_texture(ink: Integers, draws: _Draws) -> Integers:
    ground = _texture(draws) * draws.between(90, 150) // 255
    return ground * (255 - ink) // 255 + ink * draws.between(192, 255) // 255


def _in_texture(ink: Integers, draws: _Draws) -> Integers:
    inside = 130 + _texture(draws) * draws.between(60, 120) // 255
    around = _texture(draws) * draws.between(30, 90) // 255
    return (inside * ink + around * (255 - ink)) // 255


def rendition_sheet(made: Renditions, path: Path) -> None:
    """Write a PNG: a row per kind for each quarter of the classes, one image of every class."""
    from PIL import Image

    classes, pitch = 25, 34
    picture = np.full((4 * (len(KINDS) * pitch + 8), classes * pitch), 64, dtype=np.uint8)
    for label in range(4 * classes):
        band, column = divmod(label, classes)
        for kind in range(len(KINDS)):
            image = made.images[(made.labels == label) & (made.kinds == kind)][label % 20]
            y, x = band * (len(KINDS) * pitch + 8) + kind * pitch, column * pitch
            picture[y : y + 32, x : x + 32] = image
    Image.fromarray(picture).save(path)
