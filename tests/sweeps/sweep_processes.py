"""Sweeps as processes of their own, started as at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from janus.store.store import Store

PAIRS = ["methods=[seqlora,janus]", "orders=2", "workers=2"]


@pytest.fixture
def short_tmp(tmp_path: Path) -> Iterator[str]:
    """A TMPDIR by which the processes of one sweep can be told; Ray wants it short."""
    link = Path(f"/tmp/js{os.getpid()}")
    folder = tmp_path / "t"
    folder.mkdir()
    link.symlink_to(folder)
    yield str(link)
    link.unlink()


def processes(marker: str) -> dict[int, str]:
    """Command lines of the processes whose environment or arguments hold `marker`."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes()
            facts = arguments + (entry / "environ").read_bytes()
        except OSError:
            continue
        if marker.encode() in facts:
            found[int(entry.name)] = arguments.replace(b"\0", b" ").decode()
    return found


def start(words: list[str], tmp: str) -> subprocess.Popen[str]:
    """A sweep as typed at a terminal, even where pytest runs in the background, deaf to Ctrl-C."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "sweeps", "run", "smoke", *words],
        env={**os.environ, "TMPDIR": tmp},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(words: list[str], tmp: str) -> tuple[int, str]:
    process = start(words, tmp)
    out, _ = process.communicate(timeout=300)
    assert processes(tmp) == {}, "a process of the sweep is left"
    assert os.listdir(tmp) == [], "a file of the sweep is left"
    return process.returncode, out


def wait_for_worker(store: Store, cell_ids: list[str], patience_s: float = 120.0) -> int:
    """The process number of a worker that is training (has published progress)."""
    from janus import atomic_files

    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for cell_id in cell_ids:
            beat = store.beat(cell_id)
            if beat is not None and store.status(cell_id) == "running":
                claim = store.run_dir(cell_id) / "claims" / "000001.json"
                return int(atomic_files.read_json(claim)["owner"]["pid"])
        time.sleep(0.1)
    raise AssertionError("no worker began to train")
