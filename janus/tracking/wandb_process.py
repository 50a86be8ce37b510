"""The separate process that logs runs to Weights & Biases. It reads JSON messages from stdin.

It is separate so that the trainer (`janus.tracking.wandb_tracker`) never waits for wandb, its
service, the network or the disk. One process logs the runs of one trainer one after another,
because importing wandb takes longer than logging a run. It ends when stdin is closed, or at the
first error, which it prints as one line.

No other module imports wandb while a run is trained.
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
from janus.tracking.heat_map import draw_accuracy
from janus.tracking.wandb_tracker import WARNING_PREFIX, child_processes

REACH_S = 4.0
"""Seconds to wait for the server's first answer."""
INIT_S = 30.0
"""Seconds to reach the server unless WANDB_INIT_TIMEOUT is set; after that the run is offline."""
LAST_RUN_S = 60
"""Seconds that this process has to finish the last run after the trainer has ended."""
HANDOVER_S = LAST_RUN_S + 15.0
"""Seconds to wait for the logging process of an earlier attempt at the same run to end."""


class WandbRun:
    """One run at W&B. Steps of its history only increase."""

    def __init__(self, message: Mapping[str, Any], mode: str) -> None:
        import wandb

        self.wandb = wandb
        folder = Path(message["folder"])
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        self.lock = hold_lock(folder / "wandb" / "writer.lock")
        # wandb stores tables here until they are uploaded; its default is the home folder
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
            wandb.teardown()  # wandb's service still holds the run whose start failed
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
            disable_git=True,  # the provenance holds the state of the code
            save_code=False,
            x_save_requirements=False,  # the provenance holds the versions; listing them is slow
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
        """Add a row to the history, unless a row of this or a later step exists."""
        if step > self.last:
            self.run.log(dict(row), step=step, commit=True)
            self.last = step

    def matrix(self, step: int, columns: list[str | int], data: list[Any]) -> None:
        """Log the accuracy matrix as a table and as a picture."""
        cells = {(row[0], row[1]): row[2] for row in data}
        images = {
            "accuracy_matrix": self.wandb.Table(columns=columns, data=data),
            "accuracy_heat_map": self.wandb.Image(draw_accuracy(cells), caption="accuracy, %"),
        }
        self.log(step, images)

    def end(self, exit_code: int) -> None:
        """Close the run. Online, this waits until everything is uploaded.

        Raises ConnectionError if the server cannot be reached.
        """
        online = not self.run.offline
        if online and (why := unreachable()):
            raise ConnectionError(f"{why}; `python -m sweeps sync` uploads the rest")
        file = Path(self.run.settings.sync_file)
        self.run.finish(exit_code=exit_code)
        if online and exit_code == 0:
            file.with_suffix(".wandb.synced").touch()  # as `wandb sync` marks what it uploaded
        self.lock.close()


def unreachable() -> str:
    """The reason why the server does not answer within REACH_S seconds; '' if it answers.

    Any answer counts, even an error. wandb itself would retry for much longer, and without a server
    it would never finish an online run.
    """
    import wandb

    url = str(wandb.setup().settings.base_url)  # from the environment or wandb's settings
    try:
        with urllib.request.urlopen(url, timeout=REACH_S):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        # wandb may trust other certificates, so this error decides nothing
        return "" if isinstance(reason, ssl.SSLError) else f"{url}: {reason}"


def _init_timeout(mode: str) -> float:
    """Seconds that wandb.init may take. Long if offline: only a busy machine can delay it then,
    and no trainer waits for this process."""
    return float(os.environ.get("WANDB_INIT_TIMEOUT") or (INIT_S if mode == "online" else 600.0))


def hold_lock(lock: Path) -> IO[str]:
    """Lock the file `lock`; the lock is held until the returned stream is closed.

    A killed trainer may have left a logging process that still writes its last rows, which the
    next attempt must find. Waits at most HANDOVER_S seconds, and not at all on a file system
    without locks.
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
    """The last step in the offline files of earlier attempts; -1 if there is none."""
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
    """Execute the message on each line; at the end of the input close a run that is still open."""
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
    signal.alarm(LAST_RUN_S)  # the trainer has ended and cannot stop a hanging process
    if run:
        run.end(1)


def _messages(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.endswith("\n"):
            return  # the trainer was killed while it wrote
        yield json.loads(line)


def warn(what: str) -> None:
    """Print one line, which the trainer shows as a warning."""
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
    except Exception as error:  # print one line instead of a traceback, whatever wandb raises
        warn(f"{type(error).__name__}: {error}")
    else:
        return 0
    for pid in child_processes(
        os.getpid()
    ):  # wandb's service would try to reach the server for ever
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(1)  # skips wandb's exit hooks, which may wait for a service that has ended


if __name__ == "__main__":
    sys.exit(main())
