"""Train on your own images: `python examples/own_images.py FOLDER [TASKS [STORE]]`.

FOLDER holds train/CLASS/* and test/CLASS/*, or CLASS/* alone (docs/benches.md). The classes are cut
into TASKS tasks. `python -m janus.weights fetch vit_b16_in21k` brings the weights once.
"""

from __future__ import annotations

import sys
from typing import Any

from janus.config.compose import compose
from janus.data.__main__ import main as data
from janus.store.store import Store
from janus.training.loop import run_cell


def main(folder: str, tasks: int | str = 2, store: str = "runs", **changes: Any) -> dict[str, Any]:
    """Check the images, then train SeqLoRA on them; `changes` are further keys of the cell."""
    bench = {"bench.root": folder, "bench.tasks": int(tasks)}
    # counts the classes, notes damage, and records the hash of the split, which a run needs
    if data(["check", "folder", *(f"{key}={value}" for key, value in bench.items())]):
        raise SystemExit("the images must be mended first")
    cell = compose({"bench": "folder", **bench, "method": "seqlora", **changes})
    result = run_cell(cell, Store(store))
    assert result is not None
    print(f"{cell.title}: {100 * result['metrics']['acc']:.2f} % after {tasks} tasks")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
