"""train.clip and train.warmup against torch's own, and what the three training keys refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from janus import __main__ as command
from janus.config.method_spec import method_spec, spec_names
from janus.errors import ConfigError
from janus.methods.base.optimizer import TaskOptimizer
from janus.training.step import take_step
from tests.conftest import toy_cell
from tests.janus.methods.by_hand import leak, started, train
from tests.janus.methods.rates import rates, task

STEPS = 3
"""Steps of an epoch in `rates`."""


# ---- warm-up -----------------------------------------------------------------------------------
def chained(epochs: int, warm: int, make) -> list[float]:
    """Rates by torch's ChainedScheduler: LinearLR by steps, the schedule by epochs."""
    inner = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    linear = lr_scheduler.LinearLR(inner, start_factor=1 / (warm + 1), total_iters=warm)
    scheduler, seen = make(inner), []
    for step in range(epochs * STEPS):
        seen.append(inner.param_groups[0]["lr"])
        inner.step()
        linear.step()
        if (step + 1) % STEPS == 0:
            scheduler.step()
    return seen


def flat(found: list[list[float]]) -> list[float]:
    return [rate for epoch in found for rate in epoch]


SCHEDULES = {
    "constant": ({}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "cosine_half": ({}, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=6)),
    "drop": (
        {"method__milestones": "1+4"},
        lambda o: lr_scheduler.MultiStepLR(o, [1, 4], gamma=0.1),
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("warmup", "steps"), [(2, 6), (0.5, 2), (0.1, 1), (6, 18)])
def test_warm_up_is_torchs_linear_rise_times_the_schedule(schedule, warmup, steps):
    options, make = SCHEDULES[schedule]
    found = rates(6, method__schedule=schedule, train__epochs=6, train__warmup=warmup, **options)
    assert flat(found) == pytest.approx(chained(6, steps, make), abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "cosine_step", "cosine_half", "drop", "constant"])
@pytest.mark.parametrize("index", [0, 1])
def test_warm_up_scales_the_first_steps_of_each_task_and_leaves_the_rest(schedule, index):
    options = {"method__schedule": schedule, "method__first_rate": 0.5, "train__epochs": 4}
    plain = flat(rates(4, index, **options))
    warm = flat(rates(4, index, **options, train__warmup=1))
    assert warm[:STEPS] == pytest.approx([plain[k] * (k + 1) / 4 for k in range(STEPS)])
    assert warm[STEPS:] == plain[STEPS:]


def test_rectification_in_weight_space_warms_up_too():
    """There the method steps the adapters itself, by the optimiser's factor."""
    moved = []
    for warmup in (0.0, 1.0):
        options = {"method__precondition": "weight", "train__warmup": warmup}
        method, stream = started("janus", **options)
        method.begin_task(stream.tasks[0])
        take_step(method, next(stream.tasks[0].train_batches(0)))
        moved.append(torch.stack([x.b.detach() for x in method.layers]).norm())
    steps = stream.tasks[0].steps_per_epoch
    assert float(moved[1] / moved[0]) == pytest.approx(1 / (steps + 1), rel=1e-4)


