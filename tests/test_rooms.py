"""Which room may import what, read from the source: see docs/index.md for the picture.

`LEVELS` lists the rooms of each package from the bottom up. A module imports from its own room and
from rooms below it; what lies directly in the package stands at the level of its own name.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = {
    "janus": (
        "errors keyed_random atomic_files safe_names one_line metrics weight_header plugins",
        "config",
        "store",
        "machine",
        "weights",
        "data",
        "nn",
        "algorithms",
        "methods",
        "evaluation",
        "tracking",
        "training",
        "__main__ weights.__main__ data.__main__ command",
    ),
    "sweeps": (
        "spec",
        "execution.attempt",
        "estimate",
        "execution",
        "show",
        "search",
        "commands",
        "command_line",
        "__main__",
    ),
    "cluster": ("scheduler", "record", "node", "launchers", "sweep_status", "commands", "__main__"),
    "analysis": (
        "runs stats",
        "tables",
        "published",
        "blocks selection",
        "formats figures",
        "pages",
        "compare report paper claims notebooks",
    ),
}
FORBIDDEN = {
    "janus": {"ray", "submitit", "sweeps", "cluster", "analysis"},
    "analysis": {"torch", "timm", "ray", "hydra", "submitit", "sweeps", "cluster"},
    "sweeps": {"submitit", "cluster", "analysis"},
    "cluster": {"analysis"},
}
ONLY_IN = {
    "hydra": ("janus/config/overrides.py", "sweeps/spec/"),
    "wandb": ("janus/tracking/wandb_process.py", "sweeps/commands/wandb_dashboard.py", "analysis/"),
    "wandb_workspaces": ("sweeps/commands/wandb_dashboard.py",),
    "ray": ("sweeps/execution/", "sweeps/search/ray_configurations.py", "cluster/node/"),
    "optuna": ("sweeps/search/samplers.py",),
}


def modules() -> dict[str, Path]:
    """Every module of the four packages by its dotted name."""
    found = {}
    for package in LEVELS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed once."""
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The modules that a file imports anywhere, each by its full name."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append(full if full in MODULES else node.module)
    return tuple(found)


def level(name: str) -> int | None:
    """The place of a module in its package's LEVELS; None for the package itself."""
    package, _, rest = name.partition(".")
    ranks = {room: i for i, rooms in enumerate(LEVELS[package]) for room in rooms.split()}
    while rest:
        if rest in ranks:
            return ranks[rest]
        rest = rest.rpartition(".")[0]
    return None


def test_every_room_imports_from_rooms_below_it_only() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        for other in imported(MODULES[name])
        if "." in name  # `janus/__init__` is the public interface: it names what rooms offer
        and other in MODULES
        and name.split(".")[0] == other.split(".")[0]
        and (low := level(other)) is not None
        and low > (level(name) or 0)
    ]
    unplaced = [name for name in MODULES if level(name) is None and "." in name]
    assert not wrong + unplaced


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nor for types alone: who reads one of them would have to know the others."""
    graph = {
        name: {other for other in imported(path) if other in MODULES}
        for name, path in MODULES.items()
        if path.name != "__init__.py"  # these only hand names on
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_packages_keep_to_their_libraries() -> None:
    wrong = []
    for name, path in MODULES.items():
        place, used = str(path.relative_to(ROOT)), {m.split(".")[0] for m in imported(path)}
        wrong += [f"{place} imports {x}" for x in used & FORBIDDEN[name.split(".")[0]]]
        for package, places in ONLY_IN.items():
            if package in used and not place.startswith(places):
                wrong.append(f"{place} imports {package}")
    assert not wrong


ENTRY_POINTS = {"main", "run_command"}
"""Functions that every command-line program defines."""


def test_a_public_name_means_one_thing() -> None:
    """A class or function name is defined once, so that searching for it finds its meaning."""
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    shared = {n: found for n, found in places.items() if len(found) > 1 and n not in ENTRY_POINTS}
    assert not shared


def test_tests_and_benchmarks_import_each_other_nowhere() -> None:
    """What both need lies in tests/helpers."""
    wrong = []
    for path in (ROOT / "tests").rglob("*.py"):
        place, used = path.relative_to(ROOT), sorted(imported(path))
        if "perf" in place.parts:
            bad = [m for m in used if m.startswith("tests.") and ".test_" in m]
        else:
            bad = [m for m in used if m.startswith("tests.perf")]
        wrong += [f"{place} imports {m}" for m in bad]
    assert not wrong


def test_programs_in_strings_and_pages_import_what_exists() -> None:
    """In programs of other processes, documents and notebooks, which ruff and mypy do not read."""
    statement = re.compile(
        r"\b(?:from ((?:janus|sweeps|cluster|analysis|tests)[\w.]*) import (\w+(?:, \w+)*)"
        r"|import ((?:janus|sweeps|cluster|analysis)\.[\w.]+))"
    )
    texts = [
        (path, node.value)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("analysis/notebooks/*")]
    texts += [(page, page.read_text(encoding="utf-8")) for page in pages]
    wrong = [
        f"{path.relative_to(ROOT)}: {module or plain} {name}"
        for path, text in texts
        for module, names, plain in statement.findall(text)
        for name in names.split(", ")
        if not defined(module or plain, name)
    ]
    assert len(texts) > 1000 and not wrong


def defined(module: str, name: str) -> bool:
    """Whether a module exists and, where a name is given, binds it or has such a submodule."""
    place = ROOT / module.replace(".", "/")
    files = [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()]
    below = [place / f"{name}.py", place / name / "__init__.py"]
    if not name or any(path.is_file() for path in below):
        return bool(files) or place.is_dir()
    return any(name in bound(file) for file in files)


@cache
def bound(path: Path) -> set[str]:
    """The names that a module binds: its definitions, assignments, imports and lazy exports."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return found


def test_planning_imports_no_torch() -> None:
    needed = (
        "janus.config.compose, janus.store.store, janus.metrics, janus.weights.resolve, "
        "janus.__main__"
    )
    code = f"import sys, {needed}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.slow
def test_the_loop_is_imported_without_timm() -> None:
    """A worker imports it before its first cell comes; timm would keep it waiting."""
    code = "import sys, janus.training.loop; sys.exit('timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
