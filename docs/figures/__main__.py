"""`python -m docs.figures`: write the figures, the API page and the picture of the documents.

python -m docs.figures                  from docs/results, docstrings and imports
python -m docs.figures --store runs     first take over the documents' sweeps that the store has
python -m docs.figures --check          write nothing; exit 1 where a page would change
python -m docs.figures --unpack DIR     write no page, but a run store of docs/results
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.runs import committed
from docs.figures import ablation, api, claims, extend, renditions, rooms, scale, smoke, speed, zoo
from docs.figures.fill import PART, fill
from docs.figures.records import RESULTS, Results, opened
from docs.figures.tables import Block
from janus.errors import ConfigError, JanusError
from janus.one_line import explain_os_error, printable

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = (
    "smoke",
    "renditions_references",
    "renditions_tuning",
    "ablation",
    "ablation_tuning",
    "claims_methods",
    "claims_one_epoch",
    "sensitivity",
    "zoo_glyphs",
)
"""The sweeps that documents show."""


def pages() -> list[Path]:
    """Every document."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """Every block by its name."""
    return {
        **smoke.blocks(found),
        **renditions.blocks(found),
        **ablation.blocks(found),
        **claims.blocks(found),
        **zoo.blocks(found),
        **speed.blocks(),
        **scale.blocks(),
        **api.blocks(),
        **extend.blocks(),
    }


def written(results: Path = RESULTS) -> dict[Path, str]:
    """{file: the text it should have}: pages, from the committed results, and the picture."""
    with opened(results) as found:
        return {**filled(blocks(found)), rooms.FILE: rooms.picture()}


def filled(made: Mapping[str, Block]) -> dict[Path, str]:
    """Every page with a marked part, with these blocks in it. Raises ConfigError for a bad mark."""
    out = {}
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            new = fill(text, made)
        except ConfigError as error:
            raise ConfigError(f"{page.relative_to(ROOT)}: {error}") from None
        if PART.search(text):
            out[page] = new
    return out


def take(stores: Sequence[Path], folder: Path = RESULTS) -> list[str]:
    """Pack the documents' sweeps that these stores hold; returns their names.

    Raises ConfigError for a sweep that a store lists and has not finished.
    """
    taken = []
    for store in stores:
        for name in SWEEPS:
            if (store / "sweeps" / f"{name}.json").is_file():
                committed.pack(store, name, folder)
                taken.append(name)
    return taken


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--unpack", type=Path, metavar="DIR")
    given = parser.parse_args(argv)
    try:
        for name in take(given.store):
            print(f"took {name}")
        if given.unpack:
            committed.unpack_results(RESULTS, committed.committed_sweeps(RESULTS), given.unpack)
            return 0
        return _write(given.check)
    except JanusError as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    except OSError as error:
        print(printable(f"error: {explain_os_error(error)}"), file=sys.stderr)
        return 2


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _write(check: bool) -> int:
    """Write what has changed, or only say so: then the exit code is 1."""
    changed = {path: text for path, text in written().items() if _read(path) != text}
    for page, text in changed.items():
        name = page.relative_to(ROOT)
        print(f"{name} is not what the records give: make docs" if check else f"wrote {name}")
        if not check:
            page.write_text(text, encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
