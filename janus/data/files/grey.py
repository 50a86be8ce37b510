"""Converts images to 8-bit RGB. Levels of 16-bit and float grey images are scaled, not clipped.

Pillow's own conversion sets every level above 255 to white. Instead [choice]:
    16-bit grey   level / 65535, even if no level of the file is that light
    float grey    values from 0 to 1
    32-bit grey   refused, because its scale is unknown; so are floats outside 0 to 1
Pillow converts all other images.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

DEEP = ("I", "F")
"""First letters of Pillow's modes with more than 8 bits: I, I;16, I;16B, I;16L, I;16N and F."""
MARK = b"grey levels scaled, 1"
"""Added to the checksum of a file with more than 8 bits. Earlier versions decoded other pixels from
it, so its split must have another hash: no old identity may get new pixels."""


def is_deep(image: Image.Image) -> bool:
    """Whether `image` has more than 8 bits per level."""
    return image.mode.startswith(DEEP)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` as RGB with 8 bits per colour. Raises ValueError if the scale is unknown."""
    if not is_deep(image):
        return image.convert("RGB")
    levels = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(levels).all() and levels.min() >= 0 and levels.max() <= 1):
            raise ValueError(
                f"float levels must lie from 0 to 1, these from {levels.min():g} to "
                f"{levels.max():g}; save it as 16-bit grey or divide by its largest level"
            )
        levels = levels * 65535
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # there mode I means 16 bits
        raise ValueError("32-bit levels have no known scale; save it as 16-bit grey")
    bytes_ = np.rint(levels.astype(np.float64) / 257).clip(0, 255).astype(np.uint8)
    return Image.fromarray(bytes_).convert("RGB")
