"""The rounds of a search: which values of each row do best on its tuning cells.

Rounds of batches: every row asks its suggester for a batch, all of them are trained, the scores are
told. Everything is decided from what the store holds, in the order of the suggestions, so that the
same search on the same store comes to the same winners however often it was interrupted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from janus.config.cell import Cell
from janus.store.store import Store
from janus.tracking.terminal import percent
from janus.weights.resolve import check_weight_files
from sweeps.execution.attempt import Outcome
from sweeps.execution.retry_policy import CRASH, policy_for
from sweeps.search.candidates import DIVERGED, Candidate, losers, make_candidate, rung_tasks
from sweeps.search.samplers import Listed, Suggester, make_sampler
from sweeps.search.widening import RATES, Side, added, edges, widened
from sweeps.show.console import log
from sweeps.spec.cell_list import write_list
from sweeps.spec.plan import Plan
from sweeps.spec.rows import Row
from sweeps.spec.search_section import Search
from sweeps.spec.search_space import Space
from sweeps.spec.sweep_file import SweepRequest

MANY = 1_000_000
"""More configurations than any grid has."""

RunUntil = Callable[[Sequence[Sequence[Cell]], int], list[list[Outcome]]]
"""Trains the cells of several configurations to the end of a task: see `ray_configurations.py`."""


class UnfinishedError(Exception):
    """Cells failed for reasons that say nothing of their configuration."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__(f"{len(outcomes)} cells failed")
        self.outcomes = outcomes


@dataclass
class Tuned:
    """A row with its suggester and everything tried for it."""

    row: Row
    suggester: Suggester
    space: Space
    """What is searched; a grid may grow."""
    tried: list[Candidate] = field(default_factory=list)

    def best(self, store: Store) -> Candidate | None:
        """The best configuration that ran to the end, the first of equals; None if none did."""
        whole = [c for c in self.tried if c.cut_at is None and not c.diverged(store)]
        return max(whole, key=lambda c: c.score(store).value, default=None)

    def edges(self, store: Store) -> list[Side]:
        """Where the best configuration lies on the edge of the grid; [] for other searches."""
        best = self.best(store)
        return edges(self.space, best.configuration) if best and self.space else []

    def widen(self, sides: Sequence[Side]) -> None:
        """Add the next value at these sides to the grid; its points are suggested next."""
        wider = widened(self.space, sides)
        if isinstance(self.suggester, Listed):
            self.suggester.left += added(self.space, wider)
        self.space = wider


def make_tuned(planned: Plan, settings: Search, row: Row) -> Tuned:
    """A row with its suggester. What the row sets itself is not searched."""
    space = {
        name: dimension
        for name, dimension in settings.space[row.method].items()
        if f"method.{name}" not in row.overrides
    }
    own = planned.patterns[planned.sweep.benches[0], row.label].method.values
    return Tuned(row, make_sampler(settings.algorithm, space, own, settings.seed, row.label), space)


def lazy_pool(request: SweepRequest, store: Store, stack: ExitStack) -> RunUntil:
    """Workers are started when there is something to train."""
    pools: list[Any] = []

    def run_until(configurations: Sequence[Sequence[Cell]], until: int) -> list[list[Outcome]]:
        if not pools:
            cells = (cell for configuration in configurations for cell in configuration)
            for line in check_weight_files(cell.backbone for cell in cells):
                log(f"weights: {line}")
            from sweeps.search.ray_configurations import ConfigurationPool

            workers = request.usable_workers()
            pools.append(stack.enter_context(ConfigurationPool(store, workers, request.execution)))
        found: list[list[Outcome]] = pools[0].run_until(configurations, until)
        return found

    return run_until


