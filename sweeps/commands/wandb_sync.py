"""`sync`: bring Weights & Biases up to date with a sweep in the store.

Cells that nothing was logged of (trained before, or tracking failed) are first written from their
results, so that W&B shows the whole sweep. Then every run that waits on disk is uploaded, many
side by side, by wandb's own command. What was uploaded carries wandb's mark beside its file, which
is the only sign of success: `wandb sync` ends with status 0 when it could not upload, too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from janus.config.cell import cell_from_dict
from janus.errors import ConfigError
from janus.store.store import Store
from janus.tracking.wandb_account import has_key, mode
from janus.tracking.wandb_tracker import Tracking, is_complete
from sweeps.show.console import log, print_line
from sweeps.spec.cell_list import read_list
from sweeps.spec.sweep_file import SweepRequest

SIDE_BY_SIDE = 8
"""Runs that one process uploads at a time."""
PROCESSES = 4
BATCH = 32
"""Runs that a process is given: starting it takes a second or two."""
QUIET_S = 60.0
"""A file of a finished cell that was written to later than this ago may still be in use."""
WRITING_S = 600.0
"""For the last of the cells that are written from their results."""

Upload = Callable[[Sequence[Path]], str]
"""Uploads run folders; returns what wandb said."""


@dataclass(frozen=True)
class Waiting:
    """The folders of one run that are not uploaded."""

    cell_id: str
    folders: tuple[Path, ...]

    def left(self) -> bool:
        """Whether any of the folders is not uploaded yet."""
        return not all(map(is_uploaded, self.folders))


def sync(request: SweepRequest, command: str) -> int:
    """The action: write what is missing, upload what waits."""
    store = Store(request.store)
    record = read_list(store, request.sweep.name, command)
    if not has_key():
        raise ConfigError(
            "no W&B key here: run `wandb login`, or set WANDB_API_KEY; then the same command again"
        )
    if mode() != "online":
        raise ConfigError(f"WANDB_MODE is {mode()}: unset it to upload")
    return bring_up_to_date(store, record, wandb_sync)


def bring_up_to_date(store: Store, record: Mapping[str, Any], upload: Upload) -> int:
    """Write, upload, and say what was done; 0, or 3 when something could not be uploaded."""
    written = write_missing(store, record)
    if written:
        print_line(f"wrote {written} finished cells that were not tracked")
    waiting = find_waiting(store, (cell["id"] for cell in record["cells"]))
    if not waiting:
        print_line(f"W&B is up to date with {record['name']}: nothing waits in {store.root}")
        return 0
    said = upload_all(waiting, upload)
    left = [run for run in waiting if run.left()]
    print_line(f"uploaded {len(waiting) - len(left)} of {len(waiting)} runs")
    for run in left[:5]:
        log(f"  not uploaded: {run.folders[-1]}")
    if left:
        log(f"  wandb said: {said or 'nothing'}\nthe same command tries again")
    return 3 if left else 0


def write_missing(store: Store, record: Mapping[str, Any]) -> int:
    """Write offline runs of finished cells that have no complete one; how many."""
    done, tracking = store.done(), Tracking({"WANDB_MODE": "offline"})
    folders = {entry["id"]: store.run_dir(entry["id"]) for entry in record["cells"]}
    todo = {i for i, folder in folders.items() if i in done and not is_complete(folder)}
    todo -= {i for i in todo if _in_use(folders[i])}
    try:
        for entry in record["cells"]:
            if entry["id"] not in todo:
                continue
            result = store.result(entry["id"]) or {}
            about = {"sweep": record["name"], "row": entry.get("row")}
            with tracking.observe(cell_from_dict(result["cell"]), store, about) as tracker:
                assert tracker is not None
                tracker.replay(result, store.provenance(entry["id"]) or {})
            tracking.wait_for_backlog()
    finally:
        tracking.close(WRITING_S)
    return sum(is_complete(folders[cell_id]) for cell_id in todo)


def _in_use(folder: Path) -> bool:
    """Whether the tracker of a cell that has just finished may still be at work."""
    newest = max((file.stat().st_mtime for file in _files(folder)), default=0.0)
    return time.time() - newest < QUIET_S


def find_waiting(store: Store, cell_ids: Iterable[str]) -> list[Waiting]:
    """Runs with folders that are not uploaded, oldest folder first; not those being trained.

    Once a run went online, its earlier offline folders are left: all of it was sent anew.
    """
    found = []
    for cell_id in cell_ids:
        folder = store.run_dir(cell_id)
        files = sorted(_files(folder), key=lambda file: file.parent.name.removeprefix("offline-"))
        online = [i for i, file in enumerate(files) if not _is_offline(file.parent)]
        folders = [file.parent for file in files[online[-1] if online else 0 :]]
        waits = tuple(folder for folder in folders if not is_uploaded(folder))
        if waits and _is_quiet(store, cell_id, folder):
            found.append(Waiting(cell_id, waits))
    return found


def _files(folder: Path) -> list[Path]:
    return list(folder.glob("wandb/*run-*/run-*.wandb"))


def _is_offline(folder: Path) -> bool:
    return folder.name.startswith("offline-")


def _is_quiet(store: Store, cell_id: str, folder: Path) -> bool:
    """Whether no file of the folder was written to lately: one that grows after its upload would be
    marked as uploaded without its end.
    """
    status = store.status(cell_id)
    if status == "done":
        return is_complete(folder) or not _in_use(folder)
    return status != "running" and not _in_use(folder)


def is_uploaded(folder: Path) -> bool:
    """Whether wandb has marked every file of a run's folder."""
    return all(file.with_suffix(".wandb.synced").exists() for file in folder.glob("run-*.wandb"))


def upload_all(waiting: Sequence[Waiting], upload: Upload) -> str:
    """Upload in batches, some side by side; what was said where something is left."""
    batches = [waiting[i : i + BATCH] for i in range(0, len(waiting), BATCH)]

    def work(batch: Sequence[Waiting]) -> str:
        said = upload([folder for run in batch for folder in run.folders])
        done = sum(not run.left() for run in batch)
        log(f"  {done} of {len(batch)} uploaded")
        return said if done < len(batch) else ""

    with ThreadPoolExecutor(PROCESSES) as pool:
        return next(filter(None, pool.map(work, batches)), "")


def wandb_sync(folders: Sequence[Path]) -> str:
    """Upload with `wandb sync`, which sends the folders of one run in the order of their start."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "-n", str(SIDE_BY_SIDE)]
    done = subprocess.run(
        [*command, *map(str, folders)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return " / ".join(done.stdout.strip().splitlines()[-3:])
