"""Start and stop the virtual site: munge, controller and nodes, each ended by its own pid.

A node is a process-id, host-name and mount namespace of its own, so killing its first process is a
power cut: the daemon and every job process of the node die at once. Needs root and the packages
of `PACKAGES`; everything it writes lies in one folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm import conf

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
"""Debian packages; installed by `.ci/run`."""

INIT = """
mount --bind "$ROOT/etc/hosts.$NODE" /etc/hosts
hostname "$NODE"
# a folder that looks the same on every node and on the login host, and is not
mount -t tmpfs -o size=64m tmpfs "$ROOT/private"
slurmd -D -N "$NODE" -f "$SLURM_CONF" &
# the node outlives its daemon, as a machine does
while :; do wait; sleep 1; done
"""


def missing() -> str:
    """Why the site cannot be started here; '' when it can."""
    if os.getuid() != 0:
        return "the virtual SLURM needs root"
    tools = ("munged", "slurmctld", "slurmd", "sbatch", "unshare")
    absent = [tool for tool in tools if shutil.which(tool) is None]
    packages = " ".join(PACKAGES)
    return f"no {', '.join(absent)}: apt-get install {packages}" if absent else ""


class Site:
    """A SLURM of `nodes` nodes under `root`; use as a context manager."""

    def __init__(self, root: Path, nodes: int = 3, port: int | None = None) -> None:
        self.root = root
        self.nodes = [f"node{k}" for k in range(1, nodes + 1)]
        self.port = port or 20000 + os.getpid() % 400 * 20
        self.env = {**os.environ, "SLURM_CONF": str(root / "etc/slurm.conf")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Site:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- the whole site ------------------------------------------------------------------------
    def start(self) -> None:
        """Bring everything up; returns when all nodes are idle."""
        self._write_files()
        run = self.root / "run"
        self._spawn(
            "munged",
            *("munged", "--foreground", "--force", f"--socket={run}/munge.sock"),
            *(f"--key-file={self.root}/etc/munge.key", f"--pid-file={run}/munged.own"),
            *(f"--log-file={self.root}/log/munged.log", f"--seed-file={self.root}/state/seed"),
        )
        self.wait(lambda: (run / "munge.sock").exists(), 20, "munged")
        self._spawn("slurmctld", "slurmctld", "-D", "-f", self.env["SLURM_CONF"])
        self.wait(lambda: "is UP" in self.ask("scontrol", "ping"), 60, "slurmctld")
        for node in self.nodes:
            self.boot(node)
        self.wait(lambda: self.idle() == len(self.nodes), 60, "the nodes")

    def stop(self) -> None:
        """End jobs, nodes, controller and munge, in this order."""
        if self.runs("slurmctld"):
            self.ask("scancel", "--user=root")
            deadline = time.monotonic() + 10
            while self.ask("squeue", "-h") and time.monotonic() < deadline:
                time.sleep(0.2)
        for node in self.nodes:
            self.power_off(node)
        for name in ("slurmctld", "munged"):
            if self.runs(name):
                self.processes[name].terminate()
                try:
                    self.processes[name].wait(15)
                except subprocess.TimeoutExpired:
                    self.processes[name].kill()
                    self.processes[name].wait()

    def restart_controller(self, after_s: float) -> None:
        """Kill the controller (-9) and start it again after so many seconds."""
        self.processes["slurmctld"].kill()
        self.processes["slurmctld"].wait()
        time.sleep(after_s)
        self._spawn("slurmctld", "slurmctld", "-D", "-f", self.env["SLURM_CONF"])

    def idle(self) -> int:
        """How many nodes wait for work."""
        return self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split().count("idle")

    def up(self) -> int:
        """How many nodes SLURM hears of."""
        states = self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split()
        return sum(not state.startswith(("down", "unknown")) for state in states)

    def runs(self, name: str) -> bool:
        """Whether the process started under this name still runs."""
        return name in self.processes and self.processes[name].poll() is None

    def ask(self, *command: str) -> str:
        """Output of a SLURM command, '' when it fails."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else ""

    def wait(self, what: Callable[[], object], seconds: float, name: str) -> None:
        """Poll until `what()` holds. Raises TimeoutError that names what did not come."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} took more than {seconds:.0f} s; see {self.root}/log")
            time.sleep(0.1)

    # ---- nodes ---------------------------------------------------------------------------------
    def boot(self, node: str) -> None:
        """Switch a node on."""
        if self.runs(node):
            return
        (self.root / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._spawn(
            node,
            *("unshare", "--fork", "--pid", "--mount-proc", "--uts", "--kill-child=KILL"),
            *("bash", "-c", INIT),
            env={"ROOT": str(self.root), "NODE": node},
        )

    def power_off(self, node: str) -> None:
        """Power cut: the daemon and all job processes of the node die at once."""
        if self.runs(node):
            self.processes[node].kill()
            self.processes[node].wait()

    def cut_off(self, node: str) -> None:
        """Network and disks fail: nothing on the node moves, and SLURM no longer hears of it."""
        self._signal(node, signal.SIGSTOP)

    def reconnect(self, node: str) -> None:
        """The node goes on where it was."""
        self._signal(node, signal.SIGCONT)

    def inside(self, node: str, *command: str) -> None:
        """Run a command with the node's files: its `private` folder is its own."""
        first = str(self._first(node))
        subprocess.run(["nsenter", f"--target={first}", "--mount", *command], check=True)

    def kill_inside(self, node: str, pid: int) -> None:
        """SIGKILL a process by the number that the node knows it by."""
        outer = next(p for p in self._inside(node) if _inner_pid(p) == pid)
        os.kill(outer, signal.SIGKILL)

    def pids(self, node: str, word: str) -> list[int]:
        """Processes of a node whose program or first argument contains `word`."""
        found = []
        for pid in self._inside(node):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2]
                found += [pid] if any(word.encode() in part for part in line) else []
        return found

    def _signal(self, node: str, number: int) -> None:
        for pid in self._inside(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _first(self, node: str) -> int:
        """Pid of a node's first process, as this machine counts."""
        outer = self.processes[node].pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def _inside(self, node: str) -> list[int]:
        """Pids of all processes of a node, as this machine counts."""
        space = os.stat(f"/proc/{self._first(node)}/ns/pid").st_ino
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns/pid").st_ino == space:
                    found.append(int(entry.name))
        return found

    # ---- files and processes -------------------------------------------------------------------
    def _write_files(self) -> None:
        for name in ("etc", "run", "log", "state", "dev", "spool", "private"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            (self.root / name).chmod(0o755)
        etc, count = self.root / "etc", len(self.nodes)
        (etc / "slurm.conf").write_text(conf.slurm_conf(self.root, count, self.port))
        (etc / "gres.conf").write_text(conf.gres_conf(self.root, count))
        for k, node in enumerate(self.nodes, 1):
            (etc / f"hosts.{node}").write_text(conf.hosts(k, count))
        key = etc / "munge.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(secrets.token_bytes(128))
        for gpu in range(conf.GPUS):
            device = self.root / "dev" / f"gpu{gpu}"
            if not device.exists():  # a twin of /dev/null: SLURM wants a real device file
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def _spawn(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        with open(self.root / "log" / f"{name}.out", "ab") as out:
            self.processes[name] = subprocess.Popen(
                command,
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


def _inner_pid(pid: int) -> int:
    """A process's number in its own namespace."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
