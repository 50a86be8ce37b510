"""What a wheel installs, and which packages it asks for."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("janus", "sweeps", "cluster", "analysis")
NAMED_OTHERWISE = {
    "hydra": "hydra-core",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "fontTools": "fonttools",
    "wandb_workspaces": "wandb-workspaces",
    "huggingface_hub": "huggingface-hub",
}
"""Distribution of a package, where its name is another."""

DEVELOPMENT = {"jupytext", "nbformat", "nbclient", "IPython"}
"""Imported by notebooks alone."""


def imported() -> set[str]:
    """The packages that are imported anywhere in the product, but our own and Python's."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - set(ROOMS) - sys.stdlib_module_names - DEVELOPMENT


def declared(*lists: list[str]) -> set[str]:
    """Names of distributions, without versions and extras."""
    names = (re.split(r"[\[<>=!~; ]", line)[0] for listed in lists for line in listed)
    return {name.lower().replace("_", "-") for name in names}


def test_what_is_imported_is_declared_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {NAMED_OTHERWISE.get(name, name) for name in imported()}
    extras = project["optional-dependencies"]
    always = declared(project["dependencies"])
    optional = declared(extras["hpo"], extras["dashboard"], extras["glyphs"])
    assert needed - always == optional
    assert always - needed == set()


@pytest.mark.slow
def test_an_installed_wheel_runs_beside_foreign_packages_of_our_rooms_names(tmp_path):
    tree, site, away = tmp_path / "tree", tmp_path / "site", tmp_path / "away"
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "-q", ".", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, *build], cwd=tree, check=True)
    (wheel,) = tmp_path.glob("janus_lora-*.whl")
    install = ["install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *install], check=True)
    tops = {p.name for p in site.iterdir() if not p.name.endswith(".dist-info")}
    assert tops == {"janus", "bin"}
    assert {p.name for p in (site / "bin").iterdir()} == {"janus"}
    assert (site / "janus" / "py.typed").is_file()

    foreign = "raise SystemExit('a foreign package was imported')\n"
    for room in ("sweeps", "cluster", "analysis"):
        (away / room).mkdir(parents=True)
        (away / room / "__init__.py").write_text(foreign)
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=away, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    small = ["methods=[seqlora]", "orders=1", "backbone=toy", "bench.train_per_class=2"]
    small += ["bench.test_per_class=2", "bench.tasks=2", "train.epochs=1", "store=runs"]
    assert "python -m janus.sweeps probe" in run("-m", "janus.sweeps", "plan", "smoke", *small)
    run("-m", "janus.sweeps", "run", "smoke", *small, "workers=1", "device=cpu")
    assert "seqlora" in run("-m", "janus.analysis.compare", "--store", "runs", "--sweep", "smoke")
    submit = ["-m", "janus.cluster", "submit", "smoke", *small, "seeds=2", "cluster=local"]
    run(*submit, "profile.device=cpu", "profile.tasks=1")
    (code,) = (away / "runs" / "cluster" / "code").iterdir()
    assert {p.name for p in code.iterdir() if p.is_dir()} == {"janus"}
    watch = run("-m", "janus.cluster", "watch", "smoke", "store=runs")
    assert "1 done" in watch
    assert "seqlora" in run("-m", "janus.command", "compare", "--sweep", "smoke")
    assert "0 failed, 0 open" in run("-m", "janus.command", "status", "smoke", *small)
