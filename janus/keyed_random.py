"""Keyed random generators: every draw names its purpose, so no draw can disturb another.

Two methods that share a batch protocol see the same batches and augmentations whatever else they
draw, and a resumed run redraws exactly what the killed one would have. There is no global RNG.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def key_number(*key: str | int) -> int:
    """A 63-bit seed from a purpose and its coordinates, equal on every platform."""
    text = "/".join(map(str, key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*key: str | int) -> torch.Generator:
    """A CPU generator for this key alone."""
    made = torch.Generator()
    made.manual_seed(key_number(*key))
    return made


def numpy_generator(*key: str | int) -> np.random.Generator:
    """The numpy twin of `generator`."""
    return np.random.default_rng(key_number(*key))
