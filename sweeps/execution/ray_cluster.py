"""Ray itself: the cluster that RAY_ADDRESS names, or a small one of our own on this machine.

Ours listens on the loopback interface only, has a private token, runs none of the services that a
sweep has no use for, and leaves no process and no file behind.
"""

from __future__ import annotations

import _thread
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from janus.errors import ClusterError
from sweeps.execution import cleanup
from sweeps.execution.interrupts import not_interrupted
from sweeps.execution.ray_settings import OBJECT_STORE_BYTES, ray_settings

os.environ.update(ray_settings())

import ray
from ray._private.node import Node

STARTS = 3
"""Times that Ray is started before a busy machine is given up."""

UNUSED = ("start_monitor", "start_api_server", "start_log_monitor")
"""Services of Ray that are not started: autoscaler, web server, collector of logs. Each is a Python
process that takes seconds of a core to start, and the second one is waited for. Ray has no public
switch for them; a later Ray that has other names for them starts them again, to no harm."""

CHATTER = ("listen_error_messages",)
"""Prints fifty lines of Ray's state on stdout when a process of Ray dies; the driver says it in its
own words."""


VITAL = ("raylet", "gcs_server")
"""Processes of Ray on this machine without which no cell can be trained any more."""

CHECK_S = 0.5
"""Seconds between two checks that they live."""

STUCK_S = 5.0
"""Seconds that the main thread may take to leave Ray after such a death."""

LOST_SIGNAL = signal.SIGUSR1
"""Handled in the main thread while Ray is used; never sent by another process. Not SIGINT, which a
command that was started in the background ignores."""


class RayLostError(ClusterError):
    """A process of our own Ray died, most often by the kernel's out-of-memory killer."""


class _Lost(BaseException):  # Tune catches every Exception
    """Leaves Tune when Ray is gone."""


