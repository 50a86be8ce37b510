"""Loads CORe50 (Lomonaco and Maltoni 2017): one session per task, one test set for all tasks.

Files: core50_128x128/s<session>/o<object>/C_<session>_<object>_<frame>.png.
"""

from __future__ import annotations

from pathlib import Path

from janus.config.cell import BenchConfig
from janus.data.files.decoded import from_files
from janus.data.files.split import DataSplit, images_in, listing
from janus.data.images.images import Bench
from janus.errors import DataError

SESSIONS = tuple(range(1, 12))
TEST_SESSIONS = (3, 7, 10)
"""Sessions of the test set in the published protocols [seen: three independent loaders]."""


def load_core50(config: BenchConfig) -> Bench:
    """The bench: eight training sessions, and three test sessions that belong to no task."""
    root = Path(config.root or ".").expanduser()
    root = root / "core50_128x128" if (root / "core50_128x128").is_dir() else root
    if missing := [f"s{n}" for n in SESSIONS if not (root / f"s{n}").is_dir()]:
        raise DataError(
            f"bench {config.name}: {root} lacks the sessions {', '.join(missing)}. Get "
            "core50_128x128.zip from https://vlomonaco.github.io/core50 and unpack it there"
        )
    if config.scenario != "domain":
        raise DataError(f"bench {config.name} is domain-incremental only: bench.scenario=domain")
    trained = [n for n in SESSIONS if n not in TEST_SESSIONS]
    train = [_session(root, n, config.classes) for n in trained]
    test = [row for n in TEST_SESSIONS for row in _session(root, n, config.classes)]
    rows = [(path, label, domain) for domain, part in enumerate(train) for path, label in part]
    split = DataSplit(
        root,
        listing([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]),
        listing([path for path, _ in test], [label for _, label in test]),
        class_names=tuple(f"o{n + 1}" for n in range(config.classes)),
        domain_names=tuple(f"s{n}" for n in trained),
    )
    return from_files(config, split, shared_test=True)


def _session(root: Path, number: int, classes: int) -> list[tuple[str, int]]:
    """(path, label) of every image of a session, by object number."""
    return [
        (f"s{number}/o{label + 1}/{name}", label)
        for label in range(classes)
        for name in images_in(root / f"s{number}" / f"o{label + 1}")
    ]
