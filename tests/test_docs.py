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
import yaml

from analysis.published.read_csv import published_figures
from janus.config.cell import CORE_REVISION
from janus.config.method_spec import method_spec
from janus.plugins import OUR_NAMES
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.conftest import TOY

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = ("half_lora", "my_")
"""Names of files that a page tells the reader to make."""
ELSEWHERE = {
    *("janus.sweeps", "janus.cluster", "janus.analysis", "janus.analysis.compare"),
    *(f"janus.{kind}s" for kind in OUR_NAMES),
    *("janus.methods", "janus.benches", "janus.backbones", "janus.metrics"),
    *("janus.figures", "janus.columns"),
}
"""Dotted names that are no modules of a checkout: folders of the wheel, groups of entry points."""
NOT_OURS = ("pytest", "pip", "venv", "build", "http.server", "json.tool", "timeit")
"""Modules that a page runs and that are not of this project."""


def anchors(text: str) -> set[str]:
    """What `page.md#...` may name: its headings, as GitHub writes them."""
    titles = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in target or "mailto:" in target:
            continue
        there = page.parent / name if name else page
        known = anchors(there.read_text()) if anchor and there.suffix == ".md" else {anchor}
        if not there.exists() or anchor not in known:
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_file_and_module_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    files = re.findall(
        # no patterns with a star, and no paths of a store, which hold a <name>
        r"(?<![\w/.])((?:tests|janus|sweeps|analysis|cluster|docs|examples)/[\w/.-]*\w)(?![\w*]|/<)",
        text,
    )
    modules = re.findall(r"python3? -m ([\w.]+)", text)
    modules += re.findall(r"`((?:janus|sweeps|cluster|analysis|tests|docs)\.[a-z_.]+)`", text)
    modules += re.findall(r"^(?:from|import) ((?:janus|sweeps|analysis|tests)\.[\w.]+)", text, re.M)
    wrong = [f for f in files if not (ROOT / f).exists()]
    wrong += [
        m
        for m in modules
        if m.partition(".")[0] not in NOT_OURS and m not in ELSEWHERE and not is_module(m)
    ]
    assert [name for name in wrong if not any(word in name for word in EXAMPLE)] == []


def is_module(name: str) -> bool:
    """Whether a file or folder of ours has this dotted name, or defines its last part."""
    path = ROOT / name.rstrip(".").replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module, last = path.parent.with_suffix(".py"), path.name
    return module.is_file() and re.search(rf"^(?:def |class )?{last}\b", module.read_text(), re.M)


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    linked = {(ROOT / "docs" / t).resolve() for t in re.findall(r"\]\(([^)#]+)", index)}
    pages = {page for page in PAGES if page.name not in ("index.md", "README.md")}
    assert sorted(page.name for page in pages - linked) == []
    assert "docs/index.md" in (ROOT / "README.md").read_text()


def test_the_citation_has_what_its_format_asks_for() -> None:
    record = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert record["cff-version"] == "1.2.0"
    assert record["message"] and record["title"] and record["authors"]
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version and record["version"] == version.group(1)
    for work in [record, *record["references"]]:
        assert {"title", "authors", "type"} <= work.keys()
        assert all({"name"} == person.keys() for person in work["authors"])


def test_hooks_before_a_commit_run_what_is_installed() -> None:
    """Local hooks alone: others would be downloaded."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system" and hook["id"] and hook["name"]
        assert hook["entry"].split()[0] in (".venv/bin/ruff", ".venv/bin/mypy")
        assert (ROOT / hook["entry"].split()[0]).is_file() or not (ROOT / ".venv").exists()


def test_the_changelog_says_what_each_core_revision_changed() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    named = re.findall(r"^\| (\d+) \|", changelog.partition("## Core revisions")[2], re.M)
    assert named == [str(number) for number in range(CORE_REVISION, 0, -1)]


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text()))
    assert used <= targets


def test_what_the_readme_says_of_make_sweep_is_what_it_plans():
    text = " ".join((ROOT / "README.md").read_text().split())
    sweep = load_sweep("smoke", []).sweep
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
