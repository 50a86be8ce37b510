"""`dashboard`: a saved workspace at Weights & Biases that shows one sweep, row against row.

Accuracy after each task with the range over orders and seeds, BWT against ACC, and how far the
updates reach into the subspace of past inputs, block by block. Made through the public API
(`wandb-workspaces`, an extra package); made again, the same workspace is brought up to date.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from janus import atomic_files
from janus.errors import ConfigError
from janus.store.store import Store
from janus.tracking.wandb_account import has_key, mode, project
from sweeps.show.console import print_line
from sweeps.spec.cell_list import read_list
from sweeps.spec.sweep_file import SweepRequest

CURVES = {
    "accuracy": "accuracy over the tasks so far",
    "accuracy_in_task": "the same with the task given",
    "bwt": "BWT so far",
    "forgetting": "forgetting so far",
    "learning_acc": "accuracy right after learning, mean so far",
    "train/loss": "training loss",
}
"""Histories to draw over the tasks, with their titles."""

VIOLATIONS = {
    "violation_past": "violation on past inputs",
    "violation_span": "violation against span(V)",
}
"""Diagnostics to draw by block."""


def dashboard(request: SweepRequest, command: str) -> int:
    """The action: make the workspace, or bring it up to date, and say where it is."""
    store = Store(request.store)
    record = read_list(store, request.sweep.name, command)
    if not has_key() or mode() != "online":
        raise ConfigError(
            "a dashboard is made at W&B, and there is no key here: run `wandb login`, or set "
            "WANDB_API_KEY (and WANDB_MODE=online if it is set)"
        )
    try:
        import wandb_workspaces.workspaces as workspaces
    except ModuleNotFoundError:
        raise ConfigError(
            "a dashboard needs one more package: pip install wandb-workspaces"
        ) from None
    kept = store.root / "dashboards" / f"{record['name']}.json"
    known = atomic_files.read_record(kept).get("url")
    made = workspace(record["name"], violation_keys(store, record["cells"]), _entity())
    if isinstance(known, str):
        before = workspaces.Workspace.from_url(known)
        before.sections, before.settings = made.sections, made.settings
        before.runset_settings = made.runset_settings
        made = before
    made.save()
    atomic_files.replace(kept, atomic_files.json_writer({"url": made.url}))
    print_line(made.url)
    return 0


def _entity() -> str:
    """WANDB_ENTITY, or the account's own."""
    if named := os.environ.get("WANDB_ENTITY"):
        return named
    import wandb

    return str(wandb.Api().default_entity)


def violation_keys(store: Store, cells: Iterable[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """{diagnostic: [[keys of one target, by block], ...]} as the sweep's finished runs have them.

    The first run that tells more blocks or targets than those before it decides.
    """
    found: dict[str, list[list[str]]] = {}
    for cell in cells:
        result = store.result(cell["id"]) or {}
        last = (result.get("diagnostics") or [{}])[-1]
        for name in VIOLATIONS:
            keys = [
                [f"diagnostics/{name}/{target}/{block:02d}" for block in range(len(values))]
                for target, values in (last.get(name) or {}).items()
            ]
            if sum(map(len, keys)) > sum(map(len, found.get(name, []))):
                found[name] = keys
    return found


def workspace(sweep: str, violations: Mapping[str, list[list[str]]], entity: str) -> Any:
    """The workspace of a sweep, not saved."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    runs = ws.RunsetSettings(
        filters=[expr.Metric("Group") == sweep],
        groupby=[expr.Config("row")],
        pinned_columns=["summary:accuracy", "summary:bwt", "config:order", "config:seed"],
    )
    return ws.Workspace(
        entity=entity,
        project=project(),
        name=f"Janus: {sweep}",
        sections=_sections(violations),
        settings=ws.WorkspaceSettings(x_axis="task", max_runs=100),
        runset_settings=runs,
    )


def _sections(violations: Mapping[str, list[list[str]]]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    found = [
        ws.Section("Row against row", panels=[_curve(*c) for c in CURVES.items()], is_open=True),
        ws.Section(
            "Stability against plasticity",
            panels=[
                wr.ScatterPlot(
                    title="BWT against ACC",
                    x=wr.SummaryMetric("accuracy"),
                    y=wr.SummaryMetric("bwt"),
                ),
                wr.ScatterPlot(
                    title="learning accuracy against forgetting",
                    x=wr.SummaryMetric("forgetting"),
                    y=wr.SummaryMetric("learning_acc"),
                ),
            ],
            is_open=True,
        ),
    ]
    for name, targets in violations.items():
        panels = [_bars(VIOLATIONS[name], keys) for keys in targets]
        panels += [
            _curve(key, key.removeprefix("diagnostics/")) for keys in targets for key in keys
        ]
        found.append(ws.Section(f"Null space: {VIOLATIONS[name]}", panels=panels, is_open=True))
    matrix = wr.MediaBrowser(media_keys=["accuracy_heat_map"], num_columns=3)
    return [*found, ws.Section("Accuracy matrices", panels=[matrix])]


def _curve(key: str, title: str) -> Any:
    """One key over the tasks: a line a row, and a band from its least to its greatest run."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x="train/position" if key.startswith("train/") else "task",
        y=[key],
        groupby=wr.Config("row"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        aggregate=True,
        max_runs_to_show=100,
    )


def _bars(title: str, keys: list[str]) -> Any:
    """The blocks of one target side by side, after the last task."""
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(
        title=f"{title}, {keys[0].split('/')[-2]}, by block",
        metrics=keys,
        orientation="v",
        groupby=wr.Config("row"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        aggregate=True,
    )
