"""Every method trains with the values of its source's own configuration files.

A row is one file: all settings that the method reads on that bench, and the training. A default
that changes, here or in a parent file, fails the row; so does a setting that no row states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from janus.config.cell import Cell
from janus.config.compose import compose
from janus.config.method_spec import method_spec

INFLORA = "liangyanshuo/InfLoRA"
DRS = "LoRA-Sub-DRS 836ad29"
DRS_FIRST = "LoRA-Sub-DRS 871d29c (the authors' first commit)"
BILORA = "yifeiacc/BiLoRA 78ff950"
SD_LORA = "WuYichen-97/SD-Lora-CL"

Values = dict[str, Any]

ADAM: Values = {"optimizer": "adam", "lr": 5e-4, "head_lr": 5e-4, "weight_decay": 0.0}
COSINE: Values = {"schedule": "cosine", "cosine_over": "task", "first_rate": 1.0}
ANNEALED: Values = COSINE | {"schedule": "cosine_half"}
SGD: Values = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0}
AT_4_OF_5: Values = {
    "schedule": "drop",
    "drop_at": 0.8,
    "milestones": "",
    "drop_factor": 0.1,
    "first_rate": 1.0,
}
K_AND_V: Values = {"rank": 10, "targets": "kv", "scale": 1.0, "blocks": 0}
DUAL_GPM: Values = {"energy_rises": True, "spectrum": "squared", "final_norm": "pretrained"}
ALIGNED: Values = {
    "align": True,
    "align_epochs": 5,
    "align_samples": 256,
    "align_lr": 1e-2,
    "align_decay": 5e-4,
    "align_restarts": False,
    "logit_norm": 0.1,
    "align_jitter": 1e-4,
}
TRIPLET: Values = {
    "subspace_energy": 0.99,
    "both_sides": True,
    "sqrt_scaling": True,
    "classifier": "ncm",
    "a_init": "random",
    "rectify": False,
}
FOURIER: Values = {"targets": "kv", "coefficients": 3000, "alpha": 300.0}
MAGNITUDES: Values = SGD | {
    "rank": 10,
    "targets": "qv",
    "blocks": 0,
    "magnitude": 0.8,
    "reduce_rank": False,
    "distill": False,
    "first_rate": 1.0,
    "schedule": "constant",
}


@dataclass(frozen=True)
class Row:
    """What one configuration file says."""

    method: str
    bench: str
    source: str
    epochs: int
    values: Values
    first: int | None = None
    """Epochs of the first task, where they differ."""


def inflora(energy: float, **others: Any) -> Values:
    """InfLoRA without alignment."""
    plain = ADAM | COSINE | K_AND_V | DUAL_GPM | {"align": False}
    return plain | {"subspace_energy": energy} | others


def inflora_sgd(**others: Any) -> Values:
    """InfLoRA on DomainNet."""
    plain = SGD | AT_4_OF_5 | K_AND_V | DUAL_GPM | {"align": False}
    rates = {"lr": 5e-3, "head_lr": 1e-2}
    return plain | rates | {"rank": 30, "subspace_energy": 0.95} | others


def drs(head_lr: float, margin: float, weight: float, **others: Any) -> Values:
    """LoRA-DRS."""
    plain = ADAM | COSINE | K_AND_V | TRIPLET
    loss = {"triplet_margin": margin, "triplet_weight": weight}
    return plain | loss | {"head_lr": head_lr} | others


def one_rate(rate: float) -> Values:
    """All parameters at one rate."""
    return {"lr": rate, "head_lr": rate}


ROWS = [
    Row("inflora", "cifar100", f"{INFLORA} configs/cifar100_inflora.json", 20, inflora(0.95)),
    Row("inflora", "imagenet_r", f"{INFLORA} configs/mimg10_inflora.json", 50, inflora(0.98)),
    Row("inflora", "domainnet", f"{INFLORA} configs/domainnet_inflora.json", 5, inflora_sgd()),
    Row(
        "inflora_b5",
        "cifar100",
        f"{INFLORA} configs/cifar100_inflorab5.json",
        20,
        inflora(0.95, blocks=5) | one_rate(1e-3),
    ),
    Row(
        "inflora_b5",
        "imagenet_r",
        f"{INFLORA} configs/mimg10_inflorab5.json",
        50,
        inflora(0.99, blocks=5),
    ),
    Row(
        "inflora_b5",
        "domainnet",
        f"{INFLORA} configs/domainnet_inflorab5.json",
        5,
        inflora_sgd(blocks=5),
    ),
    Row(
        "inflora_ca",
        "cifar100",
        f"{INFLORA} configs/cifar100_infloraca.json, methods/inflora_ca1.py",
        20,
        SGD
        | AT_4_OF_5
        | K_AND_V
        | DUAL_GPM
        | ALIGNED
        | {"lr": 1e-3, "head_lr": 1e-2, "weight_decay": 1e-3, "drop_at": 18 / 20, "rank": 5}
        | {"final_norm": "fresh", "subspace_energy": 0.95},
    ),
    Row(
        "inflora_ca",
        "imagenet_r",
        f"{INFLORA} configs/mimg10_infloraca.json, methods/inflora_ca.py",
        50,
        SGD | ANNEALED | K_AND_V | DUAL_GPM | ALIGNED | one_rate(1e-3) | {"subspace_energy": 0.95},
    ),
    Row("lora_drs", "cifar100", f"{DRS} configs/cifar100.json", 20, drs(2e-3, 1.0, 0.05)),
    Row(
        "lora_drs",
        "imagenet_r",
        f"{DRS} configs/imagenetr.json",
        50,
        drs(5e-4, 2.0, 0.2, cosine_over="later"),
        first=40,
    ),
    Row(
        "lora_drs",
        "domainnet",
        f"{DRS_FIRST} configs/domainnet.json",
        5,
        drs(1e-3, 2.0, 0.1, rank=40),
    ),
    Row("lora_drs", "cub200", f"{DRS_FIRST} configs/cub.json", 20, drs(1e-3, 1.0, 0.2)),
    Row(
        "bilora",
        "cifar100",
        f"{BILORA} configs/cifar100_bilora.json",
        20,
        ADAM | COSINE | FOURIER,
        first=40,
    ),
    Row(
        "bilora",
        "imagenet_r",
        f"{BILORA} configs/mimg20_bilora.json",
        50,
        ADAM | COSINE | FOURIER,
    ),
    Row(
        "bilora",
        "domainnet",
        f"{BILORA} configs/domainnet_bilora.json, methods/bilora.py",
        5,
        SGD | ANNEALED | FOURIER | one_rate(5e-3) | {"first_rate": 5e-4 / 5e-3},
    ),
    Row(
        "sd_lora",
        "cifar100",
        f"{SD_LORA} exps/sdlora_c100.json, models/sdlora.py",
        20,
        MAGNITUDES | one_rate(8e-3),
    ),
    Row(
        "sd_lora",
        "imagenet_r",
        f"{SD_LORA} exps/sdlora_inr.json",
        20,
        MAGNITUDES | one_rate(1e-2),
    ),
    Row("sd_lora", "imagenet_a", f"{SD_LORA} logs/InA.log", 20, MAGNITUDES | one_rate(1e-2)),
    Row(
        "sd_lora",
        "domainnet",
        f"{SD_LORA} exps/sdlora_dom.json",
        10,
        MAGNITUDES
        | one_rate(2e-2)
        | {"schedule": "drop", "milestones": "4+6+8", "drop_factor": 0.005},
    ),
]
"""Batches are of 128 images in all of them."""


def shipped(method: str, bench: str) -> Cell:
    """What `python -m janus method=... bench=...` trains."""
    return compose({"bench": bench, "method": method, "bench.split_sha256": "any"})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method}-{row.bench}")
def test_defaults_are_the_published_configuration(row):
    cell, spec = shipped(row.method, row.bench), method_spec(row.method)
    read = {
        name: value
        for name, value in cell.method.values.items()
        if len(spec.settings[name].choices or ()) != 1
        and not spec.inactive_because(name, cell.method.values)
    }
    heads = {"classifier": "linear"} if "classifier" in read else {}  # where the row says nothing
    assert read == heads | row.values, row.source
    train = cell.train
    assert (train.epochs, train.first_epochs, train.batch_size) == (row.epochs, row.first, 128)


SHARED = ("optimizer", "lr", "head_lr", "weight_decay", "schedule", "drop_at", "milestones")


@pytest.mark.parametrize("method", ["seqlora", "lora_gpm", "janus", "olora"])
@pytest.mark.parametrize("bench", ["cifar100", "imagenet_r", "domainnet"])
def test_methods_without_a_published_configuration_train_as_inflora(method, bench):
    ours, theirs = shipped(method, bench), shipped("inflora", bench)
    for name in (*SHARED, "drop_factor", "first_rate", "rank"):
        assert ours.method.values[name] == theirs.method.values[name], name
    assert ours.train == theirs.train


@pytest.mark.parametrize("method", ["sd_lora_rr", "sd_lora_kd", "lora_drs_clean", "lora_drs_gr"])
def test_variants_train_as_their_method(method):
    base = method.rpartition("_")[0]
    for bench in method_spec(base).benches:
        if bench in ("glyphs", "glyphs_styles", "renditions", "fashion"):
            continue  # tuned one by one
        ours, theirs = shipped(method, bench), shipped(base, bench)
        shared = {*SHARED, "rank", "triplet_margin", "cosine_over"} & {*theirs.method.values}
        assert {n: ours.method.values[n] for n in shared} == {
            n: theirs.method.values[n] for n in shared
        }
        assert ours.train == theirs.train
