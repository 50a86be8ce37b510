"""What the documents say must hold: links, commands, and the example method."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOY

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_test_a_page_names_exists(page):
    for target in re.findall(r"`((?:tests|janus|sweeps|analysis)/[\w/.-]+)`", page.read_text()):
        assert "half_lora" in target or (ROOT / target).exists(), f"{page.name}: {target}"


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text()))
    assert used <= targets


@pytest.mark.slow
def test_the_example_method_works_as_the_page_says(tmp_path):
    """One file and one YAML in a copy of the package, nothing else."""
    text = (ROOT / "docs/add-a-method.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    settings = re.search(r"```yaml\n(.*?)```", text, re.S).group(1)
    shutil.copytree(ROOT / "janus", tmp_path / "janus")
    (tmp_path / "janus/methods/half_lora.py").write_text(code)
    (tmp_path / "janus/conf/method/half_lora.yaml").write_text(settings)
    words = [f"{k}={v}" for k, v in TOY.items()]
    done = subprocess.run(
        [sys.executable, "-m", "janus", "method=half_lora", "method.decay=0.7", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs/results").glob("*/*.json"))) == 1
