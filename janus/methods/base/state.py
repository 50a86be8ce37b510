"""What a method holds, declared by name: checkpoints, resuming and `kept_bytes` follow from it.

    class Example(Method):
        state = "prototypes classes"    # names of attributes, with spaces between them
        keeps = "prototypes"

A declared name is an attribute (or a property with a setter) that holds one of these, or lists and
dicts of them:

    a tensor, a Parameter, a number, a text, None          replaced by the stored value
    an object with `state_dict` and `load_state_dict`      told to load the stored value
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from janus.data.stream import Task
from janus.errors import DataError


class Stateful:
    """Saves and restores the attributes that a class and its base classes name."""

    state = ""
    """Attributes that a checkpoint holds. A class lists its own; those of its bases are added."""
    training_state = ""
    """Attributes that `_start_training` makes for one task, such as the optimiser. A checkpoint
    holds them too; they are loaded after `_start_training`, and inside a task only. Those of
    bases are added, as for `state`."""
    keeps = ""
    """Attributes that are needed between tasks: a result reports their bytes. This list is the
    whole list; those of a base are named again (f"{Base.keeps} more")."""

    def _start_training(self, task: Task) -> None:
        """Make `training_state` for the task; called by `begin_task` and when a task is resumed."""

    def _restored(self) -> None:
        """Rebuild what follows from `state`, which was just loaded."""

    @torch.no_grad()
    def kept(self) -> dict[str, Any]:
        """Tree of tensors: the values named by `keeps`."""
        return {name: saved(getattr(self, name)) for name in self.keeps.split()}

    def state_dict(self) -> dict[str, Any]:
        """Tree of tensors and JSON values that restores the method at any point of training."""
        names = (*declared(type(self), "state"), *declared(type(self), "training_state"))
        return {name: saved(getattr(self, name)) for name in names}

    def load_state_dict(self, state: dict[str, Any], task: Task | None) -> None:
        """Restore a freshly made method; `task` is the one in training, None between tasks.

        `state` has its tensors on the method's device. Raises DataError where it lacks a name: a
        version of the code with other declarations wrote it.
        """
        self._load("state", state)
        self._restored()
        if task is not None:
            self._start_training(task)
            self._load("training_state", state)

    @torch.no_grad()
    def _load(self, kind: str, state: dict[str, Any]) -> None:
        for name in declared(type(self), kind):
            current = getattr(self, name)
            if name in state:
                setattr(self, name, restored(current, state[name]))
            elif current is not None:
                raise DataError(
                    f"the stored state of {type(self).__name__} has no {name!r}: another version "
                    "of the code wrote it. Load it with that version, or run the cell again in "
                    "another store"
                )


def declared(cls: type, kind: str) -> tuple[str, ...]:
    """The names that `cls` and its bases list under `kind`, those of the bases first."""
    lists = (vars(base).get(kind, "").split() for base in reversed(cls.__mro__))
    return tuple(dict.fromkeys(name for names in lists for name in names))


def saved(value: Any) -> Any:
    """`value` as a tree of tensors and JSON values. Tensors are not copied."""
    if isinstance(value, nn.Module):
        return dict(value.state_dict())
    if hasattr(value, "state_dict"):
        return value.state_dict()
    if isinstance(value, dict):
        return {name: saved(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [saved(child) for child in value]
    return value


def restored(current: Any, stored: Any) -> Any:
    """What takes the place of `current`, given what `saved` made: `current` itself, if it loads.

    Tuples come back as lists.
    """
    if stored is not None and hasattr(current, "load_state_dict"):
        current.load_state_dict(stored)
        return current
    if isinstance(current, nn.Parameter) and isinstance(stored, Tensor):
        return nn.Parameter(stored.detach().clone(), requires_grad=current.requires_grad)
    if isinstance(stored, list):
        if isinstance(current, list) and len(current) == len(stored):
            return [restored(a, b) for a, b in zip(current, stored, strict=True)]
        return list(stored)
    return dict(stored) if isinstance(stored, dict) else stored
