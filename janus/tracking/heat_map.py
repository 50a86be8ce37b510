"""Draws the accuracy matrix as a heat map for Weights & Biases.

Rows: after which task; columns: tested on which task; numbers: percent.
"""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

SIDE = 36
"""Side of one entry, in pixels."""
LOW, HIGH = (247, 251, 255), (8, 48, 107)
"""Colours of 0 and 100 %: light to dark blue, readable in grey print too."""


def draw_accuracy(accuracy: Mapping[tuple[int, int], float]) -> Image.Image:
    """The picture of `accuracy`: {(after task, on task): fraction}, tasks from 0.

    Missing entries stay white.
    """
    rows = 1 + max((t for t, _ in accuracy), default=0)
    columns = 1 + max((j for _, j in accuracy), default=0)
    picture = Image.new("RGB", ((columns + 1) * SIDE, (rows + 1) * SIDE), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(12)

    def write(row: int, column: int, text: str, colour: str) -> None:
        at = ((column + 0.5) * SIDE, (row + 0.5) * SIDE)
        pen.text(at, text, fill=colour, font=font, anchor="mm")

    for column in range(columns):
        write(0, column + 1, str(column + 1), "black")
    for row in range(rows):
        write(row + 1, 0, str(row + 1), "black")
    for (t, j), value in accuracy.items():
        left, top = (j + 1) * SIDE, (t + 1) * SIDE
        shade = tuple(
            round(low + (high - low) * value) for low, high in zip(LOW, HIGH, strict=True)
        )
        pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=shade)
        write(t + 1, j + 1, f"{100 * value:.0f}", "white" if value > 0.5 else "black")
    return picture
