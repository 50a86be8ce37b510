"""A sweep reduced to seconds: the same methods and rows, on few images of the bundled bench and an
untrained network.

It shows that a sweep runs from end to end on this machine, and nothing else: its accuracies mean
nothing. What the command line names is left as it was typed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from janus.config.cell import Value
from sweeps.spec.sweep import BARE_KEYS, Block, Sweep

SCALES = ("tiny",)

TINY: dict[str, Value] = {
    "bench.train_per_class": 4,
    "bench.test_per_class": 2,
    "bench.tasks": 2,
    "train.epochs": 1,
    "train.first_epochs": None,
    "train.batch_size": 64,
}
"""Overrides of every cell: about a second of training."""

SEVERAL = 2
"""How many pairs of order and seed are left, and how many values of each axis of a grid."""


def reduce(sweep: Sweep, scale: str, typed: Collection[str]) -> Sweep:
    """`sweep` at that scale, under a name of its own, so that its list replaces no real one.

    `typed`: keys of the command line, which win.
    """
    wanted = TINY if "bench" in typed else {**TINY, "backbone": "toy"}
    small = {key: value for key, value in wanted.items() if key not in typed}
    kept = not {"orders", "seeds"}.isdisjoint(typed)
    return replace(
        sweep,
        name=f"{sweep.name}-{scale}",
        benches=sweep.benches if "bench" in typed else ("glyphs",),
        blocks=sweep.blocks if kept else _few(sweep),
        fixed={**sweep.fixed, **small},
        grid={
            key: values if key in typed else values[:SEVERAL]
            for key, values in sweep.grid.items()
            if key not in small
        },
        variants={
            method: {row: _of_method(changes) for row, changes in found.items()}
            for method, found in sweep.variants.items()
        },
    )


def _few(sweep: Sweep) -> tuple[Block, ...]:
    """The first pairs, one from each block where there are several."""
    blocks = sweep.blocks or ((sweep.orders, sweep.seeds),)
    firsts = [(orders[0], seeds[0]) for orders, seeds in blocks]
    pairs = list(dict.fromkeys([*firsts, *sweep.pairs()]))[:SEVERAL]
    return tuple(((order,), (seed,)) for order, seed in pairs)


def _of_method(changes: Mapping[str, Value]) -> dict[str, Value]:
    """The overrides that set the method alone: not those of backbone or training, which would make
    cells long.
    """
    return {
        key: value
        for key, value in changes.items()
        if key not in BARE_KEYS and ("." not in key or key.startswith("method."))
    }
