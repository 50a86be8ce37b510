"""The record of one submission: which cells, under which profile, by which code.

cluster/<id>/submission.json     profile, code, command
cluster/<id>/cells.json.gz       the cells, and which failed ones may be tried again
cluster/<id>/events/*.jsonl      what each task did and why it ended; one writer a file
cluster/<id>/jobs/               scripts and logs
cluster/code/<hash>/             copies of the code
"""

from __future__ import annotations

import gzip
import json
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster.record.profile import Profile, profile_from
from janus import atomic_files, plugins
from janus.config.cell import Cell, cell_from_dict, cell_record
from janus.config.execution import Execution, execution_from
from janus.errors import ClusterError, suggest
from janus.store.store import Store


@dataclass(frozen=True)
class Submission:
    """A submission on disk."""

    folder: Path

    @property
    def id(self) -> str:
        """Also the name of its jobs in the queue."""
        return self.folder.name

    @cached_property
    def record(self) -> dict[str, Any]:
        """Everything but the cells."""
        found = atomic_files.read_record(self.folder / "submission.json")
        if not found:
            raise ClusterError(f"{self.folder} holds no submission")
        return found

    @property
    def store(self) -> Path:
        """Root of the run store."""
        return self.folder.parents[1]

    @property
    def code(self) -> Path:
        """The copy of the code that its jobs import."""
        return self.folder.parent / "code" / str(self.record["code"])

    @cached_property
    def profile(self) -> Profile:
        """Resources and limits."""
        return profile_from(self.record["profile"])

    def include_outside(self) -> None:
        """Import the copied modules from outside; in a job, where nothing else is to be used.

        Raises ConfigError when one cannot be imported.
        """
        paths = [str(self.code / path) for path in self.record.get("include", ())]
        plugins.restore({"include": paths, "entry_points": False})

    @cached_property
    def execution(self) -> Execution:
        """How its cells are executed: as its sweep asks, within the limits of the profile."""
        older = {"keep": "final" if self.record.get("keep_final") else "none"}
        return replace(
            execution_from(self.record.get("execution", older)),
            store=str(self.store),
            device=self.profile.device,
            checkpoint_s=0.9 * self.profile.lose_at_most_s,  # a save takes a moment itself
        )

    @cached_property
    def work(self) -> tuple[list[Cell], dict[str, int]]:
        """The cells, and for those that had failed the attempt after which they may be tried."""
        packed = json.loads(gzip.decompress((self.folder / "cells.json.gz").read_bytes()))
        return [cell_from_dict(c) for c in packed["cells"]], packed["retry"]

    @property
    def jobs(self) -> Path:
        """Scripts and logs."""
        return self.folder / "jobs"

    @property
    def events(self) -> Path:
        """What tasks wrote down."""
        return self.folder / "events"


def create_submission(
    store: Store,
    name: str,
    cells: Sequence[Cell],
    retry: Mapping[str, int],
    profile: Profile,
    more: Mapping[str, Any],
) -> Submission:
    """Write down a new submission of the sweep `name`; nothing is started."""
    stamp = time.strftime("%m%d-%H%M%S")
    folder = store.root / "cluster" / f"{name}-{stamp}-{secrets.token_hex(2)}"
    for part in ("jobs", "events"):
        (folder / part).mkdir(parents=True)
    packed = json.dumps({"cells": [cell_record(c) for c in cells], "retry": dict(retry)}).encode()
    atomic_files.replace(folder / "cells.json.gz", lambda p: _write(p, gzip.compress(packed)))
    record = {"sweep": name, "profile": asdict(profile), "created": time.time(), **more}
    atomic_files.replace(folder / "submission.json", atomic_files.json_writer(record))
    return Submission(folder)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def submissions(store: Store, sweep: str | None = None) -> list[Submission]:
    """All submissions in the store, or those of one sweep, oldest first."""
    found = [Submission(p.parent) for p in (store.root / "cluster").glob("*/submission.json")]
    found.sort(key=lambda s: s.record["created"])
    return [s for s in found if sweep in (None, s.record["sweep"], s.id)]


def of_sweep(store: Store, sweep: str) -> list[Submission]:
    """All submissions of `sweep`, or the one of that id, newest first.

    Raises ClusterError that names what the store holds.
    """
    found = submissions(store, sweep)
    if not found:
        known = {s.record["sweep"] for s in submissions(store)}
        again = ["python", "-m", "cluster", "submit", sweep, f"store={store.root}"]
        raise ClusterError(
            f"nothing was submitted for sweep {sweep!r} in {store.root}.{suggest(sweep, known)} "
            f"Submit it with: {shlex.join(again)}"
        )
    return found[::-1]


def newest(store: Store, sweep: str) -> Submission:
    """The last submission of `sweep`. Raises ClusterError that names what the store holds."""
    return of_sweep(store, sweep)[0]


def words_of(submission: Submission) -> tuple[str, list[str]]:
    """The sweep's name and the KEY=VALUE words with which it was submitted."""
    name, *words = shlex.split(submission.record["command"])[4:]
    return name, words


def repeat(submission: Submission, typed: Sequence[str]) -> list[str]:
    """The words of an earlier submission under those `typed` now.

    Another `profile=` replaces the earlier one with all that was changed in it.
    """
    keys = {word.partition("=")[0] for word in typed}

    def stays(word: str) -> bool:
        key = word.partition("=")[0]
        return key not in keys and not ("profile" in keys and key.startswith("profile."))

    return [word for word in words_of(submission)[1] if stays(word)] + list(typed)


class Events:
    """A file of dated facts with one writer; readers on other machines see whole lines."""

    def __init__(self, path: Path, **constant: Any) -> None:
        self.path = path
        self.constant = constant

    def note(self, event: str, **facts: Any) -> None:
        """Append one fact, and print it for the log. A full disk must not end the training."""
        record = {"at": round(time.time(), 3), "event": event, **self.constant, **facts}
        try:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
        except OSError as error:
            print(f"could not write {self.path}: {error}", flush=True)
        told = " ".join(f"{key}={value}" for key, value in facts.items())
        print(f"[{time.strftime('%H:%M:%S')}] {event} {told}", flush=True)


def read_events(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """All facts in the files, by time; lines that are not whole yet are left out."""
    return sorted(_lines(paths), key=lambda record: record["at"])


def _lines(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
