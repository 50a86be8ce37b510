"""The zoo as `--list methods` prints it, and the fidelity sheet."""

from __future__ import annotations

from pathlib import Path

import pytest

from janus.config.help_text import list_methods
from janus.config.method_spec import method_spec, spec_names
from janus.config.methods_page import sheet

PAGE = Path(__file__).resolve().parents[3] / "docs/methods.md"


def test_the_list_fits_100_columns_and_names_every_method_with_all_its_facts():
    text = list_methods()
    assert max(map(len, text.splitlines())) <= 100
    joined = " ".join(text.split())
    for name in spec_names("method"):
        spec = method_spec(name)
        for fact in (name, spec.paper, spec.keeps, spec.trains, spec.defaults):
            assert " ".join(fact.split()) in joined


@pytest.mark.parametrize("name", spec_names("method"))
def test_every_method_declares_what_the_sheet_prints(name):
    spec = method_spec(name)
    declared = (spec.keeps, spec.trains, spec.defaults, spec.equations, spec.choices, spec.guards)
    assert all(declared), f"fill keeps, trains, defaults, equations, choices, guards of {name}"


def test_the_committed_sheet_is_up_to_date():
    assert PAGE.read_text() == sheet(), "run: python -m janus.config.methods_page > docs/methods.md"
