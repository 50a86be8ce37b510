"""The processes and temporary folders of a sweep, ended and removed even after a crash.

A driver that is killed outright cannot tidy up. It leaves its identity in its folder, so that the
next driver on this machine can tell that nobody owns it any more.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from janus import atomic_files
from janus.store.processes import process_identity, process_runs, visible

PREFIX = "janus-"
"""How the temporary folders of sweeps are named."""

OWNER = "owner.json"
"""Names the driver that made a folder. Only its user can replace it: the folder is 0700."""

UNMARKED_S = 86400.0
"""Age in seconds after which a folder of ours that names no owner counts as left behind: a driver
writes its name within a second of making the folder."""

SHUTDOWN_S = 15.0
"""How long ended workers may take before they are killed."""


def mark_owner(folder: Path) -> None:
    """Write down that `folder` belongs to this process."""
    atomic_files.replace(folder / OWNER, atomic_files.json_writer(process_identity()), sync=False)


def clear(parent: Path) -> None:
    """End and remove what drivers that were killed on this machine left in `parent`."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            ours = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if ours and _abandoned(folder):
                end_processes(folder, patience_s=0.0)
                remove(folder)


def refuse_others(folder: Path) -> None:
    """Raise ValueError for a folder that no sweep made for itself.

    `.` is in the environment of nearly every process, and is the folder where the user works.
    """
    if not (folder.is_absolute() and folder.name.startswith(PREFIX)):
        raise ValueError(f"{str(folder)!r} is no temporary folder of a sweep: nothing is ended")


def remove(folder: Path, tries: int = 3) -> None:
    """Delete `folder`, its owner's name last: what an interruption leaves, `clear` still finds.

    Raises ValueError for a folder that is not a sweep's.
    """
    refuse_others(folder)
    for _ in range(tries):  # a process that is ending may write while we delete
        for entry in list(folder.glob("*")):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != OWNER:
                with suppress(OSError):
                    entry.unlink()
        if [entry.name for entry in folder.glob("*")] in ([], [OWNER]):
            break
        time.sleep(0.2)
    else:
        return
    shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Whether the driver that made `folder` has ended on this machine."""
    path = folder / OWNER
    if not path.exists():
        return time.time() - folder.stat().st_mtime > UNMARKED_S
    owner = atomic_files.read_record(path)
    if not visible(owner):
        return False
    return not process_runs(owner["pid"], owner["started"])


def end_processes(folder: Path, patience_s: float = SHUTDOWN_S) -> None:
    """Wait for every process of the cluster in `folder` to end, and kill what does not.

    Raises ValueError for a folder that is not a sweep's.
    """
    refuse_others(folder)
    deadline = time.monotonic() + patience_s
    while left := processes_of(folder):
        if time.monotonic() >= deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def processes_of(folder: Path) -> list[int]:
    """Processes of ours that were started with `folder` in their environment or arguments.

    Workers rename themselves, so their arguments do not tell; the token's path does. Without
    /proc, nothing is found and Ray's own shutdown has to do.
    """
    wanted = os.fsencode(str(folder))
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            facts = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if wanted in facts and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
