"""Ray inside one allocation: SLURM starts this on every node; the first one is the head.

Everything of the cluster is this job's own: its port and folder come from the job's number, its
token is drawn for this start and readable by this user alone, and its processes are children that
are ended by pid. `ray stop` would end every Ray of this user on the machine: never used here.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmJobEnvironment

from cluster.node.job import Job, StopFlag, here
from cluster.node.job_store import TRIES
from cluster.node.node_check import UNFIT
from cluster.node.slurm_task import CANNOT_TRAIN, cells_left, fit, settle, start_again
from cluster.record.submission import Events, Submission
from janus import atomic_files
from janus.errors import ClusterError, JanusError
from sweeps.execution import cleanup
from sweeps.execution.ray_settings import OBJECT_STORE_BYTES

DRIVER_ENDED = "the driver ended"
HEAD_DIED = "Ray's head died"

JOIN_S = 180.0
"""How long nodes may take to find each other."""


@dataclass
class RayTask:
    """Callable for submitit, started once on each node of the allocation."""

    folder: str

    def __call__(self) -> dict[str, Any]:
        """Be the head with its driver, or a worker node, until the driver ends.

        Exits with `UNFIT` where this node cannot train, as `SlurmTask` does. Where Ray's head died
        (the kernel's out-of-memory killer, say), the job is requeued. The head exits with 1 when
        its driver did not end well.
        """
        submission = Submission(Path(self.folder))
        job, stop = here(), StopFlag().install()
        place = SlurmJobEnvironment()
        name = f"{job.label}-node{place.node}"
        events = Events(submission.events / f"{name}.jsonl", job=job.label, node=job.node)
        events.note("task", index=place.node, code=submission.record["code"], pid=os.getpid())
        node = Node(submission, job, place.node, list(place.hostnames), stop)
        if not fit(submission, events):
            node.refuse()
            events.note("end", why=CANNOT_TRAIN)
            sys.exit(UNFIT)
        try:
            why = node.run(events)
        except JanusError as error:
            why = str(error)
        finally:
            node.close()
        if stop() and place.node == 0:
            why = settle(submission, job, stop.signal, events)
        elif place.node == 0 and why == HEAD_DIED and cells_left(submission):
            why = start_again(submission, job, HEAD_DIED, why, events)
        events.note("end", why=why)
        if place.node == 0 and why != DRIVER_ENDED and not stop():
            sys.exit(1)
        return {"why": why}


class Node:
    """One node's part of the cluster."""

    def __init__(
        self, submission: Submission, job: Job, rank: int, names: list[str], stop: StopFlag
    ) -> None:
        self.submission, self.job, self.rank, self.names = submission, job, rank, names
        self.stop = stop
        self.shared = submission.folder / "ray" / job.label
        self.shared.mkdir(parents=True, exist_ok=True)
        self.temporary: Path | None = None
        """For Ray's sockets and logs; the same path on every node, private on each."""
        self.children: list[subprocess.Popen[bytes]] = []

    def run(self, events: Events) -> str:
        """Returns why this node's part ended."""
        own = self._meet()
        events.note("address", address=own)
        return self._head(own, events) if self.rank == 0 else self._worker(own)

    def refuse(self) -> None:
        """Tell the other nodes that this one cannot train, so that they do not wait for it."""
        record = {"node": self.job.node}
        atomic_files.replace(
            self.shared / f"unfit-{self.rank}.json", atomic_files.json_writer(record)
        )

    def close(self) -> None:
        """End every child by pid, and remove the temporary folder."""
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + 10
        for child in reversed(self.children):
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if self.temporary is not None:
            cleanup.remove(self.temporary)

    # ---- finding each other --------------------------------------------------------------------
    def _meet(self) -> str:
        """This node's address as the others see it: a host's own name often means the loopback."""
        if len(self.names) == 1:
            return socket.gethostbyname(self.names[0])
        seen = {n: socket.gethostbyname(n) for k, n in enumerate(self.names) if k != self.rank}
        atomic_files.replace(self.shared / f"seen-{self.rank}.json", atomic_files.json_writer(seen))
        witness = 1 if self.rank == 0 else 0
        told = self._wait_for(self.shared / f"seen-{witness}.json")
        return str(told[self.names[self.rank]])

    def _wait_for(self, path: Path) -> dict[str, Any]:
        deadline = time.monotonic() + JOIN_S
        while (found := atomic_files.read_json(path)) is None:
            if self.stop():
                raise ClusterError(f"stopped by {self.stop.signal} while nodes met")
            if any(self.shared.glob("unfit-*.json")):
                raise ClusterError("another node of the allocation cannot train, see its check")
            if time.monotonic() > deadline:
                raise ClusterError(f"a node of the allocation did not come: no {path} after 180 s")
            time.sleep(0.2)
        return dict(found)

    # ---- the two kinds of node -----------------------------------------------------------------
    def _head(self, own: str, events: Events) -> str:
        port = free_port(own, int(self.job.id))
        place = short_folder()
        cleanup.clear(place)
        self.temporary = Path(tempfile.mkdtemp(prefix=cleanup.PREFIX, dir=place))
        cleanup.mark_owner(self.temporary)
        token = self.shared / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self._ray(own, "--head", f"--port={port}", "--include-dashboard=false")
        wait_for_port(own, port, self.stop)
        record = {"address": f"{own}:{port}", "folder": str(self.temporary)}
        atomic_files.replace(self.shared / "head.json", atomic_files.json_writer(record))
        events.note("head", **record)
        for again in reversed(range(TRIES)):
            ended = self._drive(record["address"], events)
            if not ended or self.stop():
                break
            events.note("driver-died", status=ended, again=bool(again))
        atomic_files.replace(self.shared / "over.json", atomic_files.json_writer({"status": ended}))
        if ended == 0:
            return DRIVER_ENDED
        return HEAD_DIED if ended is None else f"the driver ended with status {ended}"

    def _drive(self, address: str, events: Events) -> int | None:
        """Run the sweep's driver; its exit status, None when Ray's head died before it ended."""
        driver = subprocess.Popen(
            [sys.executable, "-u", "-m", f"{__package__}.ray_driver", str(self.submission.folder)],
            env=self._environment() | {"RAY_ADDRESS": address},
            start_new_session=True,
        )
        self.children.append(driver)
        events.note("driver", pid=driver.pid)
        told = False
        while driver.poll() is None and self.children[0].poll() is None:
            time.sleep(0.2)
            if self.stop() and not told:
                told = True
                events.note("signal", signal=self.stop.signal)
                driver.terminate()
        return driver.poll()

    def _worker(self, own: str) -> str:
        head = self._wait_for(self.shared / "head.json")
        address, folder = head["address"], Path(head["folder"])
        cleanup.clear(folder.parent)
        if make_private(folder):
            self.temporary = folder
            cleanup.mark_owner(folder)
        while not (self.shared / "over.json").exists() and not self.stop():
            ray = self._ray(own, f"--address={address}")
            while ray.poll() is None and not self.stop():
                time.sleep(0.5)
                if (self.shared / "over.json").exists():
                    return DRIVER_ENDED
            self.children.remove(ray)
            time.sleep(1)  # Ray died here: join again
        return f"stopped by {self.stop.signal}" if self.stop() else DRIVER_ENDED

    def _ray(self, own: str, *words: str) -> subprocess.Popen[bytes]:
        """`ray start` in the foreground. It may print an error and still exit with 0."""
        profile = self.submission.profile
        gpus = profile.gpus if profile.device != "cpu" else 0
        # Ray opens its own folder to every user (0777); the one around it is ours alone (0700)
        head = [f"--temp-dir={self.temporary}/r"] if "--head" in words else []
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words, *head),
                *(f"--node-ip-address={own}", "--disable-usage-stats"),
                *(f"--num-cpus={profile.cpus}", f"--num-gpus={gpus}"),
                *("--min-worker-port=0", "--max-worker-port=0"),
                f"--object-store-memory={OBJECT_STORE_BYTES}",
            ],
            env=self._environment(),
            start_new_session=True,
        )
        self.children.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.shared / "token"),
            # a node that is gone is noticed within seconds
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "5",
        }


