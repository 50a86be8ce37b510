"""Hundreds of command lines, right and wrong, over every entry point.

Each ends in time with a documented status and no traceback, a refusal is in words, and what was
typed reaches the cells or is named. The lines are drawn in `command_lines.py`.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from analysis import compare, paper
from analysis import report as page
from cluster import __main__ as cluster
from docs.figures import __main__ as figures
from janus import __main__ as janus
from janus.config.execution import OPTIONS, SWEEP_OPTIONS
from janus.config.overrides import PATH_KEYS
from janus.data import __main__ as data
from janus.weights import __main__ as weights_command
from sweeps import __main__ as sweeps
from sweeps.commands import run as sweeps_run
from sweeps.execution.rounds import Tally
from sweeps.search import search
from sweeps.spec.plan import plan
from sweeps.spec.sweep_file import load_sweep
from tests.analysis.conftest import FakeStore, add_methods
from tests.command_lines import Line, draw, make, prepare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 30
"""Longest that a refusal may take, and a plan of what the lines ask for, on a busy machine."""

PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    "janus": lambda words: janus.run_command(list(words)),
    "data": data.run_command,
    "weights": weights_command.run_command,
    "sweeps": sweeps.run_command,
    "cluster": cluster.run_command,
    "compare": compare.main,
    "report": page.main,
    "paper": paper.main,
    "docs": figures.main,
}
MODULES = {
    "janus": ["-m", "janus"],
    "data": ["-m", "janus.data"],
    "weights": ["-m", "janus.weights"],
    "sweeps": ["-m", "sweeps"],
    "cluster": ["-m", "cluster"],
    "compare": [str(ROOT / "analysis/compare.py")],
    "report": [str(ROOT / "analysis/report.py")],
    "paper": [str(ROOT / "analysis/paper.py")],
    "docs": ["-m", "docs.figures"],
}
STATUSES = {
    "janus": {0, 1, 2},
    "sweeps": {0, 2, 3, 130},
    "cluster": {0, 2, 3},
    "compare": {0, 2, 3},
    "report": {0, 2, 3},
    "paper": {0, 2, 3},
    "docs": {0, 1, 2},
}
"""Documented ones; 0 and 2 elsewhere."""

MEND = re.compile(
    r"Did you mean|Known: |must |[Ww]rite |[Gg]ive |[Nn]ame |choose |use |at least|python -m"
    r"|keep one|invalid choice|the following arguments|unrecognized arguments|expected |leave it"
    r"|usage|store=DIR|move it away|retry|run it|needs|only |takes |another|no more|look with"
    r"|such as|as in|save it as|get it so|see docs|means",
)
"""Words by which a message says what to do; counted."""


class TooLongError(BaseException):
    """A command did not end in time."""


@dataclass
class Ended:
    """How a command line ended."""

    line: Line
    status: object
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        shown = [word if len(word) < 60 else word[:50] + "..." for word in self.line.words]
        return f"{self.line.entry} {shown!r} ({self.line.kind}): {self.status}; {self.err[-300:]!r}"


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(line: Line) -> Ended:
    """Run a command line in this process, with the streams that a terminal would give it."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    began, status = time.monotonic(), "?"  # type: tuple[float, object]
    try:
        with redirect_stdout(out), redirect_stderr(err), _limit(LIMIT_S):
            status = PROGRAMS[line.entry](line.words)
    except SystemExit as error:
        status = error.code if error.code is not None else 0
    except TooLongError:
        status = "too long"
    except BaseException as error:  # what a user would see as a traceback
        status = f"traceback: {error!r}"[:200]
    seconds, texts = time.monotonic() - began, []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Ended(line, status, texts[0], texts[1], seconds)


# ---- was what was typed dropped? -----------------------------------------------------------------
SAME_AMOUNT = {"04:00:00": "240", "4h": "240", "a100:1": "1"}
"""Values of a profile as people write them, and the number that is meant."""


def shows(value: Any, text: str) -> bool:
    """Whether a value of a cell is what was typed."""
    if str(value) == text:  # a path, as it is
        return True
    text = text.strip()
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    if call_of := re.fullmatch(r"(int|float|str)\((.*)\)", bare):
        bare = call_of[2]
    if isinstance(value, bool) or value is None:
        return bare.lower() in {str(value).lower(), "null" if value is None else ""}
    if isinstance(value, int | float):
        try:
            return math.isclose(float(bare), float(value))
        except ValueError:
            return False
    if isinstance(value, Mapping):
        return str(dict(value)).replace("'", "") == bare
    if isinstance(value, list | tuple):
        return [str(v) for v in value] == re.findall(r"[^\[\], ]+", bare)
    if str(value) in (bare, str(Path(bare).expanduser()), bare.strip("[]")):
        return True
    try:  # a text that reads like a number
        return math.isclose(float(bare), float(value))
    except ValueError:
        return False


