"""`python -m tests.slurm.start_up [TIMES]`: from submit to the first training step, in seconds.

One task on an idle virtual site, submitted a few times, each time to a new store; prints what each
start is made of.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.slurm.help import Login, wait
from tests.slurm.site import Site


def start_up(login: Login) -> dict[str, float]:
    """{part: seconds} of one submission, which is cancelled when it trains."""
    started = time.time()
    submission = login.submit("profile.tasks=1")
    submitted = time.time()
    wait(lambda: login.events(submission, "first-step"), 600, "training")
    at = {e["event"]: e["at"] for e in reversed(login.events(submission))}
    login.run("cancel")
    login.site.wait(lambda: login.site.idle() == len(login.site.nodes), 120, "the end")
    marks = [("submit", submitted), ("queue, start of Python", at["task"])]
    marks += [("check of the node", at["check"]), ("start of the worker", at["worker"])]
    marks += [("import of torch", at["ready"]), ("choice of a cell", at["cell"])]
    marks += [("timm, data, model, first step", at["first-step"])]
    parts, last = {}, started
    for name, moment in marks:
        parts[name], last = round(moment - last, 2), moment
    return {**parts, "in all": round(last - started, 2)}


def main(times: int) -> None:
    """Start a site, and measure."""
    folder = Path(tempfile.mkdtemp(prefix="start-"))
    try:
        with Site(folder / "site") as site:
            os.environ["SLURM_CONF"] = site.env["SLURM_CONF"]
            for number in range(times):
                (folder / f"home{number}").mkdir()
                login = Login(site, folder / f"home{number}", epochs=50)
                print(json.dumps(start_up(login)), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
