"""Random generators seeded by a key: what they are used for, plus seed, task and so on.

No draw changes another one. So two methods see the same batches and augmentations, whatever else
each of them draws, and a resumed run draws what the killed run would have drawn. No global random
generator is used.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def key_number(*key: str | int) -> int:
    """The 63-bit seed of a key (a purpose, then numbers or names), the same on every platform."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*key: str | int) -> torch.Generator:
    """A torch generator on the CPU, seeded by `key_number` of the key."""
    made = torch.Generator()
    made.manual_seed(key_number(*key))
    return made


def numpy_generator(*key: str | int) -> np.random.Generator:
    """A numpy generator, seeded by `key_number` of the key."""
    return np.random.default_rng(key_number(*key))
