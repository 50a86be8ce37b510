"""`python -m tests.parity.mutants [WORD ...]`: small faults in the product, and which are seen.

Each fault of the lists in `faults_*.py` is put into a temporary copy of the product, one at a time;
the cases that it names run on that copy until one differs. A fault is seen when one does, or when
the copy raises. First every named case runs on an unchanged copy, where all must agree. Some
changes are no faults, and say why: those must not be seen. Exit code 1 where it is otherwise, or
where a text to replace is not found.

WORD: only faults whose file or cases hold one of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import sklearn.cluster
import timm
import torch

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 300
"""Seconds for a case, many times what it takes."""
EQUAL, SEEN, RAISED = 0, 1, 2
"""How a forked run of cases ended."""


@dataclass(frozen=True)
class Fault:
    """One change of the product's source, and the cases that ought to see it."""

    file: str
    """Relative to the folder `janus`."""
    old: str
    """Stands there once; or as often as `times` says, then all are replaced."""
    new: str
    cases: tuple[str, ...]
    """Exact names."""
    times: int = 1
    equal: str = ""
    """Why it changes nothing but rounding: then it must not be seen, and counts apart."""

    def __str__(self) -> str:
        return f"{self.file}: {shown(self.old)} -> {shown(self.new)}"


def shown(text: str) -> str:
    """One short line."""
    line = " ".join(text.split())
    return line if len(line) < 60 else line[:57] + "..."


def faults(words: Sequence[str]) -> list[Fault]:
    """All lists, in the order of their files' names."""
    found: list[Fault] = []
    for path in sorted(Path(__file__).parent.glob("faults_*.py")):
        found += import_module(f"{__package__}.{path.stem}").FAULTS
    text = [f"{fault.file} {' '.join(fault.cases)}" for fault in found]
    return [f for f, t in zip(found, text, strict=True) if not words or any(w in t for w in words)]


def copy_product(to: Path) -> None:
    """The package without its data files and caches, which are linked or left out."""
    shutil.copytree(
        ROOT / "janus", to / "janus", ignore=shutil.ignore_patterns("__pycache__", "assets")
    )
    (to / "janus" / "data" / "assets").symlink_to(ROOT / "janus" / "data" / "assets")


def forked(folder: Path, names: Sequence[str], tell: bool = False) -> int:
    """Run the cases in a child process that imports the product from `folder`."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S * len(names))  # a fault may never end
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(folder))
        code = RAISED
        try:
            code = run_cases(names, tell)
        except Exception:
            if tell:
                traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else RAISED


def run_cases(names: Sequence[str], tell: bool) -> int:
    """EQUAL, or SEEN at the first case that differs."""
    from tests.parity.frame import BOUND, all_cases, check

    torch.set_num_threads(1)
    known = {case.name: case for case in all_cases()}
    for name in names:
        errors = check(known[name])
        if not max(errors.values()) <= BOUND:
            if tell:
                print(name, {k: f"{v:.0e}" for k, v in errors.items()})
            return SEEN
    return EQUAL


def main(words: list[str]) -> int:
    """Try every fault; 1 where one is not seen, or one that changes nothing is."""
    assert "janus" not in sys.modules, "children must import their own copy"
    assert sklearn.cluster and timm  # imported once, before the children are forked
    chosen, seen, wrong = faults(words), 0, list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_product(folder)
        named = list(dict.fromkeys(case for fault in chosen for case in fault.cases))
        if forked(folder, named, tell=True) != EQUAL:
            print("a case differs on the unchanged product, or did not end")
            return 1
        for fault in chosen:
            began = time.monotonic()
            code = tried(folder, fault)
            seen += code in (SEEN, RAISED)
            word = {EQUAL: "not seen", SEEN: "seen", RAISED: "raises"}.get(code, "not found")
            if code != EQUAL if fault.equal else code not in (SEEN, RAISED):
                wrong.append(f"{word}: {fault}   by {', '.join(fault.cases)}")
            print(f"{word:<9} {time.monotonic() - began:5.1f} s  {fault}", flush=True)
    equal = [fault for fault in chosen if fault.equal]
    print(f"{seen} of {len(chosen) - len(equal)} faults seen; {len(equal)} change nothing:")
    for fault in equal:
        print(f"    {fault}   ({fault.equal})")
    print(*wrong, sep="\n")
    return min(len(wrong), 1)


def tried(folder: Path, fault: Fault) -> int:
    """How the cases end on the faulty copy; -1 where the text is not found as often as it says."""
    path = folder / "janus" / fault.file
    before = path.read_text()
    if before.count(fault.old) != fault.times:
        return -1
    path.write_text(before.replace(fault.old, fault.new))
    try:
        return forked(folder, fault.cases)
    finally:
        path.write_text(before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