def at(cell: Mapping[str, Any], key: str) -> list[Any]:
    """The values that a dotted key can be seen by in a cell."""
    part, _, name = key.partition(".")
    if part not in (*cell, "eval"):
        return []
    if part in ("order", "seed"):
        return [cell[part], cell.get("own_order")]
    if part == "eval":
        return [cell["bench"]["eval"]]
    if not name:
        return [cell[part]["name"]]
    if part == "method":
        return [cell["method"]["values"].get(name, "absent")]
    if (part, name) == ("bench", "tasks"):
        return [cell["bench"]["tasks"], cell["bench"].get("task_sizes")]
    return [cell[part].get(name, "absent")]


def dropped_by_cell(ended: Ended) -> list[str]:
    """Typed keys that an accepted `python -m janus --dry` neither shows nor names."""
    try:
        cell = json.loads(ended.out)
    except ValueError:
        return []  # --help, --list
    execution = {key for key in ended.line.typed if key in OPTIONS}
    return [
        key
        for key, text in ended.line.typed.items()
        if key not in execution
        and not any(shows(value, text) for value in at(cell, key))
        and key not in ended.err
    ]


def dropped_by_sweep(line: Line, words: Sequence[str]) -> list[str]:
    """Typed keys that the cells of an accepted sweep do not hold and no note names."""
    request = load_sweep(line.words[1], words)
    cells = [asdict(planned.cell) for planned in plan(request.sweep).entries]
    told = " ".join(plan(request.sweep).notes)
    missing = []
    for key, text in line.typed.items():
        if key in told or line.kind == "any":
            continue
        if "." in key or key in ("backbone", "eval"):
            choices = [*re.findall(r"[^\[\](), ]+", text), text]
            seen = all(any(shows(v, one) for v in at(c, key) for one in choices) for c in cells)
        elif key in ("orders", "seeds"):
            found = {c[key.removesuffix("s")] for c in cells}
            seen = not re.fullmatch(r"\d+", text) or len(found) == int(text)
        elif key == "store":
            seen = request.store == Path(text).expanduser().resolve()
        elif key == "keep":
            seen = request.execution.keep == text
        elif key == "workers":
            seen = shows(request.workers, text)
        elif key in SWEEP_OPTIONS:
            seen = shows(getattr(request.execution, key), text)
        else:
            continue
        if not seen:
            missing.append(key)
    return missing


def dropped(ended: Ended) -> list[str]:
    """Typed keys that an accepted command forgot."""
    line = ended.line
    if line.entry == "janus":
        return dropped_by_cell(ended)
    if line.entry == "sweeps" and line.typed:
        return dropped_by_sweep(line, line.words[2:])
    if line.entry == "cluster" and line.typed:
        wanted = cluster.parse_submission(
            "smoke", [w for w in line.words[2:] if w not in ("--dry", "--failed")]
        )
        profile = [key for key in line.typed if key.startswith("profile.")]
        if profile:
            return [
                key
                for key in profile
                if not shows(
                    getattr(wanted.profile, key.partition(".")[2]),
                    SAME_AMOUNT.get(line.typed[key], line.typed[key]),
                )
            ]
        words = [word for word in line.words[2:] if not word.startswith(("--", "cluster="))]
        return dropped_by_sweep(line, words)
    return []


