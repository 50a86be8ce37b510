"""Parses the mean and std per colour with which a backbone's pixels are normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from janus.errors import ConfigError

Colours = tuple[tuple[float, float], ...]
"""(mean, std), each with one number for red, green and blue."""

IMAGENET: Colours = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
"""Mean and std of ImageNet as torchvision's models use them [seen: torchvision's documentation]."""


def parse_colours(text: str) -> Colours:
    """(mean, std) of each colour in 'r,g,b;r,g,b'. Raises ConfigError for anything else."""
    try:
        mean, std = ([float(part) for part in half.split(",")] for half in text.split(";"))
    except ValueError:
        mean, std = [], []
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, [*mean, *std])):
        raise ConfigError(
            "backbone.mean and backbone.std take one number, or three as in [0.48,0.46,0.41]; "
            f"got {text!r}"
        )
    if min(std) <= 0:
        raise ConfigError(f"backbone.std must be positive for each colour, got {std}")
    return tuple(zip(mean, std, strict=True))


def with_colours(values: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's values with lists for `mean` and `std` turned into `colour_stats`.

    Three equal numbers become one number, and ImageNet's become `imagenet_stats`, so that equal
    pixels mean equal cells.
    """
    mean, std = values.get("mean", 0.0), values.get("std", 1.0)
    if not isinstance(mean, list) and not isinstance(std, list):
        return dict(values)
    lists = [value if isinstance(value, list) else [value] * 3 for value in (mean, std)]
    text = ";".join(",".join(map(str, _floats(part))) for part in lists)
    colours = parse_colours(text)
    rest = dict(values) | {"mean": 0.0, "std": 1.0}
    if colours == IMAGENET:
        return rest | {"imagenet_stats": True}
    if len(set(colours)) == 1:
        return rest | {"mean": colours[0][0], "std": colours[0][1]}
    return rest | {"colour_stats": text}


def _floats(values: list[Any]) -> list[Any]:
    """Whole numbers converted to float, so that 0 and 0.0 give the same text."""
    plain = (v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    return [float(v) for v in plain] if len(values) == 3 else values