def short_folder() -> Path:
    """Where Ray's folder goes: its sockets need a short path."""
    usual = tempfile.gettempdir()
    return Path(usual if len(usual) <= 30 else "/tmp")


def make_private(folder: Path) -> bool:
    """Make `folder` for this user alone; False when it is there already (nodes that share /tmp).

    Ray on a worker node takes the path of the head's. Raises ClusterError when the folder that is
    there could be read or changed by another user.
    """
    try:
        folder.mkdir(mode=0o700)
        return True
    except FileExistsError:
        found = folder.lstat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700:
            return False
        raise ClusterError(
            f"{folder} on {socket.gethostname()} belongs to another user or is open to others; "
            "Ray will not be started in it. Remove it, or set TMPDIR in the profile's setup"
        ) from None


def free_port(host: str, job: int) -> int:
    """A port that follows from the job's number; the next one where it is taken."""
    for step in range(100):
        port = 20000 + (job * 20 + step) % 10000
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise ClusterError(f"no free port for Ray on {host}")


def wait_for_port(host: str, port: int, stop: StopFlag) -> None:
    """Return when somebody listens. Raises ClusterError after JOIN_S seconds."""
    deadline = time.monotonic() + JOIN_S
    while True:
        try:
            socket.create_connection((host, port), 1.0).close()
            return
        except OSError:
            if stop() or time.monotonic() > deadline:
                raise ClusterError(f"Ray's head did not start on {host}:{port}") from None
            time.sleep(0.2)
