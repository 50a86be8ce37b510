"""Settings that cases shorten or leave out, as the authors' configuration files have them."""

from __future__ import annotations

from typing import Any

import pytest

from janus.config.compose import compose

# GT-RIPL/CODA-Prompt: configs/{cifar-100,imnet-r,domainnet}_prompt.yaml, experiments/*.sh
CODA_EPOCHS = {"cifar100": 20, "imagenet_r": 50, "domainnet": 5}
CODA: dict[str, Any] = {
    "train.batch_size": 128,
    "optimizer": "adam",
    "lr": 1e-3,
    "head_lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "cosine",
}
CODA_PROMPTS: dict[str, dict[str, Any]] = {
    "coda_prompt": {"components": 100, "length": 8, "blocks": 5},
    "dualprompt": {
        "general_length": 6,
        "general_blocks": 2,
        "expert_length": 20,
        "expert_blocks": 3,
    },
    "l2p_pp": {"pool": 30, "length": 20, "top_k": 5},
}
# LAMDA-CL/LAMDA-PILOT: exps/l2p.json, l2p_inr.json
L2P: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1.875e-3,
    "head_lr": 1.875e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "pool": 10,
    "length": 5,
    "top_k": 5,
    "batchwise": True,
    "key_weight": 0.1,
}
# sun-hailong/CVPR24-Ease: exps/*.json; PILOT: exps/ease.json, ease_inr.json, ranpac*.json;
# RanPAC/RanPAC: args/*_publish.csv, row 7
ADAPTER: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine_half"}
# GengDavid/SLCA: exps/slca/slca_{cifar,imgnetr,cub,cars}.json, models/slca.py
SLCA: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr": 1e-4,
    "head_lr": 0.01,
    "weight_decay": 5e-4,
    "schedule": "drop",
    "train.batch_size": 128,
    "align_epochs": 5,
    "align_samples": 256,
    "align_lr": 0.01,
    "align_decay": 5e-4,
    "align_restarts": True,
    "logit_norm": 0.1,
}


def adapter(rate: float, decay: float, epochs: int, batch: int, **more: Any) -> dict[str, Any]:
    """One row of EASE or RanPAC; both groups of parameters have one rate."""
    row = {"lr": rate, "head_lr": rate, "weight_decay": decay}
    return ADAPTER | row | {"train.epochs": epochs, "train.batch_size": batch} | more


PUBLISHED: dict[tuple[str, str], dict[str, Any]] = {
    **{
        (method, bench): CODA | {"train.epochs": epochs} | prompts
        for method, prompts in CODA_PROMPTS.items()
        for bench, epochs in CODA_EPOCHS.items()
    },
    ("l2p", "cifar100"): L2P | {"train.epochs": 5, "train.batch_size": 16},
    ("l2p", "imagenet_r"): L2P | {"train.epochs": 10, "train.batch_size": 32},
    ("ease", "cifar100"): adapter(0.025, 5e-4, 20, 48, bottleneck=64, alpha=0.1),
    ("ease", "imagenet_r"): adapter(0.05, 5e-3, 20, 16, bottleneck=64, alpha=0.1),
    ("ease", "imagenet_a"): adapter(0.05, 5e-3, 20, 32, bottleneck=64, alpha=0.1),
    ("ease", "cub200"): adapter(0.008, 5e-4, 20, 32, bottleneck=64, alpha=0.05),
    ("ease", "vtab"): adapter(0.03, 5e-3, 45, 16, bottleneck=16, alpha=0.1, resynthesise=True),
    ("ranpac", "cifar100"): adapter(0.01, 5e-4, 20, 48, projection=10000, adapter_scale=0.1),
    ("ranpac", "imagenet_r"): adapter(0.05, 5e-3, 10, 16, projection=10000, bottleneck=64),
    ("ranpac", "cub200"): adapter(0.01, 5e-4, 20, 48, projection=10000),
    ("slca", "cifar100"): SLCA | {"train.epochs": 20, "drop_at": 18 / 20},
    ("slca", "imagenet_r"): SLCA | {"train.epochs": 50, "drop_at": 40 / 50},
    ("slca", "cub200"): SLCA | {"train.epochs": 50, "drop_at": 40 / 50},
    ("slca", "cars"): SLCA | {"train.epochs": 50, "drop_at": 40 / 50, "logit_norm": 0.05},
}


@pytest.mark.parametrize(("method", "bench"), PUBLISHED)
def test_settings_are_those_of_the_authors_files(method: str, bench: str) -> None:
    cell = compose({"method": method, "bench": bench})
    train = {"train.epochs": cell.train.epochs, "train.batch_size": cell.train.batch_size}
    found, expected = {**cell.method.values, **train}, PUBLISHED[method, bench]
    assert {name: found[name] for name in expected} == expected
