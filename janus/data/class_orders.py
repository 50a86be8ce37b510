"""Makes the order of classes (or domains) from its name: natural, seeded, or as in other papers.

The order alone changes InfLoRA's MAA on ImageNet-R from 80.60 to 82.35 (its shipped logs) [seen].
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from janus.config.own_order import resolve


def make_order(order: str, names: Sequence[str], own_order: str | None = None) -> list[int]:
    """The permutation for the order called `order`; every result records it, too.

    natural: as numbered (InfLoRA, LoRA-DRS, BiLoRA). N: numpy's default_rng(N), our choice.
    pilotN: np.random.seed(N), then np.random.permutation; PILOT and SD-LoRA use N = 1993.
    codaN: random.seed(N), then random.shuffle; N > 0 (CODA-Prompt's trial 0 is natural). [seen]
    own-...: the user's own list, `own_order`.
    """
    count = len(names)
    if own_order is not None:
        return resolve(own_order, names)
    if order == "natural":
        return list(range(count))
    if order.startswith("pilot"):
        shuffled = np.random.RandomState(int(order.removeprefix("pilot"))).permutation(count)
        return [int(i) for i in shuffled]
    if order.startswith("coda"):
        seed, classes = int(order.removeprefix("coda")), list(range(count))
        if seed > 0:
            random.Random(seed).shuffle(classes)
        return classes
    return [int(i) for i in np.random.default_rng(int(order)).permutation(count)]
