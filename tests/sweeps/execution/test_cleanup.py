"""What a killed driver leaves is tidied up by the next one, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from janus import atomic_files
from janus.store.processes import process_identity
from sweeps.execution import cleanup


def folder_of(parent: Path, name: str, owner: object) -> Path:
    folder = parent / name
    atomic_files.replace(folder / "owner.json", atomic_files.json_writer(owner))
    return folder


def test_a_dead_drivers_processes_and_folder_go(tmp_path: Path) -> None:
    dead = folder_of(tmp_path, "janus-a", process_identity() | {"started": "long ago"})
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, "RAY_AUTH_TOKEN_PATH": str(dead / "token")},
    )
    cleanup.clear(tmp_path)
    assert orphan.wait(timeout=10) != 0
    assert not dead.exists()


def test_folders_of_living_and_unknown_owners_stay(tmp_path: Path) -> None:
    alive = folder_of(tmp_path, "janus-a", process_identity())
    elsewhere = folder_of(tmp_path, "janus-b", {"host": "another", "pid": 1, "started": "x"})
    unknown = tmp_path / "janus-c"
    unknown.mkdir()
    cleanup.clear(tmp_path)
    assert alive.exists() and elsewhere.exists() and unknown.exists()


def test_an_interrupted_removal_is_finished_by_the_next_driver(tmp_path: Path, monkeypatch) -> None:
    folder = folder_of(tmp_path, "janus-a", process_identity() | {"started": "long ago"})
    (folder / "r" / "session").mkdir(parents=True)

    def interrupted(path: Path, **_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cleanup.remove(folder)
    assert (folder / cleanup.OWNER).exists(), "without it no driver would know whose folder it is"
    cleanup.clear(tmp_path)
    assert not folder.exists()


def test_a_folder_without_an_owner_goes_when_it_is_a_day_old(tmp_path: Path) -> None:
    old, new = tmp_path / "janus-a", tmp_path / "janus-b"
    for folder in (old, new):
        folder.mkdir()
    past = time.time() - 2 * cleanup.UNMARKED_S
    os.utime(old, (past, past))
    cleanup.clear(tmp_path)
    assert not old.exists() and new.exists()


def test_processes_that_do_not_end_by_themselves_are_killed(tmp_path: Path) -> None:
    folder = tmp_path / "janus-a"
    stubborn = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, "TMPDIR": str(folder)},
    )
    while cleanup.processes_of(folder) != [
        stubborn.pid
    ]:  # /proc shows its environment a moment later
        assert stubborn.poll() is None
        time.sleep(0.01)
    cleanup.end_processes(folder, patience_s=0.2)
    assert stubborn.wait(timeout=10) < 0
    assert cleanup.processes_of(folder) == []


@pytest.fixture
def work(tmp_path: Path, monkeypatch) -> Path:
    """The current folder, with a file in it; nothing is really killed."""
    (tmp_path / "thesis.tex").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("a process of somebody else was killed"))
    monkeypatch.setattr(cleanup, "processes_of", lambda folder: [12345])
    return tmp_path


@pytest.mark.parametrize("folder", [Path(), Path("/"), Path("/tmp"), Path("janus-a")], ids=str)
def test_only_a_sweeps_own_folder_is_tidied_up(work: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="no temporary folder of a sweep"):
        cleanup.end_processes(folder, patience_s=0.0)
    if folder == Path():  # never tried on others: the code before deleted what it was given
        with pytest.raises(ValueError, match="no temporary folder of a sweep"):
            cleanup.remove(folder)
    assert (work / "thesis.tex").exists()


def test_a_pool_that_found_no_room_for_its_folder_leaves_all_others_alone(
    work: Path, monkeypatch
) -> None:
    from sweeps.execution.ray_cluster import Cluster

    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    monkeypatch.setattr(Cluster, "_parent", lambda _: str(work))
    cluster = Cluster(work / "runs", 1, 0, ())
    with pytest.raises(OSError, match="No space left"):
        cluster.__enter__()
    cluster.__exit__()  # as the pool does on its way out
    assert (work / "thesis.tex").exists()
