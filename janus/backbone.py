"""The frozen timm vision transformer of a run, its weights verified before any work starts.

Weights are bundled with the package, a local .safetensors file, random (for tests), or already in
the hub's local cache. Only `python -m janus.backbone fetch NAME` uses the network.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from janus.compose import file_sha256
from janus.config import BackboneConfig
from janus.errors import DataError, JanusError, suggest
from janus.rng import key_number
from janus.settings import names, read_yaml


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
    import timm
    from huggingface_hub import try_to_load_from_cache

    known = timm.get_pretrained_cfg(config.model)
    if known is None or not known.hf_hub_id:
        raise DataError(
            f"backbone.model: timm has no pretrained weights called {config.model!r}."
            + suggest(config.model, timm.list_pretrained("vit_*"))
        )
    for name in (known.hf_hub_filename or "model.safetensors", "model.safetensors"):
        found = try_to_load_from_cache(known.hf_hub_id, name)
        if isinstance(found, str):
            return Path(found)
    raise DataError(
        f"the weights of {config.model} are not on this machine. Fetch them once with\n"
        f"    python -m janus.backbone fetch {config.name}\n"
        "or give a local copy: backbone.weights=/path/to/model.safetensors"
    )


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


def build(config: BackboneConfig, device: torch.device) -> nn.Module:
    """The transformer in eval mode, every parameter frozen; `model(x)` gives features (B, D).

    The feature is the CLS token after the final LayerNorm. Raises DataError for weights that are
    missing, damaged, or of another architecture.
    """
    import timm

    kwargs: dict[str, Any] = dict(config.model_kwargs)
    kwargs |= {"img_size": config.image_size, "in_chans": config.channels, "num_classes": 0}
    path = weight_file(config)
    overlay = None
    if config.weights not in ("random", "bundled"):
        overlay = {"file": str(path)}
    with torch.random.fork_rng(devices=[]):
        # timm draws initial weights from the global generator: give it a private, fixed one
        torch.manual_seed(key_number("backbone", config.name) % 2**31)
        try:
            model: nn.Module = timm.create_model(
                config.model,
                pretrained=overlay is not None,
                pretrained_cfg_overlay=overlay,
                **kwargs,
            )
            if config.weights == "bundled":
                model.load_state_dict({k: v.float() for k, v in load_file(str(path)).items()})
        except (RuntimeError, SafetensorError, OSError, KeyError) as error:
            raise DataError(
                f"backbone {config.name}: {path or config.model} cannot be loaded into "
                f"{config.model}: {error}"
            ) from error
    return model.to(device).eval().requires_grad_(False)


def prepare(images: Tensor, config: BackboneConfig, device: torch.device) -> Tensor:
    """uint8 images (B, C, H, W) to the backbone's input: float, its size, channels, mean and std.

    Resizing is bilinear with antialiasing, on the device.
    """
    x = images.to(device, non_blocking=True).float().div_(255.0)
    if x.shape[1] != config.channels:
        x = x.expand(-1, config.channels, -1, -1) if x.shape[1] == 1 else x.mean(1, keepdim=True)
    size = config.image_size
    if x.shape[-2:] != (size, size):
        x = nn.functional.interpolate(
            x, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return (x - config.mean) / config.std


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m janus.backbone", description=__doc__)
    parser.add_argument("action", choices=["fetch"])
    parser.add_argument("name", help=f"one of: {', '.join(names('backbone'))}, or a full timm tag")
    given = parser.parse_args(arguments)
    import timm
    from huggingface_hub import hf_hub_download

    known = given.name in names("backbone")
    tag = read_yaml("backbone", given.name)["model"] if known else given.name
    found = timm.get_pretrained_cfg(tag)
    if found is None or not found.hf_hub_id:
        raise DataError(f"timm has no weights {tag!r}.{suggest(tag, timm.list_pretrained())}")
    path = Path(hf_hub_download(found.hf_hub_id, found.hf_hub_filename or "model.safetensors"))
    stat = path.stat()
    sys.stdout.write(f"{path}\nsha256 {file_sha256(str(path), stat.st_size, stat.st_mtime_ns)}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(_main(sys.argv[1:]))
    except (JanusError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
