"""Seconds and memory to load many made-up runs: `python -m tests.analysis.ten_thousand`.

Copies one result of real size under new identities and times the whole of compare.py, each time in
a process of its own: cold without the cache of reduced records, warm with it. The system's own
cache of files is warm in both. Not a test: it writes some hundred megabytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from janus import atomic_files, metrics
from janus.config.cell import canonical
from tests.analysis.conftest import FakeStore

REPO = Path(__file__).resolve().parents[2]
BLOCKS = [0.123456789 + i for i in range(12)]
DIAGNOSTICS = {
    **{f"violation_{what}": dict.fromkeys("kv", BLOCKS) for what in ("past", "past_raw", "span")},
    **dict.fromkeys(("basis_size", "captured", "grad_norm", "update_norm"), BLOCKS),
    "danger": 0.4,
    "own_centre": 0.6,
}
PROVENANCE = {
    "attempts": 1,
    "committed_at": 1795656845.2,
    "cpu": "a name",
    "git": {"dirty": False, "sha": "0" * 40},
    "gpus": [],
    "numerics": [{"device": "a name", "threads": 1, "timm": "1.0", "torch": "2.0"}],
    "packages": dict.fromkeys(("numpy", "ray", "safetensors", "timm", "torch"), "1.0.0"),
    "peak_memory_bytes": 2**30,
    "resumed_under_other_numerics": False,
    "seconds": 23.7,
    "seconds_per_task": [2.3] * 10,
}


def fill(root: Path, runs: int) -> None:
    """A store of `runs` results: 20 methods' worth of settings x orders x 5 seeds."""
    atomic_files._sync = lambda path: None
    fake = FakeStore(root)
    matrix = [[0.9] * (t + 1) for t in range(10)]
    cell = fake.add("janus", matrix, order="natural", bench__tasks=10)
    template = json.loads(fake.path(cell).read_text())
    template["class_order"] = list(range(100))
    template["diagnostics"] = [DIAGNOSTICS | {"task": t} for t in range(10)]
    for number in range(runs):
        order, rest = divmod(number, 100)
        seed, row = divmod(rest, 20)
        record = json.loads(json.dumps(template))
        for part in (record["cell"], record["identity"]):
            part["order"], part["seed"] = str(order), seed
            part["method"]["values"]["rank"] = 2 + row
        right = 600 + 10 * row + 2 * (order * 37 % 11) + seed
        record["correct"][-1] = [right] * len(record["total"])
        record["metrics"] = metrics.summarise(record["correct"], record["total"])
        record["id"] = hashlib.sha256(canonical(record["identity"]).encode()).hexdigest()[:16]
        path = fake.store.result_path(record["id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        attempt = fake.store.run_dir(record["id"]) / "attempts/000001"
        attempt.mkdir(parents=True)
        own = PROVENANCE | {"seconds": 20 + number / 1000}
        (attempt / "provenance.json").write_text(json.dumps(own))
        (attempt.parents[1] / "committed.json").write_text('{"attempt": 1}')
    fake.path(cell).unlink()


def timed(root: Path, cache: Path) -> str:
    """One run of compare.py: seconds, CPU seconds and the peak memory of all runs so far."""
    command = [sys.executable, str(REPO / "analysis/compare.py"), "--store", str(root)]
    command += ["--format", "csv", "--reference", "janus[rank=2]"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 20 * 3, "rows are missing"
    return f"{seconds:.1f} s (CPU {cpu:.1f} s, peak {used.ru_maxrss / 1024:.0f} MiB)"


def main() -> None:
    """Fill a store, compare twice, say what it took."""
    p = argparse.ArgumentParser()
    p.add_argument("--runs", type=int, default=10_000)
    p.add_argument("--keep", type=Path, help="fill this folder and leave it there")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch) / "runs"
        if not root.exists():
            root.mkdir(parents=True)
            fill(root, args.runs)
        for name in ("cold", "warm", "warm"):
            print(f"{args.runs} runs, {name}: {timed(root, Path(scratch) / 'cache')}")


if __name__ == "__main__":
    main()