@dataclass
class Driver:
    """The rounds of one search."""

    request: SweepRequest
    settings: Search
    store: Store
    run_until: RunUntil
    command: str
    pause_s: float = 2.0
    crashes: Counter[str] = field(default_factory=Counter)

    def go(self, tuned: Sequence[Tuned]) -> None:
        """Spend every row's budget; widen a grid while a best rate lies on its edge.

        Raises UnfinishedError when cells fail but did not diverge.
        """
        self._spend(tuned)
        for again in range(self.settings.widen):
            sides = sorted({s for t in tuned for s in t.edges(self.store) if s[0] in RATES})
            if not sides:
                return
            told = ", ".join(f"{side} {name}" for name, side in sides)
            log(f"[widened {again + 1}/{self.settings.widen}] best on the edge: {told}")
            for t in tuned:
                t.widen(sides)
            self._spend(tuned)

    def _spend(self, tuned: Sequence[Tuned]) -> None:
        """Try what the suggesters have to suggest, within the budget."""
        learns = self.settings.algorithm == "tpe"
        # a grid knows its end
        budget = MANY if self.settings.algorithm == "grid" else self.settings.budget
        left = {id(t): budget for t in tuned}
        while True:
            batches: list[tuple[Tuned, list[Candidate]]] = []
            for t in tuned:
                size = min(self.settings.batch, left[id(t)]) if learns else left[id(t)]
                asked = t.suggester.ask(size) if size else []
                left[id(t)] = left[id(t)] - len(asked) if asked else 0
                if asked:
                    batch = [make_candidate(self.request.sweep, t.row, c) for c in asked]
                    t.tried += batch
                    batches.append((t, batch))
            if not batches:
                return
            self._keep_list(tuned)
            self._one_round(batches)
            for t, batch in batches:
                t.suggester.tell([candidate.score(self.store) for candidate in batch])
            self._keep_list(tuned)

    def _one_round(self, batches: Sequence[tuple[Tuned, list[Candidate]]]) -> None:
        whole = [candidate for _, batch in batches for candidate in batch]
        tasks = whole[0].tasks
        rungs = rung_tasks(tasks) if self.settings.early_stopping else []
        for until in [*rungs, tasks]:
            alive = [c for c in whole if c.cut_at is None and not c.diverged(self.store)]
            self._train(alive, until)
            if until == tasks:
                continue
            for t, batch in batches:
                self._rung(t, [c for c in batch if c in alive], until)

    def _rung(self, tuned: Tuned, batch: Sequence[Candidate], task: int) -> None:
        """Compare at one task index; cut what does not pass."""
        for candidate in batch:
            if candidate.reached(task, self.store):
                accuracy = candidate.accuracy_after(task, self.store)
                candidate.rungs |= {} if accuracy is None else {task: accuracy}
        for candidate in losers(batch, tuned.tried, task, self.settings.keep):
            candidate.cut(task, self.request.sweep.name, self.store)
            log(f"[cut] {candidate.label}  {percent(candidate.rungs[task])} after {task} tasks")

    def _train(self, candidates: Sequence[Candidate], until: int) -> None:
        """Bring every candidate to the end of task `until`, or to its divergence."""
        while True:
            todo = [
                c
                for c in candidates
                if not c.reached(until, self.store) and not c.diverged(self.store)
            ]
            if not todo:
                return
            outcomes = self.run_until([c.cells for c in todo], until)
            wrong = [o for found in outcomes for o in found if self._hopeless(o)]
            for candidate in todo:
                self._log_end(candidate, until)
            if wrong:
                raise UnfinishedError(wrong)
            if all(o.status == "busy" for found in outcomes for o in found):
                time.sleep(self.pause_s)  # another search on this store trains them

    def _hopeless(self, outcome: Outcome) -> bool:
        if outcome.status == "crashed":
            self.crashes[outcome.cell_id] += 1
            return self.crashes[outcome.cell_id] > policy_for(CRASH).retries
        return outcome.status == "failed" and outcome.cause != DIVERGED

    def _log_end(self, candidate: Candidate, until: int) -> None:
        if candidate.diverged(self.store):
            log(f"[diverged] {candidate.label}")
        elif candidate.reached(until, self.store):
            accuracy = candidate.accuracy_after(until, self.store)
            at = f"task {until}/{candidate.tasks}"
            log(f"{candidate.label}  {at}  accuracy so far {percent(accuracy)}")

    def _keep_list(self, tuned: Sequence[Tuned]) -> None:
        """For `status` and for tables of the tuning cells; cut ones are none."""
        listed = {
            p.cell.id: p
            for t in tuned
            for c in t.tried
            if c.cut_at is None and not c.diverged(self.store)
            for p in c.planned()
        }
        write_list(self.store, self.request.sweep.name, self.command, list(listed.values()))
