"""What the documents say must hold: links, commands, and the example method."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.published.read_csv import published_figures
from janus.config.method_spec import method_spec
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load
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


def test_what_the_readme_says_of_make_sweep_is_what_it_plans():
    text = " ".join((ROOT / "README.md").read_text().split())
    sweep = load("smoke", []).sweep
    bench = plan(sweep).cells[0].bench
    titles = {"seqlora": "SeqLoRA", "inflora": "InfLoRA", "janus": "Janus-LoRA"}
    methods = ", ".join(titles[name] for name in sweep.methods)
    assert f"{{{methods}}} x {len(sweep.pairs())} class orders on the bundled bench" in text
    assert f"`{bench.name}`, {bench.classes} classes of printed" in text
    assert f"in {bench.tasks} tasks" in text


def test_the_values_that_janus_lora_md_names_are_the_defaults_and_the_published_figures():
    text = " ".join((ROOT / "docs/janus-lora.md").read_text().split())
    own = {name: spec.default for name, spec in method_spec("janus").settings.items()}
    assert f"λ = {own['damping']:g}·tr(AAᵀ)/r by default (`method.damping`)" in text
    assert f"m = {own['margin']:g}, λ = {own['margin_weight']:g}." in text
    assert f"`subspace_energy` of the task's input energy ({own['subspace_energy']:g}" in text
    seen = {f.place: f.digits[0] for f in published_figures() if f.place.startswith("angular-w")}
    drop = f"{seen['angular-without-dml.png']} to {seen['angular-with-dml.png']}"
    assert f"lowers the mean cosine to the nearest old prototype from {drop} [seen]" in text


def test_lora_drs_is_published_twice_five_points_apart_as_its_choices_say():
    page = (ROOT / "docs/methods.md").read_text()
    assert "the Janus tables' row is 5 points below the published one" in page
    found = {
        figure.source: figure.mean
        for figure in published_figures()
        if (figure.method, figure.bench, figure.metric) == ("lora_drs", "cifar100", "acc")
        and figure.source in ("janus-lora", "libcontinual")
        and figure.kind in ("table", "quoted")
    }
    assert round(found["libcontinual"] - found["janus-lora"]) == 5


@pytest.mark.slow
def test_the_example_method_works_as_the_page_says(tmp_path):
    """Its files, its row and its commands in a copy; then the checks that every method passes."""
    text = (ROOT / "docs/add-a-method.md").read_text()
    for part in ("janus", "tests", "docs", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    files = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", text, re.S))
    assert len(files) == 3
    for name, content in files.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(content)
    row = re.search(r"`(Row\(.*?\),)`", text).group(1)
    zoo = tmp_path / "tests/janus/methods/zoo.py"
    zoo.write_text(zoo.read_text().replace("ROWS = [", f"ROWS = [\n    {row}"))
    commands = re.findall(r"^python (-m .*)$", text, re.M)
    assert len(commands) == 3
    toy = " ".join(f"{k}={v}" for k, v in {**TOY, "threads": 1}.items())
    for command in commands:
        inside(tmp_path, f"{command} {toy}" if "method=" in command else command)
    assert len(list((tmp_path / "runs/results").glob("*/*.json"))) == 1
    inside(
        tmp_path,
        "-m pytest -q tests/janus/config/test_help_text.py tests/janus/test_half_lora.py "
        "tests/janus/methods/test_methods.py tests/janus/test_golden.py "
        "tests/janus/config/test_needs.py -k 'describe or half_lora or guard'",
    )


def inside(folder: Path, words: str) -> None:
    """`python WORDS`, by a shell in `folder`, on the package that lies there."""
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} {words}",
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_test_that_the_security_page_names_exists():
    page = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    for file, function in named:
        assert f"def {function}(" in (ROOT / file).read_text(), f"{file}::{function}"
