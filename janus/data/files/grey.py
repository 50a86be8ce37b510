"""Images as 8-bit RGB: grey levels of 16-bit and float images are scaled, not cut off.

Pillow's own conversion sets every level above 255 to white. Instead [choice]:
    16-bit grey   level / 65535, whatever the lightest level of the file is
    float grey    values from 0 to 1
    32-bit grey   refused: no scale is declared for it; so are floats outside 0 to 1
All other images are converted by Pillow, as ever.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

DEEP = ("I", "F")
"""Pillow's modes with more than 8 bits begin so: I, I;16, I;16B, I;16L, I;16N and F."""
MARK = b"grey levels scaled, 1"
"""Joined to the checksum of a deep file: its pixels are others than those that earlier versions
decoded, so its split is another one, and no old identity gets new pixels."""


def is_deep(image: Image.Image) -> bool:
    """Whether `image` has more than 8 bits per level."""
    return image.mode.startswith(DEEP)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` with 8 bits per colour. Raises ValueError for levels without a known scale."""
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
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # there I stands for 16 bits
        raise ValueError("32-bit levels have no known scale; save it as 16-bit grey")
    bytes_ = np.rint(levels.astype(np.float64) / 257).clip(0, 255).astype(np.uint8)
    return Image.fromarray(bytes_).convert("RGB")
