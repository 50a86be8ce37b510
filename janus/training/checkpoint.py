"""Checkpoints: a tree of tensors and JSON in one safetensors file, with a digest. No pickle."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from janus import atomic_files
from janus.errors import DataError
from janus.store.claims import Claim

log = logging.getLogger(__name__)

_TENSOR = "__tensor__"


def flatten(tree: Any, prefix: str = "") -> tuple[dict[str, Tensor], Any]:
    """Split a tree of dicts, lists, tensors and JSON values into tensors by path and a skeleton."""
    if isinstance(tree, Tensor):
        return {prefix: tree.detach().cpu().contiguous()}, {_TENSOR: prefix}
    tensors: dict[str, Tensor] = {}
    if isinstance(tree, Mapping):
        skeleton: Any = {}
        for key, child in tree.items():
            found, skeleton[str(key)] = flatten(child, f"{prefix}/{key}")
            tensors |= found
        return tensors, skeleton
    if isinstance(tree, list | tuple):
        if all(isinstance(child, str | int | float) for child in tree):
            return {}, list(tree)  # one entry a task, perhaps: not worth a call each
        skeleton = []
        for index, child in enumerate(tree):
            found, part = flatten(child, f"{prefix}/{index}")
            tensors |= found
            skeleton.append(part)
        return tensors, skeleton
    return {}, tree


def unflatten(tensors: Mapping[str, Tensor], skeleton: Any) -> Any:
    """The inverse of `flatten` (tuples come back as lists)."""
    if isinstance(skeleton, dict):
        if set(skeleton) == {_TENSOR}:
            return tensors[skeleton[_TENSOR]]
        return {key: unflatten(tensors, child) for key, child in skeleton.items()}
    if isinstance(skeleton, list):
        return [unflatten(tensors, child) for child in skeleton]
    return skeleton


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Store `tree` at `path`, atomically and synced."""
    tensors, skeleton = flatten(tree)
    # tensors that share memory (two names of one state) are refused by safetensors: copy them
    tensors = {name: value.clone() for name, value in tensors.items()}
    header = {"state": json.dumps(skeleton, allow_nan=False), "sha256": _digest(tensors)}
    content = serialize(tensors, metadata=header)
    # written by Python, not by safetensors, whose error for a full disk is no OSError
    atomic_files.replace(path, lambda temporary: _write_bytes(temporary, content))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read_tree(path: Path, mapped: bool = False) -> dict[str, Any]:
    """The tree stored at `path`. Raises DataError when it is truncated or altered.

    `mapped`: tensors share the file's pages with every process that reads it.
    """
    if not path.is_file():  # a named pipe would never be opened
        raise DataError(f"checkpoint {path} cannot be read: it is no file")
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if not mapped:
            # a slice of the mapped file may be less aligned than fresh memory, and alignment
            # decides the last bits of BLAS products
            tensors = {name: value.clone() for name, value in tensors.items()}
        intact = header["sha256"] == _digest(tensors)
        tree = unflatten(tensors, json.loads(header["state"]))
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise DataError(f"checkpoint {path} cannot be read: {error}") from error
    if not intact:
        raise DataError(f"checkpoint {path} is damaged: its digest does not match")
    return dict(tree)


def save_checkpoint(claim: Claim, name: str, tree: Mapping[str, Any]) -> None:
    """Save a checkpoint under `claim`, whose order of names is the order of progress.

    Raises RunError when the claim is lost or the disk is full; the checkpoints before it stay.
    """
    claim.check()
    write_tree(claim.checkpoint_dir / f"{name}.safetensors", tree)
    claim.prune_checkpoints()


def load_latest(claim: Claim) -> dict[str, Any] | None:
    """The furthest readable checkpoint of the run; damaged ones are skipped with a warning."""
    for path in claim.checkpoints():
        try:
            return read_tree(path)
        except DataError as error:
            log.warning("%s; falling back to the one before", error)
    return None


def tree_to_device(tree: Any, device: torch.device) -> Any:
    """The tree with its tensors on `device`."""
    if isinstance(tree, Tensor):
        return tree.to(device) if tree.dim() else tree  # step counters stay where Adam reads them
    if isinstance(tree, dict):
        return {k: tree_to_device(v, device) for k, v in tree.items()}
    return [tree_to_device(v, device) for v in tree] if isinstance(tree, list) else tree
