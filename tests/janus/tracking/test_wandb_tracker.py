"""Tracked runs read back with wandb's own reader, and everything that may go wrong beside a run."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.runs import from_wandb
from janus.__main__ import run_command as command_line
from janus.methods.base.lora_method import LoraMethod
from janus.store.store import Store
from janus.tracking import wandb_tracker
from janus.tracking.wandb_tracker import Tracking, is_complete
from janus.training.loop import run_cell
from tests.conftest import TOY, toy_cell
from tests.janus.tracking.fake_wandb import serving
from tests.janus.training import apart

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow

LONG_S = 300.0
"""For trackers that are to finish, however busy the machine is."""


@pytest.fixture(autouse=True, scope="module")
def no_account(tmp_path_factory) -> Iterator[None]:
    """No test uses, or even sees, the W&B account of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "netrc"))
        yield


def files(store: Store, cell_id: str) -> list[Path]:
    return sorted(store.run_dir(cell_id).glob("wandb/*run-*/run-*.wandb"))


descendants = wandb_tracker.child_processes


def train(cell, store: Store, tracking: Tracking, about=None, **options):
    with tracking.observe(cell, store, about or {}) as tracker:
        return run_cell(cell, store, tracker, threads=1, **options)


# ---- what is logged ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Store:
    """Two cells, tracked by one process as in a worker of a sweep."""
    store, tracking = Store(tmp_path_factory.mktemp("tracked")), Tracking()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "janus.training.progress.REPORT_EVERY_S", 0.0
        )  # tasks of this size end within half a second
        for method in ("janus", "seqlora"):
            about = {"sweep": "smoke", "row": f"{method}[short]"}
            train(toy_cell(method), store, tracking, about)
    tracking.close(LONG_S)
    return store


def test_the_offline_file_holds_the_run_as_the_store_does(sweep):
    cell = toy_cell("janus")
    result = sweep.result(cell.id)
    (path,) = files(sweep, cell.id)
    found = from_wandb.inspect(path)
    assert (found.id, found.state) == (cell.id, "finished")
    assert found.settings["run_group"] == "smoke" and found.settings["job_type"] == "train"
    assert set(found.settings["tags"]) == {"glyphs", "janus", "smoke"}
    assert found.settings["display_name"] == "glyphs janus[short] order=natural seed=0"
    assert found.config["row"] == "janus[short]"
    assert found.summary["metrics"] == pytest.approx(result["metrics"])
    ends = [row for row in found.history if "accuracy" in row]
    assert [row["task"] for row in ends] == [0, 1, 2, 3]
    for t, row in enumerate(ends):
        for j, right in enumerate(result["correct"][t]):
            assert row[f"accuracy_on/{j:02d}"] == right / result["total"][j]
        assert row["accuracy"] == pytest.approx(
            sum(result["correct"][t]) / sum(result["total"][: t + 1])
        )
        told = result["diagnostics"][t].get("violation_past", {})
        for target, blocks in told.items():
            for block, value in enumerate(blocks):
                key = f"diagnostics/violation_past/{target}/{block:02d}"
                assert row[key] == pytest.approx(value)
    assert "diagnostics/violation_past/k/01" in ends[-1]
    steps = [row["_step"] for row in found.history]
    assert steps == sorted(set(steps))
    assert any("train/loss" in row for row in found.history)


def test_curves_are_drawn_over_tasks_and_the_machine_is_watched(sweep):
    found = from_wandb.inspect(files(sweep, toy_cell("janus").id)[0])
    assert found.axes["*"] == "task" and found.axes["train/*"] == "train/position"
    assert any("proc.memory.rssMB" in sample for sample in found.systems)


