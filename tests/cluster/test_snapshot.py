"""The copy of the code: named by content, whole or absent, and never silently changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cluster import snapshot
from janus.errors import ClusterError


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for room in snapshot.ROOMS:
        (root / room / "conf").mkdir(parents=True)
        (root / room / "__init__.py").write_text(f"NAME = {room!r}\n")
        (root / room / "conf" / "a.yaml").write_text("a: 1\n")
    return root


def test_the_copy_holds_code_and_settings_and_is_found_again(tree, tmp_path):
    copy = snapshot.take(tmp_path / "code", tree)
    assert (copy / "janus" / "conf" / "a.yaml").read_text() == "a: 1\n"
    assert snapshot.take(tmp_path / "code", tree) == copy
    assert os.listdir(tmp_path / "code") == [copy.name]
    snapshot.verify(copy)


def test_a_changed_tree_gets_another_name(tree, tmp_path):
    before = snapshot.take(tmp_path / "code", tree)
    (tree / "sweeps" / "__init__.py").write_text("NAME = 'other'\n")
    assert snapshot.take(tmp_path / "code", tree) != before


def test_a_copy_that_was_edited_is_refused(tree, tmp_path):
    copy = snapshot.take(tmp_path / "code", tree)
    path = copy / "janus" / "__init__.py"
    path.chmod(0o644)
    path.write_text("NAME = 'edited'\n")
    with pytest.raises(ClusterError, match="submit again"):
        snapshot.verify(copy)


def test_the_diff_against_the_commit_is_kept(tree, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tree, *identity, *words], check=True, capture_output=True)

    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    (tree / "janus" / "__init__.py").write_text("NAME = 'changed'\n")
    copy = snapshot.take(tmp_path / "code", tree)
    record = json.loads((copy / snapshot.RECORD).read_text())
    assert record["git"]["dirty"] and len(record["git"]["sha"]) == 40
    assert "+NAME = 'changed'" in (copy / snapshot.DIFF).read_text()


def test_python_imports_the_copy_and_not_the_folder_it_starts_in(tree, tmp_path):
    copy = snapshot.take(tmp_path / "code", tree)
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}
    code = "import janus; print(janus.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(copy / "janus" / "__init__.py")
