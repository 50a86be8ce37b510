"""What a search may try, and in which sequence it is suggested."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus.errors import ConfigError
from sweeps.search.samplers import Score, make_sampler
from sweeps.spec.search_space import Dimension, grid, read_space

RECORD = {
    "all": {"lr": {"log": [1e-4, 1e-2]}},
    "janus": {"rank": {"int": [2, 8]}, "margin": {"uniform": [0.0, 0.4]}},
    "inflora": {"subspace_energy": {"choices": [0.95, 0.99]}},
}
OWN = {"lr": 3e-4, "rank": 4, "margin": 0.2}
dimensions = st.sampled_from(
    [
        Dimension("log", 1e-4, 1.7e-2),
        Dimension("uniform", 0.0123456, 0.4),
        Dimension("int", 2, 9),
        Dimension("choices", choices=(4, "fd", None)),
    ]
)


@given(dimensions, st.floats(0, 1, exclude_max=True))
def test_every_value_that_is_tried_lies_in_its_range(dimension: Dimension, share: float) -> None:
    assert dimension.holds(dimension.at(share))


def test_a_logarithmic_range_is_halved_at_its_geometric_mean() -> None:
    assert Dimension("log", 1e-4, 1e-2).at(0.5) == 1e-3
    assert [Dimension("int", 2, 4).at(s) for s in (0.0, 0.34, 0.99)] == [2, 3, 4]


def test_settings_of_all_reach_the_methods_that_have_them() -> None:
    space = read_space(RECORD, ("ncm", "seqlora", "janus"))
    assert {method: set(found) for method, found in space.items()} == {
        "ncm": set(),
        "seqlora": {"lr"},
        "janus": {"lr", "rank", "margin"},
    }


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"jnus": {}}, "'janus'"),
        ({"all": {"lrr": {"log": [1, 2]}}}, "'lr'"),
        ({"janus": {"rnk": {"choices": [4]}}}, "'rank'"),
        ({"janus": {"rank": {"choices": [0]}}}, "at least 1"),
        ({"janus": {"lr": {"log": [0.1]}}}, "lowest, highest"),
        ({"janus": {"lr": {"log": [0.1, 0.01]}}}, "lowest, highest"),
        ({"janus": {"margin": {"log": [-0.5, 0.5]}}}, "above 0"),
        ({"janus": {"rank": {"uniform": [2, 8]}}}, "whole"),
        ({"janus": {"lr": {"int": [1, 2]}}}, "real"),
        ({"janus": {"lr": {"lg": [0.1, 0.2]}}}, "one of log"),
        ({"janus": {"lr": 0.1}}, "one of log"),
        ({"janus": 0.1}, "search.space must be"),
    ],
)
def test_a_mistake_in_a_space_is_explained(record: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_space(record, ("janus", "seqlora"))


def test_a_grid_is_every_combination_of_choices() -> None:
    space = {"a": Dimension("choices", choices=(1, 2)), "b": Dimension("choices", choices=(3, 4))}
    assert grid(space) == [{"a": a, "b": b} for a in (1, 2) for b in (3, 4)]
    with pytest.raises(ConfigError, match="needs choices"):
        grid({"a": Dimension("log", 1, 2)})


def sequence(algorithm: str, batch: int, *key: str | int, total: int = 12) -> list[object]:
    """Suggestions when higher learning rates score better."""
    suggester = make_sampler(algorithm, read_space(RECORD, ("janus",))["janus"], OWN, *key)
    found: list[object] = []
    while len(found) < total:
        asked = suggester.ask(batch)
        suggester.tell([Score(float(c["lr"])) for c in asked])  # type: ignore[arg-type]
        found += asked
    return found


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_suggestions_repeat_by_seed_and_begin_with_the_values_of_now(algorithm: str) -> None:
    first = sequence(algorithm, 4, 0, "janus")
    assert first == sequence(algorithm, 4, 0, "janus")
    assert first[0] == OWN
    assert first[1:] != sequence(algorithm, 4, 1, "janus")[1:]
    assert first[1:] != sequence(algorithm, 4, 0, "other")[1:]


def test_random_suggestions_do_not_depend_on_the_batch() -> None:
    assert sequence("random", 4, 0) == sequence("random", 1, 0)


def test_values_of_now_outside_the_space_are_not_tried() -> None:
    space = read_space(RECORD, ("janus",))["janus"]
    asked = make_sampler("random", space, {**OWN, "rank": 16}, 0).ask(3)
    assert all(2 <= c["rank"] <= 8 for c in asked)  # type: ignore[operator]


def test_tpe_learns_where_scores_are_high() -> None:
    found = sequence("tpe", 4, 3, total=40)
    rates = [c["lr"] for c in found]  # type: ignore[index]
    by_chance, learned = sorted(rates[1:10]), sorted(rates[-10:])  # Optuna's first ten are random
    assert learned[5] > 2 * by_chance[4]


def test_nothing_to_tune_is_one_configuration() -> None:
    suggester = make_sampler("tpe", {}, OWN, 0)
    assert (suggester.ask(4), suggester.ask(4)) == ([{}], [])
