"""The notebooks: pairs in step, no outputs kept, and every cell runs on real runs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "analysis" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def cells(path: Path) -> list[tuple[str, str]]:
    import jupytext  # takes 0.7 s

    return [(cell.cell_type, cell.source.strip()) for cell in jupytext.read(path).cells]


def test_there_are_three():
    assert [name[0] for name in NAMES] == ["1", "2", "3"]


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_is_in_step(name):
    """Mend with: jupytext --to ipynb analysis/notebooks/NAME.py"""
    assert cells(FOLDER / f"{name}.py") == cells(FOLDER / f"{name}.ipynb")


@pytest.mark.parametrize("name", NAMES)
def test_no_outputs_are_kept(name):
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def real_store(tmp_path_factory) -> Path:
    """`JANUS_STORE` where it is set (a real sweep), else a few small cells trained now."""
    if os.environ.get("JANUS_STORE"):
        return Path(os.environ["JANUS_STORE"]).resolve()
    from janus.store.store import Store
    from janus.training.loop import run_cell
    from tests.conftest import toy_cell

    root = tmp_path_factory.mktemp("real")
    for method in ("seqlora", "inflora", "janus"):
        for order in ("0", "1"):
            run_cell(toy_cell(method, order=order), Store(root))
    return root


@pytest.fixture(scope="module")
def wandb_folder(real_store, tmp_path_factory) -> Path:
    from tests.analysis.runs.test_from_wandb import track

    folder = tmp_path_factory.mktemp("wandb")
    for path in sorted(real_store.glob("results/*/*.json"))[:2]:
        track(folder, path, rows=10**6)
    return folder


@pytest.mark.notebook
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs_on_real_runs(name, real_store, wandb_folder, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("JANUS_STORE", str(real_store))
    monkeypatch.setenv("JANUS_WANDB", str(wandb_folder))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    text = " ".join(o.get("text", "") for o in outputs)
    if name.startswith("1"):
        assert "2 tracked runs; disagreements: none" in text
