"""Which configurations a search tries next: grid, random, or TPE (Optuna).

Every suggester is seeded and asked for whole batches, whose scores it is told together and in the
order of the batch: the sequence of suggestions depends on the search file and on the scores, not
on how many workers there are or on which of them is fastest. That is what lets a search that was
killed replay its finished part from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from janus.errors import ConfigError
from sweeps.spec.search_space import Configuration, Space, grid, rounded


@dataclass(frozen=True)
class Score:
    """How a configuration did."""

    value: float
    """Mean accuracy over the tuning cells: the objective, or that of the last task reached."""
    cut_at: int | None = None
    """Finished tasks when it was stopped early; None: it ran to the end (or diverged)."""


class Suggester(Protocol):
    """Asked for a batch, then told its scores."""

    def ask(self, count: int) -> list[Configuration]:
        """The next `count` configurations; fewer when there are no more."""

    def tell(self, scores: Sequence[Score]) -> None:
        """The scores of the batch that was asked for last, in its order."""


def make_sampler(algorithm: str, space: Space, own: Configuration, *key: str | int) -> Suggester:
    """A suggester whose draws are keyed by `key`.

    `own`: the values that the method has now. Random and TPE try them first when the space holds
    them, so that a search ends no worse, on its own cells, than doing nothing.
    """
    first: list[Configuration] = []
    if all(dimension.holds(own[name]) for name, dimension in space.items()):
        first = [{name: own[name] for name in space}]
    if not space:
        return Listed([{}])
    if algorithm == "grid":
        return Listed(grid(space))
    return Random(space, first, key) if algorithm == "random" else Tpe(space, first, key)


class Listed:
    """Configurations known beforehand."""

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        self.left = list(configurations)

    def ask(self, count: int) -> list[Configuration]:
        """The next of the list."""
        batch, self.left = self.left[:count], self.left[count:]
        return batch

    def tell(self, scores: Sequence[Score]) -> None:
        """Nothing depends on them."""


class Random:
    """Independent draws, each keyed by its number."""

    def __init__(self, space: Space, first: list[Configuration], key: Sequence[str | int]) -> None:
        self.space, self.first, self.key = space, first, key
        self.asked = 0

    def ask(self, count: int) -> list[Configuration]:
        """Own values first, then draws."""
        numbers = range(self.asked, self.asked + count)
        self.asked += count
        return [self.first[n] if n < len(self.first) else self._draw(n) for n in numbers]

    def _draw(self, number: int) -> Configuration:
        from janus.keyed_random import numpy_generator

        shares = numpy_generator("search", *self.key, number).random(len(self.space))
        pairs = zip(self.space.items(), shares, strict=True)
        return {name: dimension.at(float(share)) for (name, dimension), share in pairs}

    def tell(self, scores: Sequence[Score]) -> None:
        """Nothing depends on them."""


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's."""

    def __init__(self, space: Space, first: list[Configuration], key: Sequence[str | int]) -> None:
        self.optuna = _optuna()
        from janus.keyed_random import key_number

        seed = key_number("search", *key) % 2**32
        sampler = self.optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self.study = self.optuna.create_study(direction="maximize", sampler=sampler)
        for configuration in first:
            self.study.enqueue_trial(dict(configuration))
        self.space = space
        self.batch: list[Any] = []

    def ask(self, count: int) -> list[Configuration]:
        """Own values first; a batch avoids its own members (constant liar)."""
        known = {name: self._distribution(name) for name in self.space}
        self.batch = [self.study.ask(known) for _ in range(count)]
        return [self._values(trial.params) for trial in self.batch]

    def tell(self, scores: Sequence[Score]) -> None:
        """A configuration that was stopped early ranks below those that were not."""
        for trial, score in zip(self.batch, scores, strict=True):
            if score.cut_at is None:
                self.study.tell(trial, score.value)
            else:
                trial.report(score.value, score.cut_at)
                self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)

    def _distribution(self, name: str) -> Any:
        of, dimension = self.optuna.distributions, self.space[name]
        if dimension.kind == "choices":
            return of.CategoricalDistribution(dimension.choices)
        if dimension.kind == "int":
            return of.IntDistribution(int(dimension.low), int(dimension.high))
        return of.FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log")

    def _values(self, params: Configuration) -> Configuration:
        return {
            name: rounded(float(value), self.space[name])  # type: ignore[arg-type]
            if self.space[name].kind in ("log", "uniform")
            else value
            for name, value in params.items()
        }


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "search.algorithm=tpe needs Optuna: pip install 'janus-lora[hpo]', or use random"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
