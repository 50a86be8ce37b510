"""The tracker for Weights & Biases: it hands events to a process of its own, which logs them.

Nothing here waits while a run is trained, and an error in that process is a warning here and no
more: what it did not log is in the store, from where `python -m sweeps sync` writes it.
`janus.tracking.wandb_rows` says what is logged.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import janus
from janus.config.cell import Cell
from janus.store.store import Store
from janus.tracking import wandb_rows

COMPLETE = "complete"
"""Name of the file in a run's `wandb` folder that marks a completely logged run."""

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""Seconds that the trainer waits at its end for the logging process to finish."""
WARNING_PREFIX = "tracker: "
"""Start of the lines that the logging process wants to be shown to the user."""
BACKLOG = 1000
"""Number of waiting messages above which messages that are not essential are dropped."""
ATTEMPTS = 3
"""Logging processes that may fail before tracking is switched off."""


class LoggingProcess:
    """A running logging process and the queue of messages to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = str(Path(janus.__file__).resolve().parent.parent)
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        everything = {
            "WANDB__SERVICE_WAIT": "300",  # a full machine is slow to start wandb's service
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "WANDB_ERROR_REPORTING": "false",  # no error reports to the makers of wandb
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "janus.tracking.wandb_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=everything,
            text=True,
            start_new_session=True,  # Ctrl-C on the terminal is for the trainer
        )
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for work in (self._write, self._listen):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: Mapping[str, Any], essential: bool = True) -> None:
        """Queue a message without waiting."""
        if essential or self.waiting.qsize() < BACKLOG:
            self.waiting.put(json.dumps(message) + "\n")

    def _write(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # the process has ended: `_listen` has logged why
            while (line := self.waiting.get()) is not None:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        with suppress(OSError):
            self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with suppress(OSError, ValueError):
            for line in self.process.stderr:
                ours = line.startswith(WARNING_PREFIX)  # other lines come from wandb itself
                text = line.removeprefix(WARNING_PREFIX).rstrip()
                log.log(logging.WARNING if ours else logging.INFO, "W&B: %s", text)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def close(self, patience_s: float) -> bool:
        """Wait for the process to end; kill it after `patience_s`. Returns whether it succeeded."""
        self.waiting.put(None)
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(patience_s) == 0
        log.warning("W&B: not finished after %.0f s; `sweeps sync` uploads the rest", patience_s)
        # kill the process before its service, whose end it would report as an error
        for pid in [self.process.pid, *child_processes(self.process.pid)]:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return False


def child_processes(ancestor: int) -> list[int]:
    """Process ids of all descendants of `ancestor`: wandb's service starts a monitor, for example.

    They have to be ended one by one, since they may not notice that their parent has ended.
    """
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
    found = [ancestor]
    for known in found:  # grows during the loop
        found += [pid for pid, parent in parents.items() if parent == known]
    return found[1:]


def is_complete(run_dir: Path) -> bool:
    """Whether a finished run was logged completely, by any of its attempts."""
    return (run_dir / "wandb" / COMPLETE).exists()


class WandbTracker:
    """The observer of one run. `about`: `sweep` and `row`, where the cell belongs to a sweep."""

    def __init__(
        self, tracking: Tracking, cell: Cell, store: Store, about: Mapping[str, Any]
    ) -> None:
        self.tracking, self.cell, self.about = tracking, cell, about
        self.folder = store.run_dir(cell.id)
        self.child: LoggingProcess | None = None
        self.sent = -1

    def notify(self, event: str, facts: Mapping[str, Any]) -> None:
        """Send what the event holds; before `start` there is no W&B run to send it to."""
        if event == "start":
            self._open(facts)
        if self.child is None:
            return
        if event in ("start", "task"):
            self._rows(facts)
        elif event == "step":
            self.child.send({"do": "log", "rows": [wandb_rows.progress_row(facts)]}, False)
        elif event == "failed":
            failure = {name: facts[name] for name in ("cause", "message", "task")}
            self.child.send({"do": "summary", "summary": {"failure": failure}})
        elif event == "done":
            self._finish(facts["result"], facts["provenance"])

    def _open(self, facts: Mapping[str, Any]) -> None:
        self.child = self.tracking.child()
        if self.child is None:
            return
        cell, sweep = facts["cell"], self.about.get("sweep")
        shown = wandb_rows.config(cell, self.cell.identity(), self.about)
        tuning = cell["bench"]["eval"] != "test"
        run = {
            "name": f"{shown['bench']} {shown['row']} order={shown['order']} seed={shown['seed']}",
            "group": sweep,
            "job_type": "tuning" if tuning else "train",
            "tags": [str(tag)[:64] for tag in (shown["bench"], shown["method"], sweep) if tag],
            "config": shown,
        }
        where = {"id": self.cell.id, "folder": str(self.folder), "pid": os.getpid()}
        self.child.send({"do": "open", "run": run, **where})

    def _rows(self, facts: Mapping[str, Any]) -> None:
        """Send the rows of finished tasks that were not sent yet."""
        assert self.child is not None
        rows = [(step, row) for step, row in wandb_rows.task_rows(facts) if step > self.sent]
        if rows:
            self.child.send({"do": "log", "rows": rows})
            self.sent = rows[-1][0]

    def _finish(self, result: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        assert self.child is not None
        columns, data = wandb_rows.matrix_table(result)
        step = len(result["correct"]) * wandb_rows.STEPS
        self.child.send({"do": "matrix", "step": step, "columns": columns, "data": data})
        summary = wandb_rows.summary(result, provenance)
        self.child.send({"do": "summary", "summary": summary})
        self._close(0)

    def _close(self, exit_code: int) -> None:
        if self.child is not None:
            mark = str(self.folder / "wandb" / COMPLETE) if exit_code == 0 else None
            self.child.send({"do": "close", "exit_code": exit_code, "mark": mark})
            self.child = None

    def replay(self, result: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Send a run that has finished, from the store."""
        seconds = {"seconds_per_task": provenance.get("seconds_per_task", [])}
        self.notify("start", {**result, **seconds})
        self.notify("done", {"result": result, "provenance": provenance})

    def end(self) -> None:
        """End the W&B run; one whose `done` was not sent counts as stopped."""
        self._close(1)


class Tracking:
    """The tracker. Its process is started with the first run and logs all of them."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment or {}
        """Environment variables of the logging process that differ from this process."""
        self._child: LoggingProcess | None = None
        self._failed = 0

    def child(self) -> LoggingProcess | None:
        """A running logging process; starts one if needed. None after too many failures."""
        if self._child is not None and not self._child.alive():
            self._failed += 1
            self._child = None
        if self._child is None and self._failed < ATTEMPTS:
            self._child = LoggingProcess(self._environment)
        return self._child

    @contextmanager
    def observe(
        self, cell: Cell, store: Store, about: Mapping[str, Any] | None
    ) -> Iterator[WandbTracker | None]:
        """Context manager that gives an observer of one run; None if `about` is None."""
        if about is None:
            yield None
            return
        tracker = WandbTracker(self, cell, store, about)
        try:
            yield tracker
        finally:
            tracker.end()

    def wait_for_backlog(self, backlog: int = 20) -> None:
        """Wait until at most `backlog` messages are waiting; for replaying many runs."""
        while self._child and self._child.alive() and self._child.waiting.qsize() > backlog:
            time.sleep(0.02)

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Wait at most `patience_s` for messages not logged yet, then end the process."""
        if self._child is not None:
            self._child.close(patience_s)
            self._child = None
