"""Ctrl-C, once or several times, at any moment of a sweep."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweeps.sweep_processes import processes

pytestmark = pytest.mark.slow


def more_tasks(tiny: list[str]) -> list[str]:
    """Cells of twenty tasks: they last until somebody has interfered."""
    return [*(word for word in tiny if not word.startswith("bench.tasks=")), "bench.tasks=20"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_ends_with_status_130_one_closing_line_and_nothing_left(
    times: int, tiny: list[str], tmp_path: Path
) -> None:
    draw = random.Random(times)
    tmp = Path(f"/tmp/ji{os.getpid()}{times}")
    tmp.mkdir(mode=0o700)
    words = ["methods=[seqlora]", "orders=3", *more_tasks(tiny), "workers=1"]
    words.append(f"store={tmp_path / 'store'}")
    driver = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "sweeps", "run", "smoke", *words],
        env={**os.environ, "TMPDIR": str(tmp)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp.glob("janus-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(draw.uniform(0.0, 4.0))
        for _ in range(times):
            os.kill(driver.pid, signal.SIGINT)
            time.sleep(draw.uniform(0.0, 0.7))
        out, _ = driver.communicate(timeout=120)
        assert driver.returncode == 130, out
        assert "Traceback" not in out, out
        assert out.count("stopped") == 1, out
        assert processes(str(tmp)) == {}
        assert list(tmp.iterdir()) == []
    finally:
        if driver.poll() is None:
            driver.kill()
        subprocess.run(["rm", "-rf", str(tmp)], check=True)