def test_the_matrix_is_there_as_a_table_and_as_a_picture(sweep):
    cell = toy_cell("janus")
    result, folder = sweep.result(cell.id), files(sweep, cell.id)[0].parent
    last = from_wandb.inspect(files(sweep, cell.id)[0]).history[-1]
    table = json.loads((folder / "files" / last["accuracy_matrix.path"]).read_text())
    where = {name: table["columns"].index(name) for name in table["columns"]}
    seen = {(r[where["after_task"]], r[where["on_task"]]): r for r in table["data"]}
    assert len(seen) == 10
    for (t, j), row in seen.items():
        assert row[where["correct"]] == result["correct"][t][j]
    picture = folder / "files" / last["accuracy_heat_map.path"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_files_of_a_run_lie_in_its_folder_and_nowhere_else(sweep):
    """Tables are staged for upload; by default in the home of the machine that trained."""
    for cell_id in sweep.done():
        (path,) = files(sweep, cell_id)
        staged = [line for line in _records(path) if line["type"] == "artifact"]
        assert staged
        for record in staged:
            for entry in record["artifact"]["manifest"]["contents"]:
                assert Path(entry["local_path"]).is_relative_to(sweep.run_dir(cell_id))
        assert is_complete(sweep.run_dir(cell_id))


def _records(path: Path) -> list[dict]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_compare_gives_the_same_table_from_the_store_and_from_wandb(sweep):
    def compare(option: str) -> str:
        columns = ["--columns", "acc,acc_taskmean,maa,bwt,forgetting,learning_acc,seconds,memory"]
        command = [sys.executable, str(ROOT / "analysis/compare.py"), option, str(sweep.root)]
        done = subprocess.run([*command, *columns], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    table = compare("--store")
    assert "seqlora" in table and "janus" in table
    assert compare("--wandb") == table


def test_a_tracked_run_has_the_same_bytes_and_id_as_any_other(sweep, tmp_path):
    cell, plain = toy_cell("janus"), Store(tmp_path)
    run_cell(cell, plain, threads=1)
    assert plain.result_path(cell.id).read_bytes() == sweep.result_path(cell.id).read_bytes()


# ---- resume --------------------------------------------------------------------------------------
def killed_in_the_third_task(root: Path, tracker_starts: bool) -> None:
    store, cell = Store(root), toy_cell("janus")
    original, calls = LoraMethod.loss, itertools.count(1)

    def loss(self, batch):
        if next(calls) == 27:
            if tracker_starts:
                wait_until(lambda: files(store, cell.id))
                time.sleep(1.0)  # and catches up
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, batch)

    LoraMethod.loss = loss
    train(cell, store, Tracking(), {"sweep": "smoke"})


def wait_until(true: Callable[[], object], patience_s: float = 120.0) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def trackers_of(root: Path) -> list[str]:
    """Command lines of processes that hold files below `root` open."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            held = [os.readlink(link) for link in (entry / "fd").iterdir()]
            if any(path.startswith(str(root)) for path in held):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def facts(history: list[dict]) -> list[dict]:
    """The rows at the ends of tasks without what depends on clocks."""
    return [
        {k: v for k, v in row.items() if not k.startswith("_") and k != "seconds"}
        for row in history
        if "accuracy" in row
    ]


@pytest.mark.parametrize("tracker_starts", [True, False])
def test_a_killed_run_that_goes_on_is_one_run_with_one_history(sweep, tmp_path, tracker_starts):
    """Offline, then uploaded by the real `wandb sync`; the killed attempt may have logged a part,
    or have died before its tracker had started."""
    status, told = apart.run(killed_in_the_third_task, tmp_path, tracker_starts)
    assert status == -signal.SIGKILL, told
    cell, store, tracking = toy_cell("janus"), Store(tmp_path), Tracking()
    train(cell, store, tracking, {"sweep": "smoke"})  # the killed one's tracker may still write
    tracking.close(LONG_S)
    wait_until(lambda: not trackers_of(tmp_path))  # either may come first; each ends by itself
    parts = [from_wandb.inspect(path) for path in files(store, cell.id)]
    assert len(parts) == 2 and {part.id for part in parts} == {cell.id}
    (run,) = from_wandb.read_offline(tmp_path)
    assert run.state == "finished" and len(run.curve) == 4
    joined = [row for part in parts for row in part.history]
    steps = [row["_step"] for row in joined]
    assert steps == sorted(set(steps)), "a row was written twice"
    assert facts(joined) == facts(from_wandb.inspect(files(sweep, cell.id)[0]).history)
    with serving() as server:
        folders = [str(path.parent) for path in files(store, cell.id)]
        upload(folders, server.environment)
        (uploaded,) = server.runs.values()
        assert [row["_step"] for row in uploaded.history()] == steps


def upload(folders: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "wandb", "sync", *folders]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})


def test_a_run_online_that_is_stopped_and_goes_on_is_one_run_at_the_server(sweep, tmp_path):
    cell, store = toy_cell("janus"), Store(tmp_path)
    with serving() as server:
        for until in (2, None):
            tracking = Tracking(server.environment)
            train(cell, store, tracking, {"sweep": "smoke"}, until_task=until)
            tracking.close(LONG_S)
        (name,) = server.runs
        run = server.runs[name]
    assert name == cell.id and run.exit_code == 0 and run.fields["groupName"] == "smoke"
    steps = [row["_step"] for row in run.history()]
    assert steps == sorted(set(steps))
    assert facts(run.history()) == facts(from_wandb.inspect(files(sweep, cell.id)[0]).history)
    assert run.summary()["metrics"] == pytest.approx(store.result(cell.id)["metrics"])
    assert is_complete(store.run_dir(cell.id))


def test_a_server_that_cannot_be_reached_leaves_the_run_on_disk(tmp_path, caplog):
    cell, store = toy_cell("ncm"), Store(tmp_path)
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    tracking = Tracking({**nowhere, "WANDB_INIT_TIMEOUT": "1"})
    assert train(cell, store, tracking) is not None
    tracking.close(LONG_S)
    assert "kept offline" in caplog.text
    (run,) = from_wandb.read_offline(tmp_path)
    assert run.state == "finished" and is_complete(store.run_dir(cell.id))


# ---- failure -------------------------------------------------------------------------------------
def test_a_missing_wandb_is_one_warning_with_the_remedy(tmp_path, caplog):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "wandb.py").write_text("raise ModuleNotFoundError('No module named wandb')")
    cell, store = toy_cell("ncm"), Store(tmp_path / "store")
    tracking = Tracking({"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"})
    assert train(cell, store, tracking) is not None
    tracking.close(LONG_S)
    assert caplog.text.count("pip install wandb") == 1
    assert not is_complete(store.run_dir(cell.id))


class Sabotage:
    """An observer that does something to the tracker's processes when the second task ends."""

    def __init__(self, tracker, act: Callable[[int], None]) -> None:
        self.tracker, self.act = tracker, act

    def notify(self, event, facts):
        if event == "task" and facts["task"] == 1:
            pid = self.tracker.child.process.pid
            wait_until(lambda: wandb_tracker.child_processes(pid))  # wandb's service has started
            time.sleep(1.0)
            self.act(pid)
        self.tracker.notify(event, facts)


def sabotaged(store: Store, tracking: Tracking, act: Callable[[int], None], cell=None) -> list[int]:
    """Train with sabotage; returns the processes that the tracker had."""
    cell, seen = cell or toy_cell("ncm"), []

    def then(pid: int) -> None:
        seen.extend([pid, *descendants(pid)])
        act(pid)

    with tracking.observe(cell, store, {}) as tracker:
        assert run_cell(cell, store, Sabotage(tracker, then), threads=1) is not None
    return seen


def running(pids: list[int]) -> list[int]:
    """Those that have not ended; one that is only not waited for has."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def test_a_dead_service_costs_a_warning_and_the_next_run_is_tracked_again(tmp_path, caplog):
    def kill_service(pid: int) -> None:
        for service in descendants(pid):
            os.kill(service, signal.SIGKILL)

    store, tracking = Store(tmp_path), Tracking()
    seen = sabotaged(store, tracking, kill_service)
    wait_until(lambda: not running(seen))
    assert "W&B:" in caplog.text
    after = toy_cell("ncm", seed=1)
    assert train(after, store, tracking) is not None
    tracking.close(LONG_S)
    assert is_complete(store.run_dir(after.id))
    assert not is_complete(store.run_dir(toy_cell("ncm").id))


def test_a_tracker_that_hangs_is_ended_when_the_run_is_over_and_nothing_is_left(tmp_path, caplog):
    def stop_all(pid: int) -> None:
        for each in [*descendants(pid), pid]:
            os.kill(each, signal.SIGSTOP)

    tracking = Tracking()
    seen = sabotaged(Store(tmp_path), tracking, stop_all)
    start = time.monotonic()
    tracking.close(patience_s=1.0)
    assert time.monotonic() - start < 60.0
    assert "not finished after 1 s" in caplog.text
    wait_until(lambda: not running(seen))


def test_a_full_disk_under_the_tracker_does_not_reach_the_run(tmp_path):
    """The kernel refuses files beyond 8 kB to the tracker and to what it starts."""
    store, tracking, cell = Store(tmp_path), Tracking(), toy_cell("ncm")
    child = tracking.child()
    resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (8_000, 8_000))
    assert train(cell, store, tracking) is not None
    tracking.close(10.0)
    assert store.status(cell.id) == "done"
    assert not running([child.process.pid, *descendants(child.process.pid)])


def test_a_failure_is_told_and_the_run_is_not_finished(tmp_path, monkeypatch):
    from janus.errors import RunError

    original = LoraMethod.loss
    nan = lambda self, batch: {"ce": original(self, batch)["ce"] * float("nan")}  # noqa: E731
    monkeypatch.setattr(LoraMethod, "loss", nan)
    cell, store, tracking = toy_cell("seqlora"), Store(tmp_path), Tracking()
    with pytest.raises(RunError):
        train(cell, store, tracking)
    tracking.close(LONG_S)
    found = from_wandb.inspect(files(store, cell.id)[0])
    assert found.state == "failed" and found.summary["failure"]["cause"] == "nan"


# ---- the command line ----------------------------------------------------------------------------
def test_the_command_line_tracks_when_asked_and_leaves_no_process(tmp_path, capsys):
    words = [f"{key}={value}" for key, value in TOY.items()]
    words += [f"store={tmp_path}", "threads=1", "device=cpu", "method=ncm"]
    before = descendants(os.getpid())
    assert command_line([*words, "tracker=wandb"]) == 0
    assert capsys.readouterr().out.startswith("ACC ")
    assert running([pid for pid in descendants(os.getpid()) if pid not in before]) == []
    (run,) = from_wandb.read_offline(tmp_path)
    assert run.id == toy_cell("ncm").id and run.state == "finished"
