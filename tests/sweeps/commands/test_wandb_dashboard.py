"""The dashboard: what it asks for when it cannot be made, and what it shows when it can."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from janus import atomic_files
from janus.errors import ConfigError
from janus.store.store import Store
from sweeps.commands.wandb_dashboard import dashboard, violation_keys, workspace
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def planned(store: Store) -> list[dict[str, str]]:
    rows = plan(load_sweep("smoke", ["methods=[janus]", "orders=2"]).sweep).entries
    write_list(store, "smoke", "", rows)
    return [{"id": p.cell.id} for p in rows]


def put(store: Store, cell_id: str, blocks: int) -> None:
    """A result whose last task has violations for that many blocks."""
    last = {"task": 1, "violation_past": {"k": [0.1] * blocks, "v": [0.2] * blocks}}
    record = {"id": cell_id, "diagnostics": [{"task": 0}, last]}
    atomic_files.create_once(store.result_path(cell_id), atomic_files.json_writer(record))


def test_without_a_key_or_the_package_it_says_what_to_do(
    store: Store, planned: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = load_sweep("smoke", [f"store={store.root}"])
    with pytest.raises(ConfigError, match="wandb login"):
        dashboard(request, "")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ConfigError, match="pip install wandb-workspaces"):
        dashboard(request, "")


def test_blocks_and_targets_are_those_of_the_finished_runs(
    store: Store, planned: list[dict[str, str]]
) -> None:
    assert violation_keys(store, planned) == {}
    put(store, planned[0]["id"], 2)
    put(store, planned[1]["id"], 3)
    (keys,) = violation_keys(store, planned).values()
    assert keys[0] == [f"diagnostics/violation_past/k/0{block}" for block in range(3)]
    assert [len(target) for target in keys] == [3, 3]


def test_the_workspace_shows_curves_with_bands_transfer_and_violations_by_block() -> None:
    pytest.importorskip("wandb_workspaces")
    keys = {"violation_past": [[f"diagnostics/violation_past/k/0{b}" for b in range(3)]]}
    made = workspace("smoke", keys, "me")._to_model()
    spec = json.loads(made.spec.model_dump_json(by_alias=True, exclude_none=True))
    sections = spec["section"]["panelBankConfig"]["sections"]
    panels = {panel["config"].get("chartTitle"): panel for s in sections for panel in s["panels"]}
    curve = panels["accuracy over the tasks so far"]["config"]
    assert (curve["xAxis"], curve["groupBy"]) == ("task", "row.value")
    assert (curve["groupAgg"], curve["groupArea"]) == ("mean", "minmax")
    scatter = panels["BWT against ACC"]["config"]
    assert (scatter["xAxis"], scatter["yAxis"]) == ("summary:accuracy", "summary:bwt")
    for block in range(3):
        assert f"violation_past/k/0{block}" in panels
    assert (
        panels["violation on past inputs, k, by block"]["config"]["metrics"]
        == keys["violation_past"][0]
    )


def test_made_again_the_same_workspace_is_brought_up_to_date(
    store: Store,
    planned: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    saved: list[object] = []

    def save(self: object) -> object:
        saved.append(self)
        self._internal_name = self._internal_name or "nw-abc-v"  # type: ignore[attr-defined]
        return self

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_ENTITY", "me")
    monkeypatch.setattr(workspaces.Workspace, "save", save)
    monkeypatch.setattr(
        workspaces.Workspace, "url", property(lambda self: f"https://w/{self._internal_name}")
    )
    monkeypatch.setattr(workspaces.Workspace, "from_url", lambda url: saved[0])
    request = load_sweep("smoke", [f"store={store.root}"])
    assert dashboard(request, "") == 0
    put(store, planned[0]["id"], 2)
    assert dashboard(request, "") == 0
    assert saved[1] is saved[0]
    assert any("Null space" in section.name for section in saved[0].sections)  # type: ignore[attr-defined]
    first, second = capsys.readouterr().out.split()
    assert first == second
