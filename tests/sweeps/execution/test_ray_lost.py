"""A process of Ray that dies under a sweep: noticed within seconds, and the sweep goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from janus.store.store import Store

pytestmark = pytest.mark.slow


def more_tasks(tiny: list[str]) -> list[str]:
    """Cells of twenty tasks: they last until somebody has interfered."""
    return [*(word for word in tiny if not word.startswith("bench.tasks=")), "bench.tasks=20"]


def child(driver: int, name: str) -> int | None:
    """The process called `name` that the driver started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text()
        except OSError:
            continue
        command, _, rest = state.partition("(")[2].rpartition(")")
        if command == name and int(rest.split()[1]) == driver and rest.split()[0] != "Z":
            return int(entry.name)
    return None


def until(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_sweep_goes_on_when_a_process_of_ray_is_killed(
    name: str, store: Store, tiny: list[str]
) -> None:
    words = ["methods=[seqlora]", "orders=4", *more_tasks(tiny), "workers=1"]
    driver = subprocess.Popen(
        [sys.executable, "-m", "sweeps", "run", "smoke", *words, f"store={store.root}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: store.done() or driver.poll() is not None, 200, "a first result")
        victim = child(driver.pid, name)
        assert victim is not None, "the sweep had ended already"
        os.kill(victim, signal.SIGKILL)
        out, _ = driver.communicate(timeout=300)
    finally:
        if driver.poll() is None:
            driver.kill()
    assert f"Ray's {name} died" in out, out
    assert "state-dump" not in out and "Traceback" not in out, out
    assert driver.returncode == 0, out
    assert len(store.done()) == 4
