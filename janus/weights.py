"""Where weight files lie, and whether they are what they say. No silent network.

Weights are bundled with the package, a local file (.safetensors, .pth, .pt, .bin), random (for
tests), or already in the hub's local cache. Only `python -m janus.weights fetch NAME` uses the
network. Torch is imported where tensors are looked at: `check` and `convert`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

from janus import atomic
from janus.command import one_line
from janus.compose import file_sha256
from janus.config import BackboneConfig
from janus.errors import DataError
from janus.settings import names, read_yaml
from janus.store import Store
from janus.weight_header import KINDS

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


def check(backbones: Iterable[BackboneConfig]) -> list[str]:
    """Map every weight file that does not come with the package to its model, before any work.

    Returns a line for each file: what was done to its names and shapes. Equal backbones are looked
    at once. Raises DataError where a file is not the model's, and as `verify` and `create` do.
    """
    distinct = {b.canonical: b for b in backbones if b.weights not in ("bundled", "random")}
    lines = []
    for backbone in distinct.values():
        from janus.backbone import create
        from janus.weight_file import mapped

        verify(backbone)
        path = weight_file(backbone)
        assert path is not None
        _, record = mapped(path, create(backbone))
        lines.append(f"{backbone.model} from {path}: {record}")
    return lines


def was_unchecked(store: Store, cell_id: str) -> bool:
    """Whether a result on a local weight file says nothing of how its file was loaded.

    Such results are of versions that trained on random weights where a file's names did not match.
    """
    result = atomic.read_record(store.result_path(cell_id))
    try:
        named = result["cell"]["backbone"]["weights"]
    except (KeyError, TypeError):
        return False
    return named == "file" and "weights" not in (store.provenance(cell_id) or {})


# ---- command line ------------------------------------------------------------------------------
def _fetch(given: argparse.Namespace) -> str:
    known = given.name in names("backbone")
    tag = read_yaml("backbone", given.name)["model"] if known else given.name
    try:
        path = Path(hf_hub_download(HUB.format(model=tag), HUB_FILE))
    except Exception as error:  # the hub's client raises a dozen kinds; all mean the same here
        raise DataError(f"cannot fetch {HUB.format(model=tag)}: {error}") from error
    stat = path.stat()
    return f"{path}\nsha256 {file_sha256(str(path), stat.st_size, stat.st_mtime_ns)}"


def _check(given: argparse.Namespace) -> str:
    return check([model_config(given.model, given.file)])[0]


def _convert(given: argparse.Namespace) -> str:
    from janus.weight_convert import convert

    model = model_config(given.model, given.file) if given.model else None
    return convert(given.file, given.out, model, given.strip)


def _audit(given: argparse.Namespace) -> str:
    store = Store(given.store)
    found = sorted(cell_id for cell_id in store.done() if was_unchecked(store, cell_id))
    lines = []
    for cell_id in found:
        cell = (store.result(cell_id) or {})["cell"]
        backbone = cell["backbone"]
        lines.append(
            f"{cell_id}  {cell['bench']['name']} {cell['method']['name']}  "
            f"{backbone['model']}  sha256 {backbone['weights_sha256']}"
        )
    head = f"{len(found)} results in {store.root} are on weight files that were never checked"
    advice = (
        "Check each file: python -m janus.weights check FILE --model MODEL. Where it is refused, a "
        "prefix other than 'module.' is stripped, or Hugging Face's names are translated, the "
        f"network was random: delete the results ({store.root}/results/XX/ID.json) and train again"
    )
    return "\n".join([head, *lines, advice] if found else [head])


def model_config(name: str, weights: str | Path) -> BackboneConfig:
    """A backbone of this package, or a timm model at 224 pixels, with the file `weights`."""
    known = read_yaml("backbone", name) if name in names("backbone") else {"model": name}
    values = known | {"weights": str(Path(weights).expanduser()), "weights_sha256": None}
    return BackboneConfig(name=name, **values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m janus.weights", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    backbones = ", ".join(names("backbone"))

    fetch = actions.add_parser("fetch", help="download published weights into the hub's cache")
    fetch.add_argument("name", help=f"one of: {backbones}, or a full timm tag")
    fetch.set_defaults(act=_fetch)

    look = actions.add_parser("check", help="say how a file would be loaded, or why not")
    look.add_argument("file")
    look.add_argument("--model", required=True, help=f"a timm model, or one of: {backbones}")
    look.set_defaults(act=_check)

    convert = actions.add_parser("convert", help=f"{KINDS} or .npz to timm's names")
    convert.add_argument("file", type=Path)
    convert.add_argument("out", type=Path, help="a new .safetensors file")
    convert.add_argument("--model", help="also check it against this timm model or backbone")
    convert.add_argument("--strip", default="", metavar="PREFIX", help="a prefix of all names")
    convert.set_defaults(act=_convert)

    audit = actions.add_parser("audit", help="list results on files that were never checked")
    audit.add_argument("store", nargs="?", default="runs")
    audit.set_defaults(act=_audit)
    return parser


def _main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    sys.stdout.write(f"{given.act(given)}\n")
    return 0


def run(words: Sequence[str]) -> int:
    """The command line, with every foreseen error as one line on stderr and its exit status."""
    try:
        return one_line(_main, words)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
