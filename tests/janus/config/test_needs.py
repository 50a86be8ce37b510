"""Settings are offered only where they are read: what nothing reads makes no new cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from janus.config.cell import Cell
from janus.config.compose import unused_overrides
from janus.config.method_spec import Setting, method_spec, read_spec
from janus.data import load_bench as benches
from janus.data.stream import cut, joined
from janus.errors import ConfigError
from janus.methods import make_method
from janus.methods.base.method import Context
from janus.nn.vit import build_backbone
from janus.training.checkpoint import flatten
from tests.conftest import toy_cell
from tests.janus.methods import zoo

CPU = torch.device("cpu")
ALL_OFF = {"method__estimate": False, "method__rectify": False, "method__margin_loss": False}


class Watched(Mapping[str, Any]):
    """Settings that know which of them were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values_, self.read = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.values_[name]

    def __contains__(self, name: object) -> bool:
        return name in self.values_

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def trained(cell: Cell, values: Mapping[str, Any]):
    """A method after three tasks with values that need not be what `compose` made of them."""
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    cell = replace(cell, method=replace(cell.method, values=values))
    method = make_method(Context(cell, build_backbone(cell.backbone, CPU), CPU))
    for task in (joined(stream),) if method.joint else stream.tasks[:3]:
        method.begin_task(task)
        for epoch in range(method.epochs(task)):
            for batch in task.train_batches(epoch):
                sum(method.loss(batch).values()).backward()
                method.update()
        method.end_task(task)
    method.predict(next(stream.tasks[0].plain_batches()).images)
    return method


def idle(cell: Cell) -> set[str]:
    """Settings that its method declares to be unread."""
    spec = method_spec(cell.method.name)
    return {name for name in spec.settings if spec.inactive_because(name, cell.method.values)}


@zoo.each()
def test_every_setting_that_is_offered_is_read(row):
    cell = toy_cell(row.method, **{"train__epochs": 1, **row.options})
    watched = Watched(cell.method.values)
    trained(cell, watched)
    settings = method_spec(row.method).settings
    fixed = {name for name, setting in settings.items() if len(setting.choices or ()) == 1}
    assert set(settings) - fixed - idle(cell) - watched.read == set()


def another(setting: Setting) -> Any:
    """A valid value that is not the default."""
    if setting.choices is not None:
        return next(choice for choice in setting.choices if choice != setting.default)
    if setting.epochs:
        return "1"
    if isinstance(setting.default, bool):
        return not setting.default
    if isinstance(setting.default, int):
        return setting.default + 1
    assert isinstance(setting.default, float)
    return setting.default / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("seqlora", {}),
        ("janus", ALL_OFF),
        ("janus", {}),
        ("janus", {"method__estimator": "fd"}),
        ("janus", {"method__estimator": "gs"}),
        ("inflora", {}),
        ("lora_gpm", {}),
        ("lora_drs", {}),
        ("sd_lora", {}),
    ],
)
def test_what_is_declared_unread_changes_nothing(method, options):
    cell = toy_cell(method, train__epochs=1, **options)
    settings = method_spec(method).settings
    changed = {name: settings[name].check(name, another(settings[name])) for name in idle(cell)}
    assert changed and all(cell.method.values[name] != value for name, value in changed.items())
    plain = trained(cell, cell.method.values)
    other = trained(cell, {**cell.method.values, **changed})
    ours, theirs = (flatten(m.state_dict())[0] for m in (plain, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_values_that_nothing_reads_make_no_new_cell_and_are_told():
    plain, sized = toy_cell(), toy_cell(method__sketch_size=8)
    assert sized.id == plain.id and sized.method.values["sketch_size"] == 64
    told = unused_overrides({"method.sketch_size": 8, "method.lr": 1.0, "seed": 1}, sized)
    assert told == ["method.sketch_size has no effect with method.estimator=cov"]
    sketched = {"method__estimator": "fd", "method__sketch_size": 8}
    assert toy_cell(**sketched).method.values["sketch_size"] == 8
    assert toy_cell(**sketched).id != toy_cell(method__estimator="fd").id
    # what is off is off with all that hangs on it
    assert toy_cell(method__estimate=False, **sketched).id == toy_cell(method__estimate=False).id


def test_a_caution_may_only_name_what_its_method_has(monkeypatch):
    def with_caution(group: str, name: str) -> dict[str, Any]:
        record = read_spec(group, name)
        if name == "seqlora":
            record["cautions"] = [{"when": {"lifetime": "carred"}, "text": "no"}]
        return record

    monkeypatch.setattr("janus.config.method_spec.read_spec", with_caution)
    with pytest.raises(ConfigError, match=r"cautions lifetime must be one of .*'carried'"):
        method_spec.__wrapped__("seqlora")


def test_a_setting_may_only_need_what_its_method_has(monkeypatch):
    """The nearest name is offered."""

    def with_needs(group: str, name: str) -> dict[str, Any]:
        record = read_spec(group, name)
        if name == "seqlora":
            record["settings"]["rank"] = {"needs": {"lifetme": "task"}}
        return record

    monkeypatch.setattr("janus.config.method_spec.read_spec", with_needs)
    with pytest.raises(ConfigError, match=r"rank: needs: no setting 'lifetme'.*'lifetime'"):
        method_spec.__wrapped__("seqlora")
