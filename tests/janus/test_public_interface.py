"""`import janus` is light, and offers what its docstring and its type stub part name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import janus

ROOT = Path(janus.__file__).resolve().parent


def test_import_janus_imports_neither_torch_nor_any_of_our_modules():
    code = (
        "import sys, janus; print(*sorted(m for m in sys.modules if m.startswith('janus.') "
        "or m in ('torch', 'timm', 'numpy', 'yaml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_public_name_is_found_typed_and_documented():
    """Three lists say the same: where names are found, what type checkers see, what is offered."""
    offered = set(janus.__all__) - {"__version__"}
    tree = ast.parse((ROOT / "__init__.py").read_text())
    typed = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == janus._PLACES and offered == set(typed)
    documented = set(re.findall(r"\w+", janus.__doc__ or ""))
    assert offered <= documented
    for name in offered:
        assert callable(getattr(janus, name))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'janus' has no attribute 'run_cel'"):
        _ = janus.run_cel  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_example_of_the_docstring_trains_a_cell(tmp_path, monkeypatch, capsys):
    example = re.findall(r"^    ((?:import|cell|result|print).*)$", janus.__doc__ or "", re.M)
    small = '"backbone": "toy", "bench.tasks": 2, "train.epochs": 1, '
    code = "\n".join(example).replace('{"method"', f'{{{small}"method"')
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert 0 <= float(capsys.readouterr().out) <= 1
