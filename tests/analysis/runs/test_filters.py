"""Which rows a name on the command line selects."""

from __future__ import annotations

from analysis.runs import filters

LABELS = ["janus[none]", "janus[none,carried]", "janus[oe]", "seqlora"]


def test_the_whole_label_of_a_row_selects_it_alone():
    assert filters.select_rows(LABELS, ["janus[none]"], "--methods") == ["janus[none]"]
    assert filters.reference(LABELS, "janus[none]") == "janus[none]"


def test_a_setting_selects_every_row_that_has_it():
    assert filters.select_rows(LABELS, ["janus[carried]"], "--methods") == ["janus[none,carried]"]
    assert len(filters.select_rows(LABELS, ["janus"], "--methods")) == 3
