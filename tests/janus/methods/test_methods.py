"""Defining properties of each method, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from janus.algorithms.rectification import without
from janus.config.compose import cautions
from janus.config.method_spec import method_spec, spec_names
from janus.data import load_bench as benches
from janus.data.stream import cut, joined
from janus.errors import ConfigError, RunError
from janus.methods.inflora import designed_a
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.conftest import toy_cell
from tests.janus.methods import zoo
from tests.janus.methods.by_hand import CPU, leak, started, train

JANUS_LR = {"method__lr": 3e-3, "method__head_lr": 1e-2}


def test_default_janus_task_is_blind_to_past_inputs():
    method, stream = started("janus", **JANUS_LR)
    for task in stream.tasks[:3]:
        train(method, task)
    assert leak(method) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"method__optimizer": "sgd", "method__lr": 0.1},
        {"method__precondition": "weight", "method__lr": 1e-4},
        {"method__precondition": "composite", "method__lr": 1e-4},
        {"method__a_init": "random"},
        {"method__lifetime": "carried"},
        {"method__rectify": False},
        {"method__estimator": "fd"},
        {"method__estimator": "gs"},
        {"method__precondition": "weight", "method__a_init": "random", "method__lr": 1e-4},
    ],
)
def test_every_safe_variant_is_blind_to_past_inputs(options):
    method, stream = started("janus", **{**JANUS_LR, **options})
    for task in stream.tasks[:2]:
        train(method, task)
    assert method.bases[0].size > 0
    assert leak(method) < 1e-5


DEAD = {"method__a_init": "random", "method__rank": 2, "method__spectrum": "variance"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method__a_init": "projected"},
        {"method__constrained": False},
        {"method__lifetime": "carried"},
    ],
)
def test_a_random_start_under_the_constraint_trains_nothing_and_says_so(options):
    """Every row of A reads V, so that none may be used, and B stays 0; three ways out train it."""
    method, stream = started("janus", **{**JANUS_LR, **DEAD, **options})
    train(method, stream.tasks[0])
    assert min(basis.size for basis in method.bases) >= 2
    train(method, stream.tasks[1])
    moved = float(method.task_update().norm())
    dead = not options
    assert moved < 1e-5 if dead else moved > 1e-2
    assert bool(cautions(method.context.cell)) == dead


@pytest.mark.slow
def test_random_a_without_constraint_leaks():
    options = {"method__a_init": "random", "method__constrained": False}
    method, stream = started("janus", **JANUS_LR, **options)
    for task in stream.tasks[:2]:
        train(method, task)
    assert leak(method) > 1e-3


@pytest.mark.parametrize(
    "options", [{"method__estimator": "fd", "method__sketch_size": 8}, {"method__estimator": "gs"}]
)
def test_a_run_that_diverges_says_so_whatever_looks_at_its_inputs(options):
    """The collector meets the inputs before the loop looks at the loss."""
    method, stream = started("janus", method__lr=1e30, train__epochs=1, **options)
    method.begin_task(stream.tasks[0])
    method.collect_from = 0
    with pytest.raises(RunError, match="diverged") as error:
        for batch in stream.tasks[0].train_batches(0):
            sum(method.loss(batch).values()).backward()
            method.update()
    assert error.value.cause == "nan"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"method__estimator": "fd", "method__sketch_size": 8},
        {"method__estimator": "gs", "method__batch_share": 0.01},
    ],
)
def test_a_rough_estimate_leaves_room_to_learn(options):
    """Measured in sigma^2, the threshold is beyond what such a sketch can show to be held."""
    method, stream = started("janus", method__spectrum="variance", **options)
    for task in stream.tasks[:2]:
        train(method, task)
    assert 0 < max(b.size for b in method.bases) < 20
    assert 1e-3 < float(method.task_update().norm()) < 1


@pytest.mark.slow
def test_carried_adapter_is_constrained_and_still_learns():
    method, stream = started("janus", **JANUS_LR, method__lifetime="carried")
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    assert method.rectifier.row_filter is not None and not method.rectifier.leaks
    train(method, stream.tasks[1])
    assert float(method.task_update().norm()) > 1e-3


def test_designed_adapter_cannot_be_carried():
    with pytest.raises(ConfigError, match="lifetime must be one of task"):
        toy_cell("inflora", method__lifetime="carried")


def test_full_weight_adam_refuses_another_optimiser():
    with pytest.raises(ConfigError, match="precondition"):
        started("janus", method__precondition="weight", method__optimizer="sgd")


@pytest.mark.parametrize("tokens", [16, 32, 64])
def test_subsampled_tokens_cover_all_positions(tokens):
    """A stride that is a multiple of the token count would look at the CLS token alone."""
    method, stream = started("janus", method__estimate_tokens=tokens)
    method.begin_task(stream.tasks[0])
    seen = []
    method.collectors[0].update = lambda rows, v: seen.append(rows)
    positions = torch.arange(17.0).repeat(32)[:, None].expand(-1, 32)
    method._collect(0, positions)
    assert len(seen[0]) == tokens and len(seen[0][:, 0].unique()) >= min(tokens, 17) - 2


def test_products_from_factor_gradients_equal_the_full_gradient():
    """B^T D and D A^T without ever forming G, with random A (probe) and with projected A."""
    for a_init, constrained in (("random", False), ("projected", True)):
        method, stream = started(
            "janus", method__a_init=a_init, method__constrained=constrained, **JANUS_LR
        )
        train(method, stream.tasks[0])
        train(method, stream.tasks[1], steps=2)
        for layer in method.layers:
            layer.linear.weight.requires_grad_(True)
            layer.a.grad = layer.b.grad = layer.linear.weight.grad = None
        batch = next(iter(stream.tasks[1].train_batches(0)))
        sum(method.loss(batch).values()).backward()
        with torch.no_grad():
            d = without(method.rectifier.weight_gradient(), method.all_bases)
            a = torch.stack([x.a for x in method.layers])
            b = torch.stack([x.b for x in method.layers])
            bt_d, d_at = method.rectifier.factor_products()
        assert torch.allclose(bt_d, b.mT @ d, rtol=1e-3, atol=1e-5)
        assert torch.allclose(d_at, d @ a.mT, rtol=1e-3, atol=1e-5)


def test_no_full_gradient_unless_asked_for():
    method, stream = started("janus")
    train(method, stream.tasks[0], steps=2)
    assert all(x.linear.weight.grad is None for x in method.layers)
    assert not any(x.linear.weight.requires_grad for x in method.layers)


def test_margin_loss_starts_with_the_second_task():
    method, stream = started("janus")
    method.begin_task(stream.tasks[0])
    assert set(method.loss(next(iter(stream.tasks[0].train_batches(0))))) == {"ce"}
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    assert set(method.loss(next(iter(stream.tasks[1].train_batches(0))))) == {"ce", "dml"}


@pytest.mark.slow
def test_janus_with_everything_off_is_seqlora(tmp_path):
    off = {"method__estimate": False, "method__rectify": False, "method__margin_loss": False}
    ours = run_cell(toy_cell("janus", **off), Store(tmp_path), threads=1)
    fresh = {"method__lifetime": "task", "method__lr": ours["cell"]["method"]["values"]["lr"]}
    fresh["method__head_lr"] = ours["cell"]["method"]["values"]["head_lr"]
    plain = run_cell(toy_cell("seqlora", **fresh), Store(tmp_path), threads=1)
    assert ours["correct"] == plain["correct"]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "blind"), [("naive", False), ("both", False), ("exact", True)])
def test_lora_gpm_variants(variant, blind):
    method, stream = started("lora_gpm", method__variant=variant, **JANUS_LR)
    for task in stream.tasks[:2]:
        train(method, task)
    assert (leak(method) < 1e-5) is blind


def test_exact_gpm_cannot_be_asked_to_read_what_it_protects():
    """With a random start or a carried A and a free B, s B A V = 0 could not hold."""
    with pytest.raises(ConfigError, match="no setting 'a_init'"):
        toy_cell("lora_gpm", method__variant="exact", method__a_init="random")
    with pytest.raises(ConfigError, match=r"lifetime=task, or method\.rectify=true"):
        started("lora_gpm", method__variant="exact", method__lifetime="carried")


def test_inflora_trains_only_b_and_designs_a_outside_the_protected_space():
    method, stream = started("inflora", **JANUS_LR)
    train(method, stream.tasks[0])
    method.begin_task(stream.tasks[1])
    designed = [x.a.detach().clone() for x in method.layers]
    for layer, a in zip(method.layers, designed, strict=True):
        v = method.bases[layer.block].v
        assert float((a @ v).norm()) < 1e-5 and v.shape[1] > 0
        assert torch.allclose(a.norm(dim=-1), torch.full(a.shape[:2], 3**-0.5), atol=1e-5)
    for batch in stream.tasks[1].train_batches(0):
        sum(method.loss(batch).values()).backward()
        method.update()
    for layer, a in zip(method.layers, designed, strict=True):
        assert torch.equal(layer.a, a) and float(layer.b.detach().abs().max()) > 0


def test_designed_a_equals_the_svd_of_the_residual():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 12, generator=g, dtype=torch.float64)
    c = rows.mT @ rows
    v = torch.linalg.qr(torch.randn(12, 4, generator=g, dtype=torch.float64))[0]
    a = designed_a(c, v, 3).double()
    u = torch.linalg.svd(c - v @ v.mT @ c)[0][:, :3]
    assert torch.allclose(3 * a.mT @ a, u @ u.mT, atol=1e-6)


@pytest.mark.slow
def test_nearest_class_mean_does_not_depend_on_the_order(tmp_path):
    first, second = (
        run_cell(toy_cell("ncm", order=o), Store(tmp_path), threads=1) for o in ("0", "1")
    )
    assert first["metrics"]["acc"] == second["metrics"]["acc"]


@pytest.mark.slow
def test_joint_sees_everything_and_reports_only_the_end(tmp_path):
    result = run_cell(toy_cell("joint"), Store(tmp_path), threads=1)
    assert result["correct"][:-1] == [None] * 3 and len(result["correct"][-1]) == 4
    assert result["metrics"]["bwt"] is None and result["metrics"]["acc"] is not None
    cell = toy_cell("joint")
    stream = cut(benches.load_images(cell.bench), cell, CPU)
    assert len(joined(stream).train) == sum(len(t.train) for t in stream.tasks)


@pytest.mark.slow
@zoo.each([r for r in zoo.ROWS if not method_spec(r.method).domains.startswith("no")])
def test_runs_domain_incremental(row, tmp_path):
    stream = {"bench": "glyphs_styles", "bench__tasks": 5, "bench__train_per_class": 2}
    few = {"bench__test_per_class": 1, "train__epochs": 1}
    cell = toy_cell(row.method, **stream, **few, **row.options)
    result = run_cell(cell, Store(tmp_path), threads=1)
    rows = [row for row in result["correct"] if row is not None]
    assert len(rows[-1]) == 5 and result["total"] == [100] * 5


def test_every_declared_guard_exists():
    """The fidelity sheet names tests; each must be there."""
    root = Path(__file__).resolve().parents[2]
    for name in spec_names("method"):
        for guard in method_spec(name).guards:
            file, _, function = guard.partition("::")
            assert f"def {function}(" in (root / file).read_text(), f"{name}: no test {guard}"
