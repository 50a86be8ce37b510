"""The copy of the code: named by content, whole or absent, and never silently changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cluster.record import code_snapshot
from cluster.record.profile import load_profile
from cluster.record.submission import create_submission, read_events
from janus.errors import ClusterError
from janus.store.store import Store


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for room in code_snapshot.ROOMS:
        (root / room / "conf").mkdir(parents=True)
        (root / room / "__init__.py").write_text(f"NAME = {room!r}\n")
        (root / room / "conf" / "a.yaml").write_text("a: 1\n")
    return root


def test_the_copy_holds_code_and_settings_and_is_found_again(tree, tmp_path):
    copy = code_snapshot.take(tmp_path / "code", tree)
    assert (copy / "janus" / "conf" / "a.yaml").read_text() == "a: 1\n"
    assert code_snapshot.take(tmp_path / "code", tree) == copy
    assert os.listdir(tmp_path / "code") == [copy.name]
    code_snapshot.verify_snapshot(copy)


def test_a_changed_tree_gets_another_name(tree, tmp_path):
    before = code_snapshot.take(tmp_path / "code", tree)
    (tree / "sweeps" / "__init__.py").write_text("NAME = 'other'\n")
    assert code_snapshot.take(tmp_path / "code", tree) != before


def test_a_copy_that_was_edited_is_refused(tree, tmp_path):
    copy = code_snapshot.take(tmp_path / "code", tree)
    path = copy / "janus" / "__init__.py"
    path.chmod(0o644)
    path.write_text("NAME = 'edited'\n")
    with pytest.raises(ClusterError, match="submit again"):
        code_snapshot.verify_snapshot(copy)


def test_the_diff_against_the_commit_is_kept(tree, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tree, *identity, *words], check=True, capture_output=True)

    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    (tree / "janus" / "__init__.py").write_text("NAME = 'changed'\n")
    copy = code_snapshot.take(tmp_path / "code", tree)
    record = json.loads((copy / code_snapshot.RECORD).read_text())
    assert record["git"]["dirty"] and len(record["git"]["sha"]) == 40
    assert "+NAME = 'changed'" in (copy / code_snapshot.DIFF).read_text()


def test_python_imports_the_copy_and_not_the_folder_it_starts_in(tree, tmp_path):
    copy = code_snapshot.take(tmp_path / "code", tree)
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}
    code = "import janus; print(janus.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(copy / "janus" / "__init__.py")


def test_code_that_is_not_imported_from_the_copy_is_refused(tree, tmp_path):
    code_snapshot.check_imports(code_snapshot.ROOT)
    copy = code_snapshot.take(tmp_path / "code", tree)
    with pytest.raises(ClusterError, match="not from the code that was submitted"):
        code_snapshot.check_imports(copy)


def test_a_task_that_runs_other_code_trains_nothing_and_fails(tree, tmp_path):
    code = code_snapshot.take(tmp_path / "cluster" / "code", tree)
    more = {"code": code.name, "cluster": "slurm", "command": "submit", "mode": "array"}
    made = create_submission(Store(tmp_path), "tiny", [], {}, load_profile("default"), more)
    words = (
        f"from cluster.node.slurm_task import SlurmTask; SlurmTask({str(made.folder)!r}, 0, 1)()"
    )
    env = {**os.environ, "PYTHONPATH": str(code_snapshot.ROOT)}
    done = subprocess.run([sys.executable, "-c", words], env=env, capture_output=True, text=True)
    assert done.returncode == 4 and "Traceback" not in done.stderr
    told = [e for e in read_events(made.events.glob("*")) if e["event"] == "check"]
    assert "not from the code that was submitted" in told[0]["lines"][0]