# ---- clipping ----------------------------------------------------------------------------------
def step_with(clip: float | None, gradients: list[Tensor]) -> list[Tensor]:
    """Gradients as the inner optimiser gets them, of two groups."""
    where = task(1, train__clip=clip)
    weights = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    groups = [(weights[:1], 1.0), (weights[1:], 2.0)]
    optimizer = TaskOptimizer(groups, where.cell.method.values, where)
    seen: list[Tensor] = []
    optimizer.inner.step = lambda: seen.extend(w.grad.clone() for w in weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    optimizer.step()
    return seen


@pytest.mark.parametrize("clip", [0.1, 3.0, 1e6])
def test_all_groups_are_clipped_together_as_torch_does(clip):
    draw = torch.Generator().manual_seed(0)
    gradients = [torch.randn(4, 3, generator=draw), torch.randn(5, generator=draw)]
    weights = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(weights, clip)
    for found, weight in zip(step_with(clip, gradients), weights, strict=True):
        torch.testing.assert_close(found, weight.grad, rtol=1e-6, atol=0)
    assert all(map(torch.equal, step_with(None, gradients), gradients))


TRAINED = [n for n in spec_names("method") if method_spec(n).trains != "0"]
EXTRA = {
    "inflora_ca": {"method__align_samples": 16},
    "slca": {"method__align_samples": 16},
    "ranpac": {"method__projection": 100},
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in ("janus", "ease") else [pytest.mark.slow]) for n in TRAINED],
)
def test_no_method_steps_along_more_than_the_clipped_norm(name):
    method, stream = started(name, train__clip=1e-3, **EXTRA.get(name, {}))
    task = stream.tasks[0]
    method.begin_task(task)
    inner, norms = method.optimizer.inner, []
    weights = [p for group in inner.param_groups for p in group["params"]]
    plain = inner.step

    def step():
        found = [w.grad.norm() for w in weights if w.grad is not None]
        norms.append(float(torch.stack(found).norm()))
        plain()

    inner.step = step
    for batch in task.train_batches(0):
        take_step(method, batch)
    assert max(norms) == pytest.approx(1e-3, rel=1e-5)


@pytest.mark.parametrize("precondition", ["factors", "weight", "composite"])
def test_clipped_and_rectified_steps_stay_blind_to_past_inputs(precondition):
    method, stream = started(
        "janus", method__precondition=precondition, train__clip=0.1, method__lr=1e-3
    )
    for one in stream.tasks[:2]:
        train(method, one)
    assert method.bases[0].size > 0 and leak(method) < 1e-5


@pytest.mark.parametrize("precondition", ["weight", "composite"])
def test_in_weight_space_what_adam_takes_is_clipped(precondition):
    method, stream = started("janus", method__precondition=precondition, train__clip=1e-3)
    method.begin_task(stream.tasks[0])
    dense, sizes = method.rectifier.dense, []
    plain = dense.direction
    dense.direction = lambda g: (sizes.append(float(g.norm())), plain(g))[1]
    for batch in stream.tasks[0].train_batches(0):
        take_step(method, batch)
    assert 0 < max(sizes) <= 1e-3 * (1 + 1e-5)


# ---- what is refused ---------------------------------------------------------------------------
REFUSED = {
    "train.accumulate=0": "train.accumulate must be >= 1, got 0",
    "train.accumulate=200": "more parts than a batch has images; choose at most train.batch_size=",
    "train.accumulate=1.5": "train.accumulate must be an integer",
    "train.clip=0": "train.clip must be above 0",
    "train.clip=-1": "train.clip must be above 0",
    "train.warmup=-1": "train.warmup must be between 0 and the",
    "train.warmup=99": "epochs of the shortest task, got 99",
    "train.warmup=five": "train.warmup must be a number",
    "train.acumulate=2": "Did you mean 'train.accumulate'",
    "train.grad_clip=2": "train.clip",
    "train.warm_up=2": "Did you mean 'train.warmup'",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(word, capsys):
    assert command.run_command(["--dry", word]) == 2
    found = capsys.readouterr()
    said = (found.out + found.err).strip()
    assert REFUSED[word] in said and "Traceback" not in said and len(said.splitlines()) == 1


def test_a_short_first_task_bounds_the_warm_up():
    with pytest.raises(ConfigError, match="the 1 epochs of the shortest task"):
        toy_cell(train__first_epochs=1, train__epochs=5, train__warmup=2)


def test_neutral_values_leave_ids_as_they_were_and_others_change_them():
    plain = toy_cell().id
    assert toy_cell(train__accumulate=1, train__clip=None, train__warmup=0).id == plain
    changed = [{"train__accumulate": 2}, {"train__clip": 1}, {"train__warmup": 1}]
    assert len({toy_cell(**one).id for one in changed} | {plain}) == 4
