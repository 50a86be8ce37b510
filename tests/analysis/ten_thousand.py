"""Seconds and memory to load many made-up runs: `python -m tests.analysis.ten_thousand`.

Copies one real-looking result under new identities, cold (no cache) and warm, each in a process
of its own. Not a test: it writes some hundred megabytes.
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

from janus import atomic
from janus.config import canonical
from tests.analysis.conftest import FakeStore

REPO = Path(__file__).resolve().parents[2]
DIAGNOSTICS = {"violation_past_raw": {k: [0.1] * 12 for k in "kv"}, "basis_size": [99] * 12}


def fill(root: Path, runs: int) -> None:
    """A store of `runs` results: 20 methods' worth of settings x orders x 5 seeds."""
    atomic._sync = lambda path: None
    fake = FakeStore(root)
    matrix = [[0.9] * (t + 1) for t in range(10)]
    cell = fake.add("janus", matrix, order="natural", bench__tasks=10)
    template = json.loads(fake.path(cell).read_text())
    source = fake.store.run_dir(cell.id)
    template["diagnostics"] = [DIAGNOSTICS | {"task": t} for t in range(10)]
    provenance = (source / "attempts/000001/provenance.json").read_text()
    for number in range(runs):
        order, rest = divmod(number, 100)
        seed, row = divmod(rest, 20)
        record = json.loads(json.dumps(template))
        for part in (record["cell"], record["identity"]):
            part["order"], part["seed"] = str(order), seed
            part["method"]["values"]["rank"] = 2 + row
        record["metrics"]["acc"] = 0.6 + row / 100 + (order * 37 % 11) / 500 + seed / 1000
        record["id"] = hashlib.sha256(canonical(record["identity"]).encode()).hexdigest()[:16]
        path = fake.store.result_path(record["id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        attempt = fake.store.run_dir(record["id"]) / "attempts/000001"
        attempt.mkdir(parents=True)
        (attempt / "provenance.json").write_text(provenance)
        (attempt.parents[1] / "committed.json").write_text('{"attempt": 1}')
    fake.path(cell).unlink()


def timed(root: Path, cache: Path) -> str:
    """One run of compare.py: seconds and peak memory."""
    command = [sys.executable, str(REPO / "analysis/compare.py"), "--store", str(root)]
    command += ["--format", "csv", "--reference", "janus[rank=2]"]
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss / 1024
    assert done.returncode == 0, done.stderr
    return f"{seconds:.1f} s (CPU of all so far {used.ru_utime:.1f} s, peak {peak:.0f} MiB)"


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
