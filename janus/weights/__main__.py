"""The command `python -m janus.weights`: fetch, check, convert and audit weight files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download

from janus import plugins
from janus.config.cell import BackboneConfig
from janus.config.compose import file_sha256
from janus.config.method_spec import read_spec, spec_names
from janus.errors import DataError
from janus.one_line import one_line
from janus.store.store import Store
from janus.weight_header import KINDS
from janus.weights.resolve import HUB, HUB_FILE, check_weight_files, was_unchecked


def _fetch(given: argparse.Namespace) -> str:
    known = given.name in spec_names("backbone")
    tag = read_spec("backbone", given.name)["model"] if known else given.name
    try:
        path = Path(hf_hub_download(HUB.format(model=tag), HUB_FILE))
    except Exception as error:  # the hub's client raises a dozen classes of error
        raise DataError(f"cannot fetch {HUB.format(model=tag)}: {error}") from error
    stat = path.stat()
    return f"{path}\nsha256 {file_sha256(str(path), stat.st_size, stat.st_mtime_ns)}"


def _check(given: argparse.Namespace) -> str:
    return check_weight_files([model_config(given.model, given.file)])[0]


def _convert(given: argparse.Namespace) -> str:
    from janus.weights.convert import convert

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
    """Configuration of a backbone of this package, or of a timm model at 224 pixels, whose weights
    are the file `weights`."""
    known = read_spec("backbone", name) if name in spec_names("backbone") else {"model": name}
    values = known | {"weights": str(Path(weights).expanduser()), "weights_sha256": None}
    return BackboneConfig(name=name, **values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m janus.weights", description=__doc__)
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PATH",
        help="a module with own backbones; stands before ACTION",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    backbones = ", ".join(spec_names("backbone"))

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
    for path in given.include:
        plugins.include(path)
    sys.stdout.write(f"{given.act(given)}\n")
    return 0


def run_command(words: Sequence[str]) -> int:
    """Run the command line; print expected errors as one line on stderr. Returns the status."""
    try:
        return one_line(_main, words)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
