"""Train one cell from Python and look at its result: `python examples/one_cell.py [STORE]`.

A cell is one run: bench, method, settings, class order, seed. A second call finds the result in the
store and trains nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from janus.config.compose import compose
from janus.store.store import Store
from janus.training.loop import run_cell


def main(store: str = "runs", **changes: Any) -> dict[str, Any]:
    """Train Janus-LoRA on the bundled bench; `changes` are further keys of the cell."""
    cell = compose({"bench": "glyphs", "method": "janus", "method.rank": 4, "order": 0, **changes})
    result = run_cell(cell, Store(store))
    assert result is not None  # None only where a run is asked to stop half way
    print(f"{cell.title}: {100 * result['metrics']['acc']:.2f} % of all classes' test images")
    for task, row in enumerate(result["correct"], 1):
        print(f"after task {task}: {sum(row)} of {sum(result['total'][: len(row)])} correct")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
