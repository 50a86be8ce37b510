"""`export`: a copy of a store's results to give away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from janus.errors import ConfigError, suggest
from janus.safe_names import check_name
from janus.store.store import Store
from sweeps.commands.copying import copy_lists, copy_results, log_copied, open_existing
from sweeps.commands.store_words import read_words
from sweeps.show.console import print_line
from sweeps.spec.cell_list import list_at, list_path


def export(words: Sequence[str]) -> int:
    """The action: write the results of the store `store=` (or of one sweep) into a new folder."""
    flags = [word for word in words if word == "--results-only"]
    paths, given = read_words(
        [word for word in words if word not in flags], {"store": "runs", "sweep": ""}
    )
    if len(paths) != 1:
        raise ConfigError("give one folder: python -m sweeps export DIR store=runs --results-only")
    if not flags:
        raise ConfigError(
            "say --results-only: checkpoints and logs belong to the machine that trains; to move "
            "a whole store, copy its folder while nobody trains in it"
        )
    source, target = open_existing(given["store"]), Store(paths[0])
    if target.root.exists() and any(target.root.iterdir()):
        raise ConfigError(f"{target.root} is not empty; export into a new folder")
    wanted = sorted(source.done() & _listed(source, given["sweep"]))
    copied = copy_results(source, target, wanted)
    copy_lists(source, target, given["sweep"])
    missing = log_copied(source, copied)
    print_line(
        f"{copied.new} results in {target.root}, with their provenance and the lists of sweeps"
    )
    return 3 if missing else 0


def _listed(store: Store, name: str) -> set[str]:
    """Cells of a sweep; of every one, and of none, without a name."""
    if not name:
        return store.done()
    record = list_at(list_path(store, check_name(name, "the name of a sweep")))
    if record is None:
        known = [Path(p).stem for p in (store.root / "sweeps").glob("*.json")]
        hint = suggest(name, known) or " It knows no sweep; without sweep= every result is taken"
        raise ConfigError(f"no sweep {name!r} in {store.root}.{hint}")
    return {cell["id"] for cell in record["cells"]}
