"""Loads a weight file into a network. Every tensor must come from the file, else DataError.

    read   the tensors of the file (`read.py`)
    map    their names to timm's (`names.py`, then timm's own `checkpoint_filter_fn`)
    fit    check that all tensors of the network are there, finite and of the right shape, and that
           only heads and parts used for pretraining are left over
    load   strictly

A `Record` of these steps is printed, stored in the provenance of the run, and written into the
metadata of converted files.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from janus.config.cell import canonical
from janus.errors import DataError
from janus.weight_header import kind_of, metadata_of
from janus.weights.names import HEADS, PRETRAINING_PARTS, Mapped, record_rename, to_timm
from janus.weights.read import read_weights

if TYPE_CHECKING:  # importing this module imports timm, which takes more than a second
    from janus.machine.import_timm import FilterFn

METADATA = "janus_mapping"
"""Key in the metadata of a converted file under which its Record is stored as JSON."""

GUIDE = "See docs/weights.md"


@dataclass
class Record:
    """How the names and shapes of a weight file were changed to fit the network."""

    tensors: int = 0
    """Number of tensors of the network; all come from the file."""
    taken: str = ""
    """Keys in the file that led to the tensors, e.g. `state_dict`."""
    stripped: str = ""
    """Prefix removed from all names."""
    renamed: dict[str, str] = field(default_factory=dict)
    """{name pattern in the file: name pattern in timm}; `*` stands for a number."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of unused tensors (heads, parts of pretraining) by module."""
    changed: dict[str, str] = field(default_factory=dict)
    """{name: how its values were changed}, e.g. position embeddings that were resized."""
    converted: dict[str, Any] = field(default_factory=dict)
    """The record that the converter wrote into the file; {} for other files."""

    def facts(self) -> dict[str, Any]:
        """The fields that are not empty, as plain data."""
        return {name: value for name, value in vars(self).items() if value}

    @property
    def names(self) -> dict[str, Any]:
        """How timm's names were found; empty if the file already had them."""
        done = {"taken": self.taken, "stripped": self.stripped, "renamed": self.renamed}
        return {key: value for key, value in done.items() if value}

    @property
    def mark(self) -> str:
        """Text that distinguishes cached features of this mapping; '' if the names were timm's.

        Earlier versions left the network random where names did not match. Their features must
        not be taken for features of the mapped weights, although the file's hash is the same.
        """
        return f" {canonical(self.names)}" if self.names else ""

    def __str__(self) -> str:
        parts = [f"{self.tensors} tensors"]
        if self.taken:
            parts.append(f"taken from '{self.taken}'")
        if self.stripped:
            parts.append(f"prefix '{self.stripped}' stripped")
        if self.renamed:
            theirs, ours = next(iter(self.renamed.items()))
            more = f" and {len(self.renamed) - 1} more" if len(self.renamed) > 1 else ""
            parts.append(f"renamed {theirs} to {ours}{more}")
        if not self.names:
            parts.append("names as timm's")
        parts += [f"{name} {what}" for name, what in self.changed.items()]
        if self.left_out:
            left = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
            parts.append(f"left out: {left}")
        return "; ".join(parts)


@dataclass
class Model:
    """A network whose weights are not loaded yet, and timm's filter for published weights."""

    name: str
    network: nn.Module
    filter_fn: FilterFn | None = None

    @property
    def expected(self) -> dict[str, Tensor]:
        """The tensors that a file must give, in the network's order."""
        return dict(self.network.state_dict())


def load_weights(model: Model, path: Path) -> Record:
    """Load the file into the network in place; returns the record. Raises DataError (see above)."""
    state, record = map_weights(path, model)
    model.network.load_state_dict(state, strict=True)
    return record


def map_weights(
    path: Path, model: Model, prefix: str = "", stand_ins: bool = False
) -> tuple[dict[str, Tensor], Record]:
    """(the network's tensors by timm's names, the record). Raises DataError for a misfit.

    prefix: an additional prefix to remove; stand_ins: see `read`.
    """
    state, taken = read_weights(path, stand_ins)
    expected = model.expected
    found = to_timm(state, {name.split(".")[0] for name in expected}, prefix)
    record = Record(len(expected), taken, found.stripped, found.renamed, dict(found.left_out))
    if kind_of(path) == "safetensors" and (text := metadata_of(path).get(METADATA)):
        with suppress(ValueError, TypeError):  # other programs may use the key too
            record.converted = dict(json.loads(text))
    try:
        fitted = _fit(found, model, record)
    except _Misfit as misfit:
        raise DataError(f"{path} cannot be loaded into {model.name}: {misfit}") from misfit
    return fitted, record


class _Misfit(Exception):  # noqa: N818 (internal: becomes a DataError that names the file)
    """The file does not fit the network; the text says why and what to do."""


