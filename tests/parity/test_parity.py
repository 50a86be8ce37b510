"""Every method equals its reference: losses, trained tensors, what is kept, logits."""

from __future__ import annotations

import pytest

from janus.config.method_spec import spec_names
from tests.parity.frame import BOUND, Case, all_cases, check


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])
        for case in all_cases()
    ],
)
def test_product_equals_its_reference(case: Case) -> None:
    errors = check(case)
    assert errors, "nothing was compared"
    unequal = {name: error for name, error in errors.items() if not error <= BOUND}
    assert not unequal, unequal


def test_every_method_has_a_reference() -> None:
    assert set(spec_names("method")) == {case.method for case in all_cases()}
