"""Which room may import what, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "janus": {"ray", "submitit", "sweeps", "cluster", "analysis"},
    "analysis": {"torch", "timm", "ray", "hydra", "submitit", "sweeps", "cluster"},
    "sweeps": {"submitit", "cluster", "analysis"},
}
ONLY_IN = {
    "hydra": {"janus/overrides.py", "sweeps/"},
    "wandb": {"janus/wandb_process.py", "sweeps/dashboard.py", "analysis/"},
    "wandb_workspaces": {"sweeps/dashboard.py"},
    "ray": {*(f"sweeps/{n}.py" for n in ("ray_cluster", "trial", "tune", "lockstep")), "cluster/"},
    "optuna": {"sweeps/suggest.py"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def sources() -> list[Path]:
    rooms = ("janus", "sweeps", "cluster", "analysis")
    return [p for room in rooms for p in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_reaches_where_it_must_not(path):
    name = str(path.relative_to(ROOT))
    used = imports(path)
    assert not used & FORBIDDEN.get(name.split("/")[0], set())
    for package, places in ONLY_IN.items():
        if package in used:
            assert any(name.startswith(place) for place in places), f"{name} imports {package}"


@pytest.mark.parametrize(
    "module", ["janus.compose", "janus.store", "janus.metrics", "janus.weights", "janus.__main__"]
)
def test_planning_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_loop_is_imported_without_timm():
    """A worker imports it before its first cell comes; timm would keep it waiting."""
    code = "import sys, janus.run; sys.exit('timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
