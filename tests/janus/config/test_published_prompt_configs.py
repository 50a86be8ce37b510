"""Defaults of prompt and prototype methods against the configurations that their authors shipped.

Each row names the file in the source's repository that its values were read from: CODA
(GT-RIPL/CODA-Prompt, 6417d4f), PILOT (LAMDA-CL/LAMDA-PILOT, 5240714), EASE
(sun-hailong/CVPR24-Ease, 6d67508), RanPAC (RanPAC/RanPAC, 012927f), SLCA (GengDavid/SLCA, 169d4e6),
S-Prompts (iamwangyabin/S-Prompts, a26e822), Renate (awslabs/Renate, aa858dd).
"""

from __future__ import annotations

from typing import Any

import pytest

from janus.config.compose import compose
from janus.config.method_spec import method_spec
from tests.janus.methods import zoo

CODA = {
    "optimizer": "adam",
    "lr": 1e-3,
    "head_lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "train.batch_size": 128,
}
"""configs/{cifar-100,imnet-r,domainnet}_prompt.yaml: Adam 0.001, decay 0, cosine, batch 128."""
CODA_P = CODA | {"components": 100, "length": 8, "blocks": 5}
DUAL = CODA | {
    "expert_length": 20,
    "general_length": 6,
    "general_blocks": 2,
    "expert_blocks": 3,
    "key_weight": 1.0,
}
L2P_PP = CODA | {
    "pool": 30,
    "length": 20,
    "top_k": 5,
    "place": "prefix",
    "batchwise": False,
    "key_pairs": True,
    "key_weight": 1.0,
}
L2P = {
    "optimizer": "adam",
    "lr": 0.001875,
    "head_lr": 0.001875,
    "weight_decay": 0.0,
    "schedule": "constant",
    "pool": 10,
    "length": 5,
    "top_k": 5,
    "place": "input",
    "batchwise": True,
    "key_weight": 0.1,
}
SGD = {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine_half"}
ADAPTER = SGD | {"bottleneck": 64, "adapter_scale": 0.1, "proxy_scale": 1.0}
EASE = ADAPTER | {"alpha": 0.1, "resynthesise": True, "train.epochs": 20}
RANPAC = ADAPTER | {"adapt": True, "projection": 10000, "ridge": 0.0}
RANPAC_OWN = RANPAC | {
    "lr": 0.01,
    "head_lr": 0.01,
    "weight_decay": 5e-4,
    "train.epochs": 20,
    "train.batch_size": 48,
}
SLCA = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr": 1e-4,
    "head_lr": 0.01,
    "weight_decay": 5e-4,
    "schedule": "drop",
    "drop_factor": 0.1,
    "milestones": "",
    "align_epochs": 5,
    "align_samples": 256,
    "align_lr": 0.01,
    "align_decay": 5e-4,
    "align_restarts": True,
    "logit_norm": 0.1,
    "train.batch_size": 128,
}


def rates(lr: float, decay: float, batch: int) -> dict[str, Any]:
    return {"lr": lr, "head_lr": lr, "weight_decay": decay, "train.batch_size": batch}


