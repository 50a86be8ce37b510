"""What the open cells of a sweep will cost, from what finished cells took on this hardware.

Any finished cell in the store counts, whichever sweep it came from: first those of the same row,
then those of the same method on the same bench, scaled by epochs and images; what was never
measured is taken as the average of the rest, and said so. No torch here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import JanusError
from janus.machine.devices import cpu_name, gpu_names
from janus.store.store import Store
from sweeps.estimate.memory_fit import cells_that_fit, shape
from sweeps.spec.by_status import CellsByStatus
from sweeps.spec.plan import Plan, PlannedCell

SAMPLES = 16
"""Finished cells of a row that are looked at."""
OTHERS = 2000
"""Finished cells outside the sweep that are looked at, when rows of it were never measured."""

Key = tuple[str, str]
"""Bench and row."""


@dataclass(frozen=True)
class Forecast:
    """What is left to do, as far as it can be told before."""

    cells: int
    training_s: float
    """Seconds inside runs, added over workers."""
    wall_s: float
    side_by_side: int
    """Cells trained at a time."""
    device: str
    """Name of the processor or GPU that this is a forecast for."""
    disk_bytes: int
    """What the store will grow by."""
    free_bytes: int
    scaled: int = 0
    """Rows known only from other settings of the same method and bench."""
    guessed: int = 0
    """Rows never measured, taken as the average."""
    elsewhere: tuple[str, ...] = ()
    """Other hardware, where this one was never measured."""
    together: Mapping[str, int] = field(default_factory=dict)
    """{row: cells that fit on one GPU}, where its memory was measured."""


@dataclass(frozen=True)
class Measured:
    """One finished (or timed) cell."""

    seconds: float
    device: str
    bytes: int = 0
    fit: int | None = None


def make_and_keep(
    planned: Plan, cells: CellsByStatus, store: Store, workers: int, device: str
) -> Forecast | None:
    """As `forecast`, written down in the store."""
    made = forecast(planned.entries, cells, store, workers, device)
    if made is not None:
        keep_forecast(store, planned.name, made)
    return made


def forecast(
    entries: Sequence[PlannedCell],
    cells: CellsByStatus,
    store: Store,
    workers: int,
    device: str = "auto",
) -> Forecast | None:
    """The forecast, or None when nothing comparable was ever finished, or nothing is left.

    `entries`: all cells of the sweep; `cells`: the same by what the store knows of them.
    """
    done = set(cells.done)
    left = [p for p in entries if p.cell.id not in done and p.cell.id not in cells.damaged]
    gpus = gpu_names() if device != "cpu" else []
    here = gpus[0] if gpus else cpu_name()
    patterns = _by_row(entries)
    found = {key: _own(cells, done, store) for key, cells in patterns.items()}
    scaled = _from_others(patterns, {k for k, v in found.items() if not v}, done, store)
    every_row = {key: v or scaled.get(key, []) for key, v in found.items()}
    known = {key: _here(v, here) for key, v in every_row.items() if v}
    if not known or not left:
        return None
    seconds = {key: fmean(m.seconds for m in v) for key, v in known.items()}
    usual = fmean(seconds.values())
    each = [seconds.get(_key(p), usual) for p in left]
    every = [m for v in known.values() for m in v]
    together = {key[1]: m.fit for key, v in known.items() for m in v if m.fit}
    room = len(gpus) * min(together.values(), default=1) if gpus else workers
    side = max(1, min(workers, room))
    wanted = {_key(p) for p in left}
    return Forecast(
        cells=len(left),
        training_s=sum(each),
        wall_s=max(sum(each) / side, max(each)),
        side_by_side=side,
        device=here,
        disk_bytes=int(len(left) * fmean(m.bytes for m in every)),
        free_bytes=shutil.disk_usage(_existing(store.root)).free,
        scaled=len(wanted & {k for k in known if not found[k]}),
        guessed=len(wanted - set(known)),
        elsewhere=tuple(sorted({m.device for m in every} - {here, ""})),
        together=together,
    )


def unmeasured(planned: Plan, cells: CellsByStatus, store: Store) -> list[PlannedCell]:
    """The first cell of each row that no finished or timed cell tells anything about."""
    done = set(cells.done)
    patterns = _by_row(planned.entries)
    unknown = {key for key, cells in patterns.items() if not _own(cells, done, store)}
    scaled = _from_others(patterns, unknown, done, store)
    return [patterns[key][0] for key in patterns if key in unknown and not scaled.get(key)]


def keep_step_time(store: Store, cell: Cell, record: Mapping[str, Any]) -> None:
    """Write down what two steps of a cell took, for later forecasts."""
    atomic_files.replace(_step_time_path(store, cell), atomic_files.json_writer(dict(record)))


def keep_forecast(store: Store, name: str, made: Forecast) -> None:
    """Write down a forecast, to be compared with what the sweep takes; where that can be written.

    Looking at a sweep never needs to write.
    """
    with suppress(OSError, JanusError):
        atomic_files.replace(
            _path(store, name), atomic_files.json_writer({"forecast": asdict(made)})
        )


def kept(store: Store, name: str) -> Forecast | None:
    """The forecast that was made last, before training."""
    facts: Any = atomic_files.read_record(_path(store, name)).get("forecast")
    try:
        made = Forecast(**facts | {"elsewhere": tuple(facts["elsewhere"])})
        return made if made.cells > 0 and made.training_s > 0 and made.wall_s > 0 else None
    except (KeyError, TypeError):  # there is none, or the file is damaged
        return None


def keep_outcome(store: Store, name: str, cells: int, training_s: float, wall_s: float) -> None:
    """Write what the sweep really took beside the forecast, where that can be written."""
    record = atomic_files.read_record(_path(store, name))
    record["took"] = {"cells": cells, "training_s": training_s, "wall_s": wall_s}
    with suppress(OSError, JanusError):
        atomic_files.replace(_path(store, name), atomic_files.json_writer(record))


def _path(store: Store, name: str) -> Path:
    return store.root / "sweeps" / "forecasts" / f"{name}.json"


def _step_time_path(store: Store, cell: Cell) -> Path:
    return store.root / "sweeps" / "probes" / f"{shape(cell)}.json"


def _key(entry: PlannedCell) -> Key:
    return entry.cell.bench.name, entry.row


def _by_row(entries: Sequence[PlannedCell]) -> dict[Key, list[PlannedCell]]:
    """{(bench, row): its cells}, which should take equally long."""
    found: dict[Key, list[PlannedCell]] = {}
    for entry in entries:
        found.setdefault(_key(entry), []).append(entry)
    return found


def _own(cells: Sequence[PlannedCell], done: set[str], store: Store) -> list[Measured]:
    """A sample of the row's finished cells, spread evenly; without any, its two steps."""
    ids = [p.cell.id for p in cells if p.cell.id in done]
    found = [_read(store, cell_id) for cell_id in ids[:: max(1, len(ids) // SAMPLES)]]
    if known := [m for m in found if m]:
        return known
    timed = _measured(atomic_files.read_record(_step_time_path(store, cells[0].cell)), 0)
    return [timed] if timed else []


def _from_others(
    patterns: Mapping[Key, Sequence[PlannedCell]],
    wanted: Iterable[Key],
    done: set[str],
    store: Store,
) -> dict[Key, list[Measured]]:
    """For rows without a finished cell: cells of the same bench, backbone and method, scaled."""
    cells = {key: patterns[key][0].cell for key in wanted}
    if not cells:
        return {}
    found: dict[Key, list[Measured]] = {}
    others = sorted(store.done())
    for cell_id in others[:: max(1, len(others) // OTHERS)]:
        record = atomic_files.read_record(store.run_dir(cell_id) / "cell.json")
        for key, cell in cells.items():
            factor = _scale(cell, record)
            if factor is not None and (one := _read(store, cell_id)):
                fit = one.fit if _as_large(cell, record) else None
                scaled = Measured(one.seconds * factor, one.device, one.bytes, fit)
                found.setdefault(key, []).append(scaled)
    return found


def _scale(cell: Cell, other: Mapping[str, Any]) -> float | None:
    """How much longer `cell` should take than a finished cell; None: not comparable."""
    try:
        for part in ("bench", "backbone", "method"):
            if other[part]["name"] != getattr(cell, part).name:
                return None
        images, before = cell.bench.train_per_class, other["bench"]["train_per_class"]
        if (images is None) != (before is None):
            return None
        factor = cell.train.epochs / float(other["train"]["epochs"])
        return factor * (images / before if images and before else 1.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # its cell.json is damaged
        return None


def _as_large(cell: Cell, other: Mapping[str, Any]) -> bool:
    """Whether a comparable cell passes as many images at a time, at the same precision."""
    train, before = cell.train, other["train"]
    mine = (train.batch_size, train.accumulate, train.precision)
    return mine == (before["batch_size"], before.get("accumulate", 1), before["precision"])


def _read(store: Store, cell_id: str) -> Measured | None:
    record = store.provenance(cell_id) or {}
    run, result = store.run_dir(cell_id), store.result_path(cell_id)
    files = [*run.rglob("*"), result]
    return _measured(record, sum(p.stat().st_size for p in files if p.is_file()))


def _measured(record: Mapping[str, Any], size: int) -> Measured | None:
    """What a provenance, or the record of two steps, says; None: nothing, or it is damaged."""
    seconds = atomic_files.number(record, "seconds", -1.0)
    if seconds < 0:
        return None
    numerics = record.get("numerics")
    last = numerics[-1] if isinstance(numerics, list) and numerics else None
    device = str(last.get("device", "")) if isinstance(last, dict) else ""
    names = ("peak_memory_bytes", "device_memory_bytes")
    peak, memory = (int(atomic_files.number(record, name)) for name in names)
    return Measured(
        seconds, device, size, cells_that_fit(peak, memory) if peak and memory else None
    )


def _here(found: Sequence[Measured], device: str) -> list[Measured]:
    """The measurements made on this hardware; all of them if there are none."""
    return [m for m in found if m.device == device] or list(found)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
