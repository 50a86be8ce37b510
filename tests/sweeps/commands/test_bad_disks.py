"""Stores on disks that are full, read-only, forbidden, or lack what a store needs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from janus.store.store import Store
from sweeps.__main__ import run_command
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep

ROOT = Path(__file__).resolve().parents[3]
TOY = ["backbone=toy", "bench.train_per_class=5", "bench.tasks=2", "train.epochs=1"]
WORDS = ["methods=[seqlora]", "orders=6", "workers=2", *TOY]
BECOME_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def mounted(options: str, where: Path) -> bool:
    """Whether a tmpfs could be mounted: root may, outside of most containers."""
    command = ["mount", "-t", "tmpfs", "-o", options, "janus-test", str(where)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    if not mounted("size=150k", where):
        pytest.skip("a tmpfs cannot be mounted here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def sweep(store: Path, action: str = "run") -> subprocess.CompletedProcess[str]:
    words = ["-m", "sweeps", action, "smoke", *WORDS, f"store={store}"]
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_a_sweep_whose_disk_fills_reports_what_failed_and_goes_on_with_space(
    small_disk: Path,
) -> None:
    store = small_disk / "store"
    full = sweep(store)
    said = full.stdout + full.stderr
    assert full.returncode == 3, said
    assert "Traceback" not in said
    assert "disk-full" in full.stdout and "free some" in said, said
    assert "the same command trains what is missing: python -m sweeps run smoke" in full.stdout
    finished = Store(store).done()
    assert len(finished) < 6

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    before = {i: Store(store).result_path(i).read_bytes() for i in finished}
    whole = sweep(store)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert len(Store(store).done()) == 6
    assert all(Store(store).result_path(i).read_bytes() == was for i, was in before.items())


@pytest.fixture
def anybodys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder below /tmp that every user can enter, with a half-finished store."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(f"/tmp/janus-anybody-{os.getpid()}")
    folder.mkdir(mode=0o755)
    store = Store(folder / "store")
    planned = plan(load_sweep("smoke", WORDS).sweep).entries
    write_list(store, "smoke", "python -m sweeps run smoke", planned)
    _finish(store, planned[0].cell)
    yield folder
    shutil.rmtree(folder)


def _finish(store: Store, cell: object) -> None:
    from janus.training.loop import run_cell

    run_cell(cell, store, threads=1)  # type: ignore[arg-type]


def as_nobody(words: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as a user who owns nothing."""
    return subprocess.run(
        [*BECOME_NOBODY, sys.executable, *words],
        cwd=where,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": "/nowhere",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


LOOKS = {
    "plan": (["-m", "sweeps", "plan", "smoke", *WORDS, "store=store"], 0),
    "status": (["-m", "sweeps", "status", "smoke", *WORDS, "store=store"], 3),
    "compare": ([str(ROOT / "analysis/compare.py"), "--store", "store", "--sweep", "smoke"], 3),
}


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_a_store_that_this_user_may_not_write_can_be_looked_at(anybodys: Path, look: str) -> None:
    words, status = LOOKS[look]
    before = listing(anybodys)
    done = as_nobody(words, anybodys)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "ermission" not in done.stderr, done.stderr
    assert "janus" in done.stdout or "seqlora" in done.stdout or "1 of 6" in done.stdout
    assert listing(anybodys) == before, "looking wrote something"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "act"), [(0o555, "run"), (0o000, "run"), (0o000, "plan")])
def test_a_store_that_is_forbidden_is_refused_in_one_line(
    anybodys: Path, mode: int, act: str
) -> None:
    words = ["-m", "sweeps", act, "smoke", *WORDS, "store=store"]
    (anybodys / "store").chmod(mode)
    done = as_nobody(words, anybodys)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [text for text in done.stderr.splitlines() if "error" in text]
    assert str(anybodys / "store") in line and "store=DIR" in line, line
    assert "Traceback" not in done.stderr and "Errno" not in done.stderr


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EINVAL])
@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_file_system_that_lacks_what_a_store_needs_is_refused_before_training(
    call: str,
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    assert run_command(["run", "smoke", *WORDS, f"store={tmp_path / 's'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "s") in line and "store=DIR" in line and "Errno" not in line
    assert "hard links" in line or "fsync" in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "a file is left"