# ---- the test ------------------------------------------------------------------------------------
@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Line], Path]:
    """A current folder with a store of four cells; training is left out."""
    monkeypatch.setattr(sweeps_run, "_train", lambda *_: (Tally(), 1))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search.Driver, "go", stop)
    for name in ("WANDB_API_KEY", "RAY_ADDRESS", "DRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    number = iter(range(10**6))
    made = tmp_path / "made"
    add_methods(FakeStore(made))

    def enter(line: Line) -> Path:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        if line.entry not in ("janus", "data"):
            shutil.copytree(made, folder / "runs")
        prepare(folder, line)
        monkeypatch.chdir(folder)
        return folder

    return enter


def faults(ended: Ended) -> list[str]:
    """What is wrong with how a command line ended."""
    line, found = ended.line, []
    if ended.status not in STATUSES.get(line.entry, {0, 2}):
        found.append(f"status {ended.status}")
    if "Traceback (most recent" in ended.out + ended.err:
        found.append("traceback is printed")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", (ended.out + ended.err).replace("\r\n", "")):
        found.append("control characters are printed")
    if ended.status == 2:
        if not ended.err.strip():
            found.append("refused without a word")
        elif "usage:" not in ended.err and len(ended.err.strip().splitlines()) > 4:
            found.append("more than four lines")
    if line.kind == "good" and ended.status == 2 and line.entry != "janus":
        found.append("a good line is refused")
    if ended.status == 0 and (doubled := given_twice(line)):
        found.append(f"given twice, and one dropped silently: {doubled}")
    if ended.status == 0 and (forgotten := dropped(ended)):
        found.append(f"dropped silently: {', '.join(forgotten)}")
    return found


def given_twice(line: Line) -> str:
    """A key that the line gives two values."""
    seen: dict[str, str] = {}
    for key, equals, value in (word.partition("=") for word in line.words):
        if equals and seen.setdefault(key, value) != value:
            return key
    return ""


def names_it(ended: Ended) -> bool:
    """Whether a refusal names what is wrong."""
    wrong = ended.line.wrong
    value = ended.line.typed.get(wrong, "")
    return any(w and (w in ended.err or repr(w)[1:-1] in ended.err) for w in (wrong, value))


def test_no_command_line_ends_in_a_traceback_or_is_obeyed_in_part(
    room: Callable[[Line], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, began = draw(), time.monotonic()
    assert len(lines) >= 500
    wrong: list[str] = []
    all_ended: list[Ended] = []
    for line in lines:
        room(line)
        ended = call(line)
        all_ended.append(ended)
        wrong += [f"{fault}: {ended}" for fault in faults(ended)]
    refused = [e for e in all_ended if e.status == 2]
    nameable = [e for e in refused if e.line.wrong]
    named = [e for e in nameable if names_it(e)]
    mended = [e for e in refused if MEND.search(e.err)]
    good = [e for e in all_ended if e.line.kind == "good"]
    accepted = [e for e in good if e.status != 2]
    with capsys.disabled():
        entries = Counter(e.line.entry for e in all_ended)
        slow = max(all_ended, key=lambda e: e.seconds)
        sys.stdout.write(
            f"\n{len(lines)} command lines in {time.monotonic() - began:.0f} s: "
            f"{', '.join(f'{name} {n}' for name, n in entries.items())}\n"
            f"  {len(refused)} refused; the message names the wrong word in {len(named)} of "
            f"{len(nameable)}, and says what to do in {len(mended)} of {len(refused)}\n"
            f"  {len(accepted)} of {len(good)} good lines accepted; slowest {slow.seconds:.1f} s: "
            f"{slow.line.entry} {' '.join(slow.line.words)[:80]!r}\n  faults: {len(wrong)}\n"
        )
        if os.environ.get("SHOW_MESSAGES"):
            for ended in {id(e): e for e in [*nameable, *refused]}.values():
                if (ended.line.wrong and not names_it(ended)) or not MEND.search(ended.err):
                    sys.stdout.write(f"UNNAMED {ended}\n")
    assert not wrong, f"{len(wrong)} faults\n" + "\n".join(wrong)
    assert len(accepted) >= 0.9 * len(good)
    assert len(named) >= 0.97 * len(nameable)
    assert len(mended) >= 0.95 * len(refused)


def sample() -> list[Line]:
    """Some lines of every entry point, and those of make."""
    by_entry: dict[str, list[Line]] = {}
    for line in draw():
        by_entry.setdefault(line.entry, []).append(line)
    return [line for found in by_entry.values() for line in found[:: len(found) // 2]][:20] + list(
        make(20)
    )


def test_the_same_holds_for_processes_of_their_own(tmp_path: Path) -> None:
    wrong = []
    for number, line in enumerate(sample()):
        folder = tmp_path / str(number)
        folder.mkdir()
        prepare(folder, line)
        program = [sys.executable, *MODULES.get(line.entry, ())]
        words = list(line.words)
        if line.entry == "make":  # at the project's root, and nothing is installed
            program = ["make", "-C", str(ROOT), "-o", ".venv/.ready", f"STORE={folder / 'runs'}"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
        done = subprocess.run(
            [*program, *words],
            cwd=folder,
            env=env,
            capture_output=True,
            timeout=60,
            check=False,
        )
        text = (done.stdout + done.stderr).decode(errors="replace")
        good = {0} if line.kind == "good" else STATUSES.get(line.entry, {0, 2})
        if done.returncode not in good or "Traceback (most recent" in text:
            wrong.append(f"{line.entry} {words}: {done.returncode} {text[-300:]}")
    assert not wrong, "\n".join(wrong)


def test_paths_are_among_what_is_drawn() -> None:
    drawn = {key for line in draw() for key in line.typed}
    assert drawn & set(PATH_KEYS)
