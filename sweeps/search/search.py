"""`search`: find each row's best values on tuning cells, and write them as a sweep file.

Rounds of batches: every row asks its suggester for a batch, all of them are trained, the scores are
told. Everything is decided from what the store holds, in the order of the suggestions, so that the
same search on the same store comes to the same winners however often it was interrupted.
"""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import ConfigError
from janus.store.store import Store
from janus.tracking.terminal import percent
from janus.weights.resolve import check
from sweeps.execution.attempt import Outcome
from sweeps.execution.retry_policy import CRASH, policy
from sweeps.search.candidates import DIVERGED, Candidate, losers, make_candidate, rung_tasks
from sweeps.search.samplers import Suggester, make
from sweeps.search.winners import winners_text
from sweeps.show import texts
from sweeps.show.console import for_action, say, tell
from sweeps.spec.plan import Row, pattern, rows, write_list
from sweeps.spec.search_section import Search
from sweeps.spec.sweep_file import Request

RunUntil = Callable[[Sequence[Sequence[Cell]], int], list[list[Outcome]]]
"""Trains the cells of several configurations to the end of a task: see `lockstep.py`."""


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
    tried: list[Candidate] = field(default_factory=list)


def search(request: Request, command: str) -> int:
    """The action: search, then write the winners and say how to report them."""
    if request.search is None:
        raise ConfigError(
            f"{request.sweep.name} has no `search:` part, which says what to try; "
            "see docs/search.md"
        )
    store, plan = Store(request.store), request.search
    command = for_action(command, "search")
    tuned = [_tuned(request, plan, row) for row in rows(request.sweep)]
    tell(
        f"search {request.sweep.name}: {len(tuned)} rows x {plan.budget} configurations "
        f"({plan.algorithm}) x {len(request.sweep.pairs())} tuning cells; {store.root}"
    )
    try:
        with ExitStack() as stack:
            run_until = _lazy_pool(request, store, stack)
            Driver(request, plan, store, run_until, command).go(tuned)
    except KeyboardInterrupt:
        tell(f"stopped. Go on with: {command}")
        return 130
    except UnfinishedError as failed:
        titles = {c.id: x.label for t in tuned for x in t.tried for c in x.cells}
        why = {o.cell_id: (o.cause, o.message) for o in failed.outcomes}
        say(texts.failure_text(why, titles, len(why), command))
        return 3
    path = store.root / "sweeps" / f"{request.sweep.name}_winners.yaml"
    text = winners(request, plan, tuned, store)
    atomic_files.replace(path, lambda part: _write(part, text))
    say(text.rstrip("\n"))
    report_them = shlex.join(["python", "-m", "sweeps", "run", str(path), f"store={store.root}"])
    say(f"# report them on fresh orders and seeds: {report_them}")
    return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _tuned(request: Request, plan: Search, row: Row) -> Tuned:
    """What a row sets itself is not searched."""
    space = {
        name: dimension
        for name, dimension in plan.space[row.method].items()
        if f"method.{name}" not in row.overrides
    }
    own = pattern(request.sweep.benches[0], row, request.sweep.protocol).method.values
    return Tuned(row, make(plan.algorithm, space, own, plan.seed, row.label))


def _lazy_pool(request: Request, store: Store, stack: ExitStack) -> RunUntil:
    """Workers are started when there is something to train."""
    pools: list[Any] = []

    def run_until(configurations: Sequence[Sequence[Cell]], until: int) -> list[list[Outcome]]:
        if not pools:
            cells = (cell for configuration in configurations for cell in configuration)
            for line in check(cell.backbone for cell in cells):
                tell(f"weights: {line}")
            from sweeps.search.ray_configurations import ConfigurationPool

            workers = request.usable_workers()
            pools.append(stack.enter_context(ConfigurationPool(store, workers, request.execution)))
        found: list[list[Outcome]] = pools[0].run_until(configurations, until)
        return found

    return run_until


