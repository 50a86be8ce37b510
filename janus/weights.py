"""Where weight files lie, and whether they are the declared ones. No torch, no silent network.

Weights are bundled with the package, a local .safetensors file, random (for tests), or already in
the hub's local cache. Only `python -m janus.weights fetch NAME` uses the network.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

from janus.compose import file_sha256
from janus.config import BackboneConfig
from janus.errors import DataError, JanusError
from janus.settings import names, read_yaml

HUB = "timm/{model}"
"""The repository of a timm model with its full tag."""
HUB_FILE = "model.safetensors"


def weight_file(config: BackboneConfig) -> Path | None:
    """Where the weights lie on this machine; None for random weights. Never uses the network.

    Raises DataError naming the command that fetches what is missing.
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
        raise DataError(f"backbone.weights: no file {path}")
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
    """The short name where it means these hub weights, else the full timm tag."""
    file = read_yaml("backbone", config.name) if config.name in names("backbone") else {}
    same = file.get("weights", "hub") == "hub" and file.get("model") == config.model
    return config.name if same else config.model


def verify(config: BackboneConfig) -> str:
    """SHA-256 of the weights ('random' for random ones). Raises DataError on a mismatch."""
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


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m janus.weights", description=__doc__)
    parser.add_argument("action", choices=["fetch"])
    parser.add_argument("name", help=f"one of: {', '.join(names('backbone'))}, or a full timm tag")
    given = parser.parse_args(arguments)
    known = given.name in names("backbone")
    tag = read_yaml("backbone", given.name)["model"] if known else given.name
    try:
        path = Path(hf_hub_download(HUB.format(model=tag), HUB_FILE))
    except Exception as error:  # the hub's client raises a dozen kinds; all mean the same here
        raise DataError(f"cannot fetch {HUB.format(model=tag)}: {error}") from error
    stat = path.stat()
    sys.stdout.write(f"{path}\nsha256 {file_sha256(str(path), stat.st_size, stat.st_mtime_ns)}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(_main(sys.argv[1:]))
    except (JanusError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
