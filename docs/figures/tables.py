"""Tables of the documents: what `analysis/compare.py` prints, and what stands beside it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from analysis import compare
from analysis.runs import load
from docs.figures.records import Results
from janus.errors import ConfigError

Block = Callable[[], str]


def blocks_of(
    found: Mapping[str, Results], name: str, makers: Mapping[str, Callable[[Results], str]]
) -> dict[str, Block]:
    """The blocks of a sweep: `NAME protocol`, `NAME table`, ...; where its results are not there,
    each says so, and the first says what to do.
    """
    if name not in found:
        first, *rest = makers
        missing = {f"{name} {kind}": lambda: "*Not run at this revision.*" for kind in rest}
        return {f"{name} {first}": lambda: not_run(name), **missing}

    def bound(make: Callable[[Results], str]) -> Block:
        return lambda: make(found[name])

    return {f"{name} {kind}": bound(make) for kind, make in makers.items()}


def not_run(name: str) -> str:
    """What stands in place of figures that nobody has, with the commands that make them."""
    return (
        f"*Not run at this revision: `python -m sweeps run {name}`, then "
        f'`make docs ARGS="--store runs"`.*'
    )


def compared(results: Results, *options: str) -> str:
    """What `analysis/compare.py` prints of the sweep. Raises ConfigError where it refuses."""
    shown, said = io.StringIO(), io.StringIO()
    words = ["--store", str(results.store), "--sweep", results.name, *options]
    with redirect_stdout(shown), redirect_stderr(said):
        code = compare.main(words)
    if code != compare.COMPLETE:
        raise ConfigError(f"compare.py {' '.join(options)} on {results.name}: {said.getvalue()}")
    return shown.getvalue()


def table(*options: str) -> Callable[[Results], str]:
    """A block: the table as Markdown, with rows of another revision named below it."""

    def make(results: Results) -> str:
        return compared(results, "--format", "markdown", *options) + revision(results)

    return make


def revision(results: Results) -> str:
    """Which rows are not those that the sweep plans today; '' where all are."""
    out = ""
    if results.other:
        out += f"- Other cells than the sweep plans at this revision: {listed(results.other)}.\n"
    if results.absent:
        out += f"- Not run: {listed(results.absent)}.\n"
    return out


def protocol(results: Results) -> str:
    """One sentence: bench, images, epochs, orders, seeds, and what trained it."""
    run = results.some()
    bench, train = run.cell["bench"], run.cell["train"]
    orders, seeds = _span(r.order for r in _all(results)), _span(r.seed for r in _all(results))
    images = [
        f"{bench[field]} {noun} images a class"
        for field, noun in (("train_per_class", "training"), ("test_per_class", "test"))
        if bench.get(field) is not None
    ]
    parts = [
        f"`{bench['name']}`: {bench['classes']} classes in {bench['tasks']} tasks",
        *images,
        f"{train['epochs']} epochs a task, batches of {train['batch_size']}",
        f"orders {orders}, seed{'s' * (seeds != '0')} {seeds}",
        f"{sum(len(runs) for runs in results.rows.values())} cells",
    ]
    return f"{'; '.join(parts)}. Trained by commit {_commits(results)} with {_versions(results)}."


def _all(results: Results) -> list[Any]:
    return [run for runs in results.rows.values() for run in runs]


def _span(values: Any) -> str:
    found = sorted({int(v) if str(v).isdigit() else v for v in values}, key=str)
    numbers = sorted(v for v in found if isinstance(v, int))
    if len(numbers) == len(found) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers or found))


def _commits(results: Results) -> str:
    """Short commits, `+` behind those of a tree with uncommitted changes."""
    git = [load.provenance(run).get("git") or {} for run in _all(results)]
    shas = {str(g.get("sha") or "not recorded")[:8] + "+" * bool(g.get("dirty")) for g in git}
    return listed(sorted(shas))


def _versions(results: Results) -> str:
    found = [n for run in _all(results) for n in load.provenance(run).get("numerics") or ()]
    versions = sorted({f"torch {n.get('torch')} on {n.get('device')}" for n in found})
    return listed(versions) if versions else "versions not recorded"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def code(names: Sequence[str]) -> str:
    """Rows as code: '`a`, `b` and `c`'."""
    return listed([f"`{name}`" for name in names])


def span(results: Results, rows: Sequence[str], metric: str = "acc") -> str:
    """`65.05 (sd_lora_rr) to 68.10 (inflora)`: the lowest and the highest mean of these rows."""
    ranked = sorted(rows, key=lambda row: results.mean(row, metric))
    low, high = ranked[0], ranked[-1]
    if low == high:
        return f"{results.mean(low, metric):.2f} (`{low}`)"
    ends = (f"{results.mean(row, metric):.2f} (`{row}`)" for row in (low, high))
    return " to ".join(ends)


def signed(value: float) -> str:
    """A difference with its sign, to two decimals."""
    return f"{value:+z.2f}"