@dataclass
class Driver:
    """The rounds of one search."""

    request: Request
    plan: Search
    store: Store
    run_until: RunUntil
    command: str
    pause_s: float = 2.0
    crashes: Counter[str] = field(default_factory=Counter)

    def go(self, tuned: Sequence[Tuned]) -> None:
        """Spend every row's budget. Raises UnfinishedError when cells fail but did not diverge."""
        learns = self.plan.algorithm == "tpe"
        left = {id(t): self.plan.budget for t in tuned}
        while True:
            batches: list[tuple[Tuned, list[Candidate]]] = []
            for t in tuned:
                size = min(self.plan.batch, left[id(t)]) if learns else left[id(t)]
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
        rungs = rung_tasks(tasks) if self.plan.early_stopping else []
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
        for candidate in losers(batch, tuned.tried, task, self.plan.keep):
            candidate.cut(task, self.request.sweep.name, self.store)
            tell(f"[cut] {candidate.label}  {percent(candidate.rungs[task])} after {task} tasks")

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
                self._tell(candidate, until)
            if wrong:
                raise UnfinishedError(wrong)
            if all(o.status == "busy" for found in outcomes for o in found):
                time.sleep(self.pause_s)  # another search on this store trains them

    def _hopeless(self, outcome: Outcome) -> bool:
        if outcome.status == "crashed":
            self.crashes[outcome.cell_id] += 1
            return self.crashes[outcome.cell_id] > policy(CRASH).retries
        return outcome.status == "failed" and outcome.cause != DIVERGED

    def _tell(self, candidate: Candidate, until: int) -> None:
        if candidate.diverged(self.store):
            tell(f"[diverged] {candidate.label}")
        elif candidate.reached(until, self.store):
            accuracy = candidate.accuracy_after(until, self.store)
            at = f"task {until}/{candidate.tasks}"
            tell(f"{candidate.label}  {at}  accuracy so far {percent(accuracy)}")

    def _keep_list(self, tuned: Sequence[Tuned]) -> None:
        """For `status` and for tables of the tuning cells; cut ones are none."""
        planned = {
            p.cell.id: p
            for t in tuned
            for c in t.tried
            if c.cut_at is None and not c.diverged(self.store)
            for p in c.planned()
        }
        write_list(self.store, self.request.sweep.name, self.command, list(planned.values()))


def winners(request: Request, plan: Search, tuned: Sequence[Tuned], store: Store) -> str:
    """The sweep file that reports the best configuration of each row, with all scores as comments.

    Raises ConfigError when no configuration of a row ran to the end.
    """
    sweep, reported = request.sweep, plan.reported
    lines = [
        f"# Written by: python -m sweeps search {sweep.name}",
        f"# {plan.algorithm}, {plan.budget} configurations per row, mean validation ACC over "
        f"{len(sweep.pairs())} cells",
    ]
    chosen: dict[str, dict[str, dict[str, Any]]] = {}
    for t in tuned:
        best = _best(t, store)
        lines += [f"#   {_told(candidate, candidate is best, store)}" for candidate in t.tried]
        set_by_row = {
            key.removeprefix("method."): value
            for key, value in t.row.overrides.items()
            if key not in sweep.fixed
        }
        chosen.setdefault(t.row.method, {})[t.row.variant] = {**set_by_row, **best.configuration}
    blocks = reported.blocks or ((reported.orders, reported.seeds),)
    fixed = {key: value for key, value in sweep.fixed.items() if key not in ("eval", "bench.eval")}
    lines += [
        f"bench: {sweep.benches[0]}",
        f"protocol: {sweep.protocol}",
        f"blocks: {json.dumps([{'orders': o, 'seeds': s} for o, s in blocks])}",
        f"fixed: {json.dumps(fixed)}",
        *winners_text(chosen, sweep.orders, sweep.seeds),
    ]
    return "\n".join(lines) + "\n"


def _best(tuned: Tuned, store: Store) -> Candidate:
    whole = [c for c in tuned.tried if c.cut_at is None and not c.diverged(store)]
    if not whole:
        raise ConfigError(
            f"no configuration of {tuned.row.label} ran to the end; lower the rates in search.space"
        )
    return max(whole, key=lambda c: c.score(store).value)  # the first of equals


def _told(candidate: Candidate, best: bool, store: Store) -> str:
    score = candidate.score(store)
    if candidate.diverged(store):
        end = "diverged"
    elif score.cut_at is not None:
        end = f"cut after task {score.cut_at} at {100 * score.value:.2f}"
    else:
        end = f"{100 * score.value:.2f}"
    return f"{candidate.label}: {end}{'  <- best' if best else ''}"
