"""Finds the weight file of a backbone on this machine and verifies its hash. Never downloads.

Weights are bundled with the package, a local file (.safetensors, .pth, .pt, .bin), random (for
tests), or already in the hub's local cache. Only `python -m janus.weights fetch NAME` uses the
network. Only `check_weight_files` imports torch, because it reads tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from janus import atomic_files
from janus.config.cell import BackboneConfig
from janus.config.compose import file_sha256
from janus.config.method_spec import read_spec, spec_names
from janus.errors import DataError
from janus.store.store import Store
from janus.weight_header import KINDS

HUB = "timm/{model}"
"""Name of the hub repository of a timm model; `model` is its full tag."""
HUB_FILE = "model.safetensors"


def weight_file(config: BackboneConfig) -> Path | None:
    """Path of the weights on this machine; None for random weights. Never uses the network.

    Raises DataError if they are missing, with the command that fetches them.
    """
    if config.weights == "random":
        return None
    if config.weights == "bundled":
        path = Path(str(files("janus") / "data" / "assets" / f"{config.name}.safetensors"))
    elif config.weights == "hub":
        path = _cached_hub_file(config)
    else:
        path = Path(config.weights).expanduser()
    if not path.is_file():
        raise DataError(f"backbone.weights: no file {path}; give the path of a {KINDS} file")
    return path


def _cached_hub_file(config: BackboneConfig) -> Path:
    found = try_to_load_from_cache(HUB.format(model=config.model), HUB_FILE)
    if isinstance(found, str):
        return Path(found)
    raise DataError(
        f"the weights of {config.model} are not on this machine. Fetch them once with\n"
        f"    python -m janus.weights fetch {_fetch_name(config)}\n"
        "or give a local copy: backbone.weights=/path/to/model.safetensors"
    )


def _fetch_name(config: BackboneConfig) -> str:
    """The backbone's short name if it stands for these hub weights, else the full timm tag."""
    file = read_spec("backbone", config.name) if config.name in spec_names("backbone") else {}
    same = file.get("weights", "hub") == "hub" and file.get("model") == config.model
    return config.name if same else config.model


def verify_weights(config: BackboneConfig) -> str:
    """SHA-256 of the weight file, or 'random'. Raises DataError if it is not the declared hash."""
    path = weight_file(config)
    if path is None:
        return "random"
    stat = path.stat()
    found = file_sha256(str(path), stat.st_size, stat.st_mtime_ns)
    if config.weights_sha256 not in (None, found):
        raise DataError(
            f"{path} is not the declared weight file of {config.name}: its SHA-256 is "
            f"{found[:16]}…, declared is {config.weights_sha256[:16]}… "
            "(damaged, or another version). Fetch or copy it again"
        )
    return found


def check_weight_files(backbones: Iterable[BackboneConfig]) -> list[str]:
    """Check, before any work, that every weight file from outside the package fits its model.

    Returns a line for each file: how its names and shapes were changed. Equal backbones are checked
    once. Raises DataError if a file does not fit, and the errors of `verify_weights` and
    `create_network`.
    """
    distinct = {b.canonical: b for b in backbones if b.weights not in ("bundled", "random")}
    lines = []
    for backbone in distinct.values():
        from janus.weights.fit import map_weights
        from janus.weights.model import create_network

        verify_weights(backbone)
        path = weight_file(backbone)
        assert path is not None
        _, record = map_weights(path, create_network(backbone))
        lines.append(f"{backbone.model} from {path}: {record}")
    return lines


def was_unchecked(store: Store, cell_id: str) -> bool:
    """Whether a result on a local weight file has no record of how the file was loaded.

    Such results are from versions that used random weights where the file's names did not match.
    """
    result = atomic_files.read_record(store.result_path(cell_id))
    try:
        named = result["cell"]["backbone"]["weights"]
    except (KeyError, TypeError):
        return False
    return named == "file" and "weights" not in (store.provenance(cell_id) or {})
