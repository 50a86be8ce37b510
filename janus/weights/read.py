"""Reads the tensors of a weight file, under the file's names, without running code from the file.

Reads .safetensors files and files of torch.save (.pth, .pt, .bin). The latter are read by torch's
`weights_only` reader, which refuses objects of all but a few harmless classes.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from janus.errors import DataError
from janus.weight_header import kind_of, readable
from janus.weights.names import WRAPPERS


def read_weights(path: Path, stand_ins: bool = False) -> tuple[dict[str, Tensor], str]:
    """(tensors by the file's names, the keys in the file that led to them). Raises DataError.

    stand_ins: replace objects of other classes by empty objects instead of refusing the file; their
    code is not run.
    """
    stat = path.stat()
    readable(path, stat.st_size, stat.st_mtime_ns)
    if kind_of(path) == "safetensors":
        return load_file(str(path)), ""
    tree, taken = _unpickled(path, stand_ins), []
    while isinstance(tree, Mapping):
        wrapper = next((w for w in WRAPPERS if isinstance(tree.get(w), Mapping)), None)
        if wrapper is None:
            break
        taken.append(wrapper)
        tree = tree[wrapper]
    tensors = tree.items() if isinstance(tree, Mapping) else ()
    state = {str(name): value for name, value in tensors if isinstance(value, Tensor)}
    if not state:
        keys = ", ".join(map(str, tree)) if isinstance(tree, Mapping) else ""
        empty = isinstance(tree, Mapping) and not tree
        holds = f"the keys {keys}" if keys else "an empty dict" if empty else "an object"
        raise DataError(
            f"{path} cannot be loaded: no tensors by name in it, but {holds}. Save "
            "model.state_dict()"
        )
    return state, ".".join(taken)


def _unpickled(path: Path, stand_ins: bool) -> Any:
    known: list[Any] = [argparse.Namespace]  # plain data; DINO, iBOT and timm save one
    if stand_ins:
        known += [(_StandIn, name) for name in _classes(path)]
    try:
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if stand_ins:
            raise DataError(
                f"{path} cannot be converted without running its code ({', '.join(_classes(path))}"
                "). Ask its author for a state dict alone"
            ) from error
        raise DataError(
            f"{path} cannot be loaded: besides tensors it holds objects of "
            f"{', '.join(_classes(path)) or 'other classes'}, which are not read because that can "
            "run code. Convert it once, which runs none: python -m janus.weights convert "
            f"{path} OUT.safetensors. Where it is a whole model, no tensors by name are in it: "
            "save its state dict instead"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, TypeError) as error:
        raise DataError(
            f"{path} cannot be loaded: it is damaged or cut short, or not written by torch.save "
            f"({type(error).__name__}). Copy or download it again"
        ) from error


def _classes(path: Path) -> list[str]:
    """Names of the classes that the pickle would import. Imports nothing; [] if unknown."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (ValueError, RuntimeError):  # a file of torch before 1.6
        return []
    return sorted(set(found) - {"argparse.Namespace"})


class _StandIn:
    """Empty object in place of one whose class is not read."""

    def __new__(cls, *_: object, **__: object) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore all arguments."""

    def __setstate__(self, _: object) -> None:
        """Ignore the state."""
