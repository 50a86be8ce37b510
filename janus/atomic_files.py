"""Atomic writing of files: a reader finds the whole file or none, also after a crash.

A temporary file beside the target is written and synced, then linked or renamed into place.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from janus.errors import ConfigError, RunError


def replace(path: Path, write: Callable[[Path], None], *, sync: bool = True) -> None:
    """Replace the file at `path` by the one that `write(temporary)` writes.

    Raises RunError (cause `disk-full`) when the disk is full, ConfigError when the file system
    lacks fsync; `path` is then unchanged.
    """
    _publish(path, write, _rename, sync)


def create_once(path: Path, write: Callable[[Path], None]) -> bool:
    """Like `replace`, but only if `path` does not exist yet. Returns False when it exists."""
    try:
        _publish(path, write, _link, True)
    except FileExistsError:
        return False
    return True


def _link(temporary: str | Path, path: str | Path) -> None:
    """Hard-link, which fails when `path` exists.

    NFS may report a failure although the link was made; two names of the file prove that it was.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            raise _unfit(
                path, "hard links, which make sure that a result is written once"
            ) from error
        # opening asks the server again; a plain stat may be answered from the client's cache
        with open(temporary, "rb") as stream:
            names = os.fstat(stream.fileno()).st_nlink
        if names != 2:
            raise
    Path(temporary).unlink(missing_ok=True)  # NFS may repeat this as well


def _rename(temporary: str | Path, path: str | Path) -> None:
    """Rename, replacing `path`.

    NFS may repeat a rename that was already made and then report that the source is missing.
    """
    ours = os.stat(temporary).st_ino
    try:
        os.replace(temporary, path)
    except FileNotFoundError:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_ino != ours:
                raise


def _publish(
    path: Path,
    write: Callable[[Path], None],
    move: Callable[[str | Path, str | Path], None],
    sync: bool,
) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            write(temporary)
        except FileNotFoundError:  # rare; checking first would cost time in every call
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
        if sync:
            _sync(temporary)
        move(temporary, path)
        if sync:
            _sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"no space left to write {path}; free some and run the same command again: "
                "it goes on from the last checkpoint",
                cause="disk-full",
            ) from error
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            raise _unfit(
                path, "fsync, which makes sure that a result survives a power cut"
            ) from error
        raise
    finally:
        os.close(descriptor)


_NOT_SUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def _unfit(path: str | Path, lacks: str) -> ConfigError:
    return ConfigError(
        f"{Path(path).parent} is on a file system without {lacks}. Put the store on another one, "
        "e.g. on a local disk or NFS: store=DIR"
    )


def json_writer(record: Any) -> Callable[[Path], None]:
    """A `write` argument for `replace` or `create_once` that stores `record` as sorted JSON."""
    return text_writer(json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n")


def text_writer(text: str) -> Callable[[Path], None]:
    """A `write` argument for `replace` or `create_once` that stores `text` in UTF-8."""
    return lambda path: _write_text(path, text)


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def read_json(path: Path) -> Any | None:
    """The JSON value in the file at `path`; None when the file is missing or damaged.

    Damaged means: cut short, not UTF-8, not a regular file (a folder, a pipe, a device, a loop of
    links), not readable, nested too deeply, or with numbers longer than Python reads.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            return json.loads(stream.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def read_record(path: Path) -> dict[str, Any]:
    """The JSON mapping in the file at `path`; {} when it is missing, damaged or no mapping."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def number(record: Mapping[str, Any], name: str, otherwise: float = 0.0) -> float:
    """`record[name]` if it is a finite number, else `otherwise`, since files may be damaged."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if abs(value) < 1e300 else otherwise


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking: opening a named pipe would otherwise never return."""
    return os.open(path, flags | os.O_NONBLOCK)
