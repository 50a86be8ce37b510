"""The committed figures of `make bench` as in docs/speed.md: `python -m tests.perf.table`."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = Path(__file__).with_name("figures.json")

SHAPES = {"base": "ViT-B", "small": "ViT-S", "tiny": "ViT-Ti"}


def table() -> str:
    """Seconds of a step over SeqLoRA's, and its share of the naive limit."""
    rows = json.loads(FIGURES.read_text())["rows"]
    batches = {shape: rows[f"{shape}/fp32/seqlora"]["batch"] for shape in SHAPES}
    columns = [(shape, precision) for shape in SHAPES for precision in ("fp32", "bf16")]
    head = [f"{SHAPES[s]} {p}, {batches[s]} images" for s, p in columns]
    lines = ["| method | " + " | ".join(head) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(key.rsplit("/", 1)[1] for key in rows):
        cells = []
        for shape, precision in columns:
            row, reference = (rows[f"{shape}/{precision}/{n}"] for n in (name, "seqlora"))
            ratio = row["seconds"] / reference["seconds"]
            cells.append(f"x{ratio:.2f}, {row['share_naive']:.2f}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
