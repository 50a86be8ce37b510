"""The process that talks to Weights & Biases, told what to log by lines of JSON on its input.

A process of its own, so that whatever happens to wandb, its service, the network or the disk
happens here: the trainer (`janus.tracking.wandb_tracker`) never waits for it. One process serves
the runs of one trainer in turn, because importing wandb takes longer than logging a run. It ends
when its input does, and on the first error, which it tells in one line.

The only file that imports wandb while a run is trained.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from janus.tracking import wandb_account
from janus.tracking.heat_map import draw
from janus.tracking.wandb_tracker import WARNING_PREFIX, child_processes

REACH_S = 4.0
"""Seconds that the server may take for its first answer."""
INIT_S = 30.0
"""Seconds to reach the server, if WANDB_INIT_TIMEOUT names none; then the run stays on disk."""
LAST_RUN_S = 60
"""Seconds that are left for the last run when the trainer is gone."""
HANDOVER_S = LAST_RUN_S + 15.0
"""Seconds that the process of an earlier attempt at the same run may take to end."""


class WandbRun:
    """One run at W&B, written in steps that only grow."""

    def __init__(self, message: Mapping[str, Any], mode: str) -> None:
        import wandb

        self.wandb = wandb
        folder = Path(message["folder"])
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        self.lock = hold_lock(folder / "wandb" / "writer.lock")
        # tables wait for their upload in this folder, by default in the home of this machine
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
        if mode == "online" and (why := unreachable()):
            warn(f"cannot reach the server: {why}; the run is kept offline")
            mode = "offline"
        self.last = last_step(folder) if mode == "offline" else -1
        try:
            self.run = self._init(message, mode)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            warn(f"cannot log in or reach the server: {error}; the run is kept offline")
            wandb.teardown()  # its service still holds the run of the failed start
            self.last = last_step(folder)
            self.run = self._init(message, "offline")
        if not self.run.offline:
            self.last = self.run.starting_step - 1
        for name in ("task", "train/position"):
            self.run.define_metric(name, hidden=True)
        self.run.define_metric("train/*", step_metric="train/position", step_sync=False)
        self.run.define_metric("*", step_metric="task", step_sync=False)

    def _init(self, message: Mapping[str, Any], mode: Any) -> Any:
        settings = self.wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,  # the code's state is in the provenance
            save_code=False,
            x_save_requirements=False,  # versions are in the provenance; listing them takes longer
            x_stats_pid=message["pid"],
            init_timeout=_init_timeout(mode),
        )
        return self.wandb.init(
            mode=mode,
            dir=message["folder"],
            id=message["id"],
            resume="allow" if mode == "online" else None,
            project=wandb_account.project(),
            settings=settings,
            **message["run"],
        )

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Add a row of the history unless it, or a later one, is there."""
        if step > self.last:
            self.run.log(dict(row), step=step, commit=True)
            self.last = step

    def matrix(self, step: int, columns: list[str | int], data: list[Any]) -> None:
        """The accuracy matrix, as a table and as a picture."""
        cells = {(row[0], row[1]): row[2] for row in data}
        images = {
            "accuracy_matrix": self.wandb.Table(columns=columns, data=data),
            "accuracy_heat_map": self.wandb.Image(draw(cells), caption="accuracy, %"),
        }
        self.log(step, images)

    def end(self, exit_code: int) -> None:
        """Close the run; online, this waits until all of it is uploaded."""
        online = not self.run.offline
        if online and (why := unreachable()):
            raise ConnectionError(f"{why}; `python -m sweeps sync` uploads the rest")
        file = Path(self.run.settings.sync_file)
        self.run.finish(exit_code=exit_code)
        if online and exit_code == 0:
            file.with_suffix(".wandb.synced").touch()  # as `wandb sync` marks what it uploaded
        self.lock.close()


def unreachable() -> str:
    """Why the server gives no answer within REACH_S seconds; '' when it gives any, even an error.

    wandb itself tries for much longer, and to finish an online run without a server without end.
    """
    import wandb

    url = str(wandb.setup().settings.base_url)  # of the environment or wandb's own files
    try:
        with urllib.request.urlopen(url, timeout=REACH_S):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        # whose certificates wandb trusts is its own affair
        return "" if isinstance(reason, ssl.SSLError) else f"{url}: {reason}"


def _init_timeout(mode: str) -> float:
    """Nobody waits for us: offline, where only a busy machine can be the cause, wait for long."""
    return float(os.environ.get("WANDB_INIT_TIMEOUT") or (INIT_S if mode == "online" else 600.0))


def hold_lock(lock: Path) -> IO[str]:
    """Hold `lock` until the answer is closed, or this process ends.

    A trainer that was killed may have left a process that still writes its last rows: whoever goes
    on with the run must see them all. Not waited for without end, and not at all where the file
    system knows no locks.
    """
    held, deadline = lock.open("w"), time.monotonic() + HANDOVER_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            break
        else:
            break
    return held


def last_step(folder: Path) -> int:
    """The last step that the files of earlier attempts hold; -1 for none."""
    found = [-1]
    for path in folder.glob("wandb/*run-*/run-*.wandb"):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            with contextlib.suppress(ValueError, KeyError):
                record = json.loads(line)
                if record["type"] == "history":
                    found.append(int(record["history"]["item"]["_step"]))
    return max(found)


def serve(lines: IO[str]) -> None:
    """Do what each line tells; leave no run open."""
    run: WandbRun | None = None
    mode = wandb_account.mode()
    for message in _messages(lines):
        match message["do"]:
            case "open":
                run = WandbRun(message, mode)
            case "log" if run:
                for step, row in message["rows"]:
                    run.log(step, row)
            case "summary" if run:
                run.run.summary.update(message["summary"])
            case "matrix" if run:
                run.matrix(message["step"], message["columns"], message["data"])
            case "close" if run:
                run.end(message["exit_code"])
                run = None
                if message["mark"]:
                    Path(message["mark"]).touch()
    signal.alarm(LAST_RUN_S)  # the trainer is gone: nobody is left to end a process that hangs
    if run:
        run.end(1)


def _messages(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.endswith("\n"):
            return  # the trainer was killed while it wrote
        yield json.loads(line)


def warn(what: str) -> None:
    """One line, which the trainer passes on as a warning."""
    sys.stderr.write(f"{WARNING_PREFIX}{' '.join(what.split())[:500]}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer
    with contextlib.suppress(OSError):
        os.nice(5)  # training goes first
    try:
        serve(sys.stdin)
    except ModuleNotFoundError as error:
        warn(f"{error}; install it with: pip install wandb")
    except Exception as error:  # one line instead of a traceback, whatever wandb raises
        warn(f"{type(error).__name__}: {error}")
    else:
        return 0
    for pid in child_processes(
        os.getpid()
    ):  # wandb's service would try to reach the server for ever
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(1)  # not through wandb's own exit hooks, which may wait for a service that is gone


if __name__ == "__main__":
    sys.exit(main())
