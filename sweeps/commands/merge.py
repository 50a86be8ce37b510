"""`merge`: bring the results of other stores into one."""

from __future__ import annotations

from collections.abc import Sequence

from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.commands.copying import copy_lists, copy_results, log_copied, open_existing
from sweeps.commands.store_words import read_words
from sweeps.show.console import print_line


def merge(words: Sequence[str]) -> int:
    """The action: bring the results of STORE... into the store `store=`."""
    paths, given = read_words(words, {"store": "runs"})
    if not paths:
        raise ConfigError("give the stores to merge: python -m sweeps merge STORE... store=runs")
    target, sources = Store(given["store"]), [open_existing(path) for path in paths]
    if any(source.root == target.root for source in sources):
        raise ConfigError(f"{target.root} cannot be merged into itself")
    missing = 0
    for source in sources:
        copied = copy_results(source, target, sorted(source.done()))
        copy_lists(source, target)
        missing += log_copied(source, copied)
    print_line(f"{len(target.done())} results in {target.root}")
    return 3 if missing else 0