class Cluster:
    """Ray while a sweep needs it. A context manager: leaving it ends every process of ours."""

    def __init__(self, root: Path, cores: int, gpus: int | None, preload: Sequence[str]) -> None:
        """`root`: the store's; `cores`, `gpus`: of a cluster of our own (null: all GPUs found).

        `preload`: modules that its workers, one a core, import as they start, while Tune is being
        set up here.
        """
        self.root, self.preload = root, preload
        self.wanted_cores, self.wanted_gpus = cores, gpus
        self.address = os.environ.get("RAY_ADDRESS")
        self.folder = Path()
        """For what Ray and Tune write; gone when we leave. Without a name until it is made."""
        self.cores = self.gpus = 0
        """What the cluster has."""
        self.node_cores = 1
        """Of its largest machine."""
        self.when_stuck: Callable[[str], None] = lambda _: None
        """Called with the name of a process that died, in another thread, when the main thread does
        not come back from Ray's native code: that waits for a minute and then ends this process."""
        self._saved: dict[str, str | None] = {}
        self._vital: dict[str, Any] = {}
        """Processes of our own Ray that must live, by name."""

    def __enter__(self) -> Cluster:
        parent = self._parent()
        cleanup.clear(Path(parent))
        self.folder = Path(tempfile.mkdtemp(prefix=cleanup.PREFIX, dir=parent))
        cleanup.mark_owner(self.folder)
        try:
            self._prepare()
            with _own_signals():
                self._connect()
            self._vital = {} if self.address else _vital_processes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with not_interrupted():
            self._end()

    def _end(self) -> None:
        """End Ray and its processes, and remove what they wrote."""
        if not self.folder.name:
            return  # it could not be made, so nothing was started
        try:
            if self.lost_process():  # Ray would first wait for what is dead, and print what it knew
                with _silent_stderr():
                    cleanup.end_processes(self.folder, patience_s=0.0)
                    ray.shutdown()
            else:
                ray.shutdown()
            if not self.address:
                cleanup.end_processes(self.folder)
        finally:
            for name, value in self._saved.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
            cleanup.remove(self.folder)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While Ray is used: raise RayLostError in this thread when a vital process of ours dies.

        Ray itself would wait for minutes, or end this process. A cluster that RAY_ADDRESS names is
        not ours to watch.
        """
        over = threading.Event()

        def look() -> None:
            while not over.wait(CHECK_S):
                if name := self.lost_process():
                    _thread.interrupt_main(LOST_SIGNAL)
                    if not over.wait(STUCK_S):
                        cleanup.end_processes(self.folder, patience_s=0.0)
                        cleanup.remove(self.folder)
                        self.when_stuck(name)
                    return

        def leave(*_: object) -> None:
            if not over.is_set():
                raise _Lost

        if threading.current_thread() is threading.main_thread():  # the only one to interrupt
            before = signal.signal(LOST_SIGNAL, leave)
            threading.Thread(target=look, daemon=True).start()
        try:
            yield
        except _Lost:
            pass
        finally:
            over.set()
            if threading.current_thread() is threading.main_thread():
                signal.signal(LOST_SIGNAL, before)
        if name := self.lost_process():
            raise RayLostError(f"Ray's {name} died")

    def lost_process(self) -> str | None:
        """Which vital process of our own Ray has died; None: they all live."""
        dead = (name for name, p in self._vital.items() if p.poll() is not None)
        return next(dead, None)

    def _parent(self) -> str:
        """Where the temporary folder goes: short for Ray's sockets, or seen by every node."""
        if self.address:
            folder = self.root / "sweeps"
            folder.mkdir(parents=True, exist_ok=True)
            return str(folder)
        usual = tempfile.gettempdir()
        return usual if len(usual) <= 30 else "/tmp"

    def _prepare(self) -> None:
        """A private token for a cluster of our own, a place for its litter, and a head start."""
        if self.address:
            return
        path = self.folder / "token"
        path.touch(mode=0o600)
        path.write_text(_token())
        for name, value in (
            ("RAY_AUTH_TOKEN_PATH", path),
            ("TMPDIR", self.folder),
            ("RAY_preload_python_modules", ",".join(self.preload)),
        ):
            self._saved[name] = os.environ.get(name)
            os.environ[name] = str(value)

    def _connect(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address:
                _reach(self.address)
                ray.init(address=self.address, **quiet)
            else:
                self._start(quiet)
        except Exception as error:  # Ray raises bare ones as well
            where = f"the cluster at {self.address}" if self.address else "Ray on this machine"
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise ClusterError(f"cannot use {where}: {first}") from error
        resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.cores, self.gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        self.node_cores = max(int(node["Resources"].get("CPU", 1)) for node in nodes)

    def _start(self, quiet: Mapping[str, Any]) -> None:
        """A cluster of our own. Ray gives its processes 30 s: too few on a busy machine."""
        for left in reversed(range(STARTS)):
            try:
                with _without(Node, UNUSED), _without(ray._private.worker, CHATTER):
                    ray.init(
                        num_cpus=self.wanted_cores,
                        num_gpus=self.wanted_gpus,
                        include_dashboard=False,
                        object_store_memory=OBJECT_STORE_BYTES,
                        # Ray opens its folder to every user (0777); `self.folder` is ours (0700)
                        _temp_dir=str(self.folder / "r"),
                        **quiet,
                    )
                return
            except Exception as error:
                if not left or "timed out" not in str(error):
                    raise
                ray.shutdown()
                cleanup.end_processes(self.folder)


def _vital_processes() -> dict[str, Any]:
    """{name: process} of the Ray that this process started; empty when Ray hides them."""
    node: Any = getattr(ray._private.worker, "_global_node", None)
    found = getattr(node, "all_processes", {})
    return {name: found[name][0].process for name in VITAL if found.get(name)}


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr meanwhile."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _without(owner: Any, names: tuple[str, ...]) -> Iterator[None]:
    """Ray starts while these functions of `owner` do nothing."""
    whole = {name: getattr(owner, name) for name in names if hasattr(owner, name)}
    for name in whole:
        setattr(owner, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, function in whole.items():
            setattr(owner, name, function)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; to our caller it means what Ctrl-C means."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere Ray takes nothing
            signal.signal(signal.SIGTERM, before)


def _reach(address: str, patience_s: float = 5.0) -> None:
    """Fail at once when nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), patience_s).close()


@lru_cache
def _token() -> str:
    """One per process: Ray reads the token once and keeps it."""
    return secrets.token_hex(32)