def _fit(found: Mapped, model: Model, record: Record) -> dict[str, Tensor]:
    expected = model.expected
    _check_patches(found.state, expected)
    state = _through_timm(found, model, record)
    for name in [name for name in state if name not in expected]:
        if (part := name.split(".")[0]) in PRETRAINING_PARTS | HEADS:
            record.left_out[part] = record.left_out.get(part, 0) + 1
            del state[name]
    _sum_channels(state, model, record)
    _check_names(state, found, expected)
    wrong = [name for name, own in expected.items() if state[name].shape != own.shape]
    if wrong:
        raise _Misfit(
            f"{len(wrong)} of {len(expected)} tensors have another shape (first: {wrong[0]} is "
            f"{_shape(state[wrong[0]])}, the model's {_shape(expected[wrong[0]])}): the weights of "
            f"another size of model? {GUIDE}"
        )
    for name, own in expected.items():
        if own.is_floating_point() and not state[name].is_floating_point():
            raise _Misfit(f"{name} holds {state[name].dtype}: quantised weights are not read")
        if own.is_floating_point() and not bool(state[name].isfinite().all()):
            raise _Misfit(
                f"{name} holds NaN or infinity: the file is damaged, or training diverged"
            )
    return state


def _through_timm(found: Mapped, model: Model, record: Record) -> dict[str, Tensor]:
    """The tensors after timm's translation of names and of position embeddings of another size.

    If timm cannot translate the file, its tensors unchanged: the error message is then made from
    their names.
    """
    if model.filter_fn is None:
        return dict(found.state)
    try:
        state: dict[str, Tensor] = dict(model.filter_fn(dict(found.state), model.network))
    except (RuntimeError, LookupError, AttributeError, ValueError, TypeError, AssertionError):
        return dict(found.state)
    place = {tensor.data_ptr(): name for name, tensor in found.state.items()}
    kept = set(state)
    for name, tensor in state.items():
        before = found.state.get(name)
        source = place.get(tensor.data_ptr())
        if before is None and source is not None:
            kept.add(source)
            record_rename(record.renamed, source, name)
        if before is not None and before.shape != tensor.shape:
            # DINOv2 with registers: timm adds the first position to the CLS token
            parted = "parted from cls_token, " if "register_tokens" in found.state else ""
            record.changed[name] = f"{parted}resized from {_shape(before)} to {_shape(tensor)}"
    gone = Counter(name.split(".")[0] for name in found.state if name not in kept)
    record.left_out |= {part: record.left_out.get(part, 0) + n for part, n in gone.items()}
    return state


def _sum_channels(state: dict[str, Tensor], model: Model, record: Record) -> None:
    """For a grey network, sum colour weights over the channels: equal to three equal channels."""
    first = getattr(model.network, "pretrained_cfg", {}).get("first_conv")
    name = f"{first}.weight"
    given, own = state.get(name), model.expected.get(name)
    if given is None or own is None or given.ndim != 4 or given.shape == own.shape:
        return
    if (given.shape[1], own.shape[1]) == (3, 1):
        state[name] = given.float().sum(1, keepdim=True)
        record.changed[name] = "summed over its three input channels, for grey images"
    elif given.shape[1] != own.shape[1]:
        way = f"set backbone.channels={given.shape[1]}" if given.shape[1] in (1, 3) else GUIDE
        raise _Misfit(f"{name} takes {given.shape[1]} channels, the model {own.shape[1]}: {way}")


def _check_patches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise _Misfit for patches of another size: resampled, they would be another network."""
    name = "patch_embed.proj.weight"
    given, own = state.get(name), expected.get(name)
    if given is None or own is None or given.ndim != 4 or own.ndim != 4:
        return
    if given.shape[2:] != own.shape[2:]:
        raise _Misfit(
            f"its patches are {_shape(given[0, 0])} pixels, the model's {_shape(own[0, 0])}: "
            f"choose the backbone.model of the file. {GUIDE}"
        )


def _check_names(
    state: Mapping[str, Tensor], found: Mapped, expected: Mapping[str, Tensor]
) -> None:
    missing = [name for name in expected if name not in state]
    left = [name for name in state if name not in expected]
    if not missing and not left:
        return
    told = []
    if missing:
        told.append(f"{len(missing)} of {len(expected)} tensors are missing (first: {missing[0]})")
    if left:
        are = "tensor is" if len(left) == 1 else "tensors are"
        told.append(f"{len(left)} {are} left over (first: {left[0]})")
    raise _Misfit(f"{'; '.join(told)}. {_advice(missing, left, found, expected)}")


def _advice(
    missing: list[str], left: list[str], found: Mapped, expected: Mapping[str, Tensor]
) -> str:
    if "norm.weight" in missing and "fc_norm.weight" in left:
        return (
            "The file's network averages its patches (fc_norm); this one reads the CLS token. To "
            "use it as it was trained, add global_pool:avg to backbone.model_kwargs"
        )
    if "fc_norm.weight" in missing and "norm.weight" in left:
        return (
            "The file's network reads the CLS token (norm); this one averages its patches "
            "(fc_norm): leave global_pool out of backbone.model_kwargs"
        )
    if prefix := _unknown_prefix(found.state, expected):
        return (
            f"All of them stand under {prefix!r}. If that is the network: python -m janus.weights "
            f"convert FILE OUT.safetensors --strip {shlex.quote(found.stripped + prefix)}"
        )
    return f"Is it another model's file? {GUIDE}"


def _unknown_prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The prefix that all names of the network have in the file; '' if there is none."""
    first = next(iter(expected))
    ends = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    return next((p for p in ends if all(f"{p}{name}" in state for name in expected)), "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
