"""Finds out whether the process that holds a claim is alive, and on which machine it runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_NO_CONTAINER = 0xEFFFFFFC
"""The namespace of process numbers that Linux starts with; containers have others."""


@lru_cache
def this_machine() -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    installed = Path("/etc/machine-id")
    return {
        "host": socket.gethostname(),
        # names are shared: `localhost`, `workspace`; claims of earlier versions have none of this
        "machine": installed.read_text().strip() if installed.exists() else "",
        "boot": boot.read_text().strip() if boot.exists() else "unknown",
        # process numbers mean nothing across containers: compare their namespace too
        "pid_namespace": namespace.stat().st_ino if namespace.exists() else 0,
    }


def process_identity() -> dict[str, Any]:
    """What tells this process from every other, on this machine and elsewhere."""
    return {**this_machine(), "pid": os.getpid(), "started": start_time(os.getpid())}


def visible(owner: Mapping[str, Any]) -> bool:
    """Whether the pid of such a record means a process that can be looked up from here."""
    here = process_identity()
    same = all(owner.get(key) == here[key] for key in ("host", "boot", "pid_namespace"))
    return same and type(owner.get("pid")) is int and isinstance(owner.get("started"), str)


def has_ended(owner: Mapping[str, Any]) -> bool | None:
    """Whether the process of a claim has ended; None where that cannot be seen from here.

    None also of a suspended process (Ctrl-Z), which may or may not go on.
    """
    if visible(owner):
        if not process_runs(owner["pid"], owner["started"]):
            return True
        return None if _state(owner["pid"])[:1] in ([], ["T"], ["t"]) else False
    here = process_identity()
    # the same machine, started again since? Of a container, name and files may be another's too
    same = all(here[k] and owner.get(k) == here[k] for k in ("host", "machine"))
    outside = owner.get("pid_namespace") == here["pid_namespace"] == _NO_CONTAINER
    return True if same and outside else None


def process_runs(pid: int, started: str) -> bool:
    """Whether the process that had `pid` and this start time still runs here."""
    return start_time(pid) == started


def start_time(pid: int) -> str:
    """Kernel start time of a process in clock ticks, '' when it has ended (zombies included)."""
    state = _state(pid)
    if not state:
        return _start_time_without_proc(pid)
    return "" if state[0] == "Z" else state[19]


def _state(pid: int) -> list[str]:
    """What /proc tells of a process, from its state (one letter) on; empty without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_time_without_proc(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
