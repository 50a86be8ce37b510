"""Converts a weight file into a .safetensors file with timm's names.

    python -m janus.weights convert IN OUT.safetensors [--model NAME] [--strip PREFIX]

The metadata of the new file records what was stripped, renamed and left out; the provenance of
every run that uses the file repeats it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from janus import atomic_files
from janus.config.cell import BackboneConfig
from janus.config.compose import file_sha256
from janus.errors import ConfigError, DataError
from janus.weight_header import kind_of
from janus.weights.fit import METADATA, Record, map_weights
from janus.weights.names import to_timm
from janus.weights.read import read_weights

VIT = ("patch_embed", "blocks", "cls_token", "pos_embed")
"""First parts of the tensor names of timm's ViTs, for a file whose model is not given."""


def convert(source: Path, out: Path, config: BackboneConfig | None, strip: str = "") -> str:
    """Write `out` from `source`; returns a line that says what was done.

    With `config` the file must fit the model as in a run; position embeddings keep the size they
    have in the file. Without it only names are translated. Pickled objects that are no tensors
    are left out, and their code is not run. Raises DataError for a file that cannot be converted,
    ConfigError when `out` exists.
    """
    source, out = source.expanduser(), out.expanduser()
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out}: the new file's name must end in .safetensors")
    if out.exists():
        raise ConfigError(f"{out} exists already; give another name")
    if kind_of(source) == "npz":
        state, record = _from_jax(source, config)
    elif config is None:
        state, record = _names_alone(source, strip)
    else:
        state, record = _checked(source, config, strip)
    stat = source.stat()
    facts = record.facts() | {
        "source": source.name,
        "source_sha256": file_sha256(str(source), stat.st_size, stat.st_mtime_ns),
    }
    whole = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    metadata = {"format": "pt", METADATA: json.dumps(facts, sort_keys=True)}
    atomic_files.replace(out, lambda part: save_file(whole, str(part), metadata))
    return f"{out}: {record}"


def _names_alone(source: Path, strip: str) -> tuple[dict[str, Tensor], Record]:
    state, taken = read_weights(source, stand_ins=True)
    found = to_timm(state, VIT, strip)
    record = Record(len(found.state), taken, found.stripped, found.renamed, dict(found.left_out))
    return found.state, record


def _checked(source: Path, config: BackboneConfig, strip: str) -> tuple[dict[str, Tensor], Record]:
    from janus.weights.model import create_network

    model = create_network(config)
    state, record = map_weights(source, model, strip, stand_ins=True)
    raw, _ = _names_alone(source, strip)
    if set(state) <= set(raw):  # timm's translation was not needed: keep the file's sizes
        state, record.changed = {name: raw[name] for name in state}, {}
    return state, record


def _from_jax(source: Path, config: BackboneConfig | None) -> tuple[dict[str, Tensor], Record]:
    """Read a JAX archive, as Google published ViTs, by timm's reader; every tensor must be set."""
    from janus.weights.model import create_network

    if config is None:
        raise ConfigError(
            f"{source} is a JAX archive: name its model: --model vit_base_patch16_224"
        )
    side, depth = _size_of_jax(source)
    model = create_network(replace(config, image_size=side or config.image_size))
    network: Any = model.network
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(float("nan"))
    why = ""
    try:
        network.load_pretrained(str(source))
    except (AttributeError, LookupError, ValueError, RuntimeError, AssertionError) as error:
        why = f"timm cannot read it: {error}"
    state: dict[str, Tensor] = network.state_dict()
    if bare := [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]:
        why = why or f"{len(bare)} of {len(state)} tensors are missing (first: {bare[0]})"
    if depth != len(network.blocks):
        why = f"it has {depth} blocks, the model {len(network.blocks)}"
    if why:
        raise DataError(f"{source} cannot be loaded into {model.name}: {why}")
    return state, Record(len(state), taken="JAX archive, read by timm")


def _size_of_jax(source: Path) -> tuple[int, int]:
    """(side of the images in pixels, or 0 if they are not square; number of blocks)."""
    with np.load(source, allow_pickle=False) as archive:
        names = list(archive.files)
        shape = {name: archive[name].shape for name in names if "embed" in name}
    positions = next((s[1] for n, s in shape.items() if n.endswith("pos_embedding")), 1)
    patch = next((s[0] for n, s in shape.items() if n.endswith("embedding/kernel")), 0)
    grid = math.isqrt(positions - 1)
    blocks = {match[1] for name in names if (match := re.search(r"encoderblock_(\d+)/", name))}
    return grid * patch if grid**2 == positions - 1 else 0, len(blocks)