PUBLISHED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("coda_prompt", "cifar100", "CODA experiments/cifar-100.sh", CODA_P | {"train.epochs": 20}),
    ("coda_prompt", "imagenet_r", "CODA experiments/imagenet-r.sh", CODA_P | {"train.epochs": 50}),
    ("coda_prompt", "domainnet", "CODA experiments/domainnet.sh", CODA_P | {"train.epochs": 5}),
    ("dualprompt", "cifar100", "CODA experiments/cifar-100.sh", DUAL | {"train.epochs": 20}),
    ("dualprompt", "imagenet_r", "CODA experiments/imagenet-r.sh", DUAL | {"train.epochs": 50}),
    ("dualprompt", "domainnet", "CODA experiments/domainnet.sh", DUAL | {"train.epochs": 5}),
    ("l2p_pp", "cifar100", "CODA experiments/cifar-100.sh", L2P_PP | {"train.epochs": 20}),
    ("l2p_pp", "imagenet_r", "CODA experiments/imagenet-r.sh", L2P_PP | {"train.epochs": 50}),
    ("l2p_pp", "domainnet", "CODA experiments/domainnet.sh", L2P_PP | {"train.epochs": 5}),
    ("l2p", "cifar100", "PILOT exps/l2p.json", L2P | {"train.epochs": 5, "train.batch_size": 16}),
    (
        "l2p",
        "imagenet_r",
        "PILOT exps/l2p_inr.json",
        L2P | {"train.epochs": 10, "train.batch_size": 32},
    ),
    ("ease", "cifar100", "PILOT exps/ease.json", EASE | rates(0.025, 5e-4, 48)),
    ("ease", "imagenet_r", "PILOT exps/ease_inr.json", EASE | rates(0.05, 5e-3, 16)),
    ("ease", "imagenet_a", "EASE exps/ease_ina.json", EASE | rates(0.05, 5e-3, 32)),
    (
        "ease",
        "cub200",
        "EASE exps/ease_cub_in21k.json",
        EASE | rates(0.008, 5e-4, 32) | {"alpha": 0.05},
    ),
    (
        "ease",
        "vtab",
        "EASE exps/ease_vtab.json",
        EASE | rates(0.03, 5e-3, 16) | {"bottleneck": 16, "train.epochs": 45},
    ),
    ("ranpac", "cifar100", "PILOT exps/ranpac.json", RANPAC_OWN),
    (
        "ranpac",
        "imagenet_r",
        "PILOT exps/ranpac_inr.json",
        RANPAC | rates(0.05, 5e-3, 16) | {"train.epochs": 10},
    ),
    ("ranpac", "cub200", "RanPAC args/cub_publish.csv, ID 7", RANPAC_OWN),
    ("ranpac", "core50", "RanPAC args/core50_publish.csv, ID 7", RANPAC_OWN),
    ("ranpac", "domainnet_domains", "RanPAC args/domainnet_publish.csv, ID 7", RANPAC_OWN),
    (
        "slca",
        "cifar100",
        "SLCA exps/slca/slca_cifar.json: milestone 18 of 20",
        SLCA | {"train.epochs": 20, "drop_at": 18 / 20},
    ),
    (
        "slca",
        "imagenet_r",
        "SLCA exps/slca/slca_imgnetr.json: milestone 40 of 50",
        SLCA | {"train.epochs": 50, "drop_at": 40 / 50},
    ),
    (
        "slca",
        "cub200",
        "SLCA exps/slca/slca_cub.json: milestone 40 of 50",
        SLCA | {"train.epochs": 50, "drop_at": 40 / 50},
    ),
    (
        "slca",
        "cars",
        "SLCA exps/slca/slca_cars.json: milestone 40 of 50",
        SLCA | {"train.epochs": 50, "drop_at": 40 / 50, "logit_norm": 0.05},
    ),
    (
        "color",
        "cifar100",
        "S-Prompts methods/sprompt.py; Renate task_identification_strategies.py",
        {"clusters": 5, "unit_features": True, "reference": "pretrained"},
    ),
    (
        "color_pp",
        "cifar100",
        "S-Prompts methods/sprompt.py; Renate task_identification_strategies.py",
        {"clusters": 5, "unit_features": True, "reference": "first_task"},
    ),
]
EARLIER = [
    ("ease", {"method.resynthesise": False}, "147d1182132c64b2"),
    ("l2p_pp", {"method.key_pairs": False}, "f582698561554d3f"),
    ("color", {"method.unit_features": False}, "939c3bfeba506e54"),
    ("color_pp", {"method.unit_features": False}, "ca9fe109ee6489ee"),
]
"""(method, settings that repeat earlier results, id on `glyphs` before these settings existed)."""
OURS = {"glyphs", "glyphs_styles", "renditions", "fashion"}
"""Benches of this project, whose values no source has."""


@pytest.mark.parametrize(
    ("method", "bench", "source", "values"),
    PUBLISHED,
    ids=[f"{method}-{bench}" for method, bench, _, _ in PUBLISHED],
)
def test_defaults_are_those_of_the_source_s_configuration(method, bench, source, values):
    cell = compose({"method": method, "bench": bench})
    found = dict(cell.method.values)
    found |= {f"train.{name}": getattr(cell.train, name) for name in ("epochs", "batch_size")}
    assert {name: found[name] for name in values} == values, source
    assert cell.train.first_epochs is None


def test_every_published_section_of_these_methods_has_a_row():
    rows = {(method, bench) for method, bench, _, _ in PUBLISHED}
    for method in ("coda_prompt", "dualprompt", "l2p", "l2p_pp", "ease", "ranpac", "slca"):
        assert method in zoo.METHODS
        declared = {(method, bench) for bench in method_spec(method).benches if bench not in OURS}
        assert declared == {row for row in rows if row[0] == method}


@pytest.mark.parametrize("method", ["ease", "ranpac"])
def test_the_half_cosine_of_every_source_file_is_the_default_of_other_benches(method):
    cell = compose({"method": method, "bench": "imagenet100"})
    assert {name: cell.method.values[name] for name in SGD} == SGD


@pytest.mark.parametrize(("method", "settings", "identity"), EARLIER)
def test_results_from_before_a_setting_keep_their_ids(method, settings, identity, monkeypatch):
    monkeypatch.setattr("janus.config.cell.CORE_REVISION", 3)
    named = {"method": method, "bench": "glyphs", "order": "1"}
    assert compose({**named, **settings}).id == identity != compose(named).id
