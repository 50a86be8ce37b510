"""The tests' table of methods. A new method adds one row; every row is killed, resumed, merged,
fingerprinted and run on domain streams by the tests that read this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class Row:
    """A method, or a variant of one, on the tiny model."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    """Overrides, dots written as double underscores."""
    quick: bool = False
    """Also tested by `make check`."""

    @property
    def name(self) -> str:
        return "-".join([self.method, *(str(v) for v in self.options.values())])


ROWS = [
    Row("seqlora"),
    Row("seqlora", {"method__optimizer": "sgd"}),
    Row("janus", quick=True),
    Row("janus", {"method__estimator": "fd"}),
    Row("janus", {"method__estimator": "gs"}),
    Row("janus", {"method__estimator": "fd", "train__accumulate": 3}),
    Row("janus", {"train__precision": "bf16"}),
    Row("janus", {"method__lifetime": "carried"}),
    Row("janus", {"method__precondition": "weight", "method__lr": 1e-4}),
    Row("janus", {"method__precondition": "composite", "method__lr": 1e-4}),
    Row("janus", {"method__a_init": "random"}),
    Row("janus", {"method__a_init": "random", "method__constrained": False}),
    Row(
        "janus",
        {
            "method__a_init": "random",
            "method__constrained": False,
            "method__precondition": "composite",
            "method__lr": 1e-4,
        },
    ),
    Row("inflora"),
    Row("lora_gpm"),
    Row("lora_gpm", {"method__variant": "both"}),
    Row("ncm", quick=True),
    Row("joint"),
    Row("olora"),
    Row("sd_lora"),
    Row("sd_lora_rr", {"method__reduce_every": 1}),
    Row("sd_lora_kd", {"method__distill_threshold": 2.0}),
    Row("c_lora"),
    Row("c_lora", {"method__old_gradients": "open"}),
    Row("color"),
    Row("color_pp"),
    Row("bilora"),
    Row("l2p"),
    Row("l2p", {"train__accumulate": 3, "train__clip": 0.5, "train__warmup": 0.5}),
    Row("l2p_pp"),
    Row("dualprompt"),
    Row("coda_prompt"),
    Row("lora_gpm_gr"),
    Row("lora_gpm_gr", {"method__precondition": "weight", "method__lr": 1e-4}),
    Row("inflora_b5"),
    Row("inflora_ca", {"method__align_samples": 16, "method__final_norm": "fresh"}),
    Row("slca", {"method__align_samples": 16}),
    Row("lora_drs"),
    Row("lora_drs_clean"),
    Row("lora_drs_gr"),
    Row("lora_drs_gr", {"method__precondition": "weight", "method__lr": 1e-4}),
    Row("ranpac", {"train__first_epochs": 3, "method__projection": 100}),
    Row(
        "ranpac",
        {
            "train__first_epochs": 3,
            "method__projection": 100,
            "method__ridge_rule": "float32",
        },
    ),
    Row("ease", {"method__bottleneck": 4}),
    Row("e2_lora", {"method__align_samples": 16}),
    Row("linear_probe"),
    Row("linear_probe", {"method__classifier": "ncm"}),
    Row("seqlora", {"method__classifier": "aligned", "method__align_samples": 16}),
    Row("janus", {"method__classifier": "ridge"}),
    Row("lora_drs", {"method__classifier": "ridge"}),
    Row("joint_probe"),
]
"""One line per method and per variant that keeps state of its own."""

METHODS = list(dict.fromkeys(row.method for row in ROWS))


def each(rows: list[Row] | None = None) -> Any:
    """Parametrise a test over the rows; only quick rows run in the quick tier."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(r, id=r.name, marks=[] if r.quick else [pytest.mark.slow])
            for r in (ROWS if rows is None else rows)
        ],
    )


each_method = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            m,
            marks=[] if any(r.quick for r in ROWS if r.method == m) else [pytest.mark.slow],
        )
        for m in METHODS
    ],
)
