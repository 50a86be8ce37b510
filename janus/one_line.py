"""Shared by all command lines: expected errors become one line on stderr and an exit status.

Also handles closed output streams, full disks and pipes whose reader has stopped.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from janus.errors import JanusError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_streams() -> None:
    """Open stdout and stderr on the null device when the program was started without them.

    With `>&-` or `2>&-` the next opened file would get their file descriptor, and printed text
    would be written into that file.
    """
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            stream = os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


def drop_stdout() -> None:
    """Discard what stdout still buffers; Python would otherwise report the error again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(
    main: Callable[[Sequence[str]], int],
    words: Sequence[str],
    status_of: Callable[[JanusError], int] = lambda _: 2,
) -> int:
    """Run `main(words)`; print every expected error as one line on stderr. Returns the exit status.

    `status_of` gives the exit status for a JanusError.
    """
    open_streams()
    try:
        status = main(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        drop_stdout()
        return 0
    except JanusError as error:
        sys.stderr.write(printable(f"error: {error}\n"))
        return status_of(error)
    except OSError as error:  # a store that cannot be written, say
        if error.filename is None:
            drop_stdout()
        sys.stderr.write(printable(f"error: {explain_os_error(error)}\n"))
        return 2


def printable(text: str) -> str:
    """The text with control characters written as escapes.

    Messages quote file names and command-line words; an ESC character in them could make the
    terminal hide the rest.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def error_text(error: JanusError | OSError) -> str:
    """One line for an expected error of a command that names the error's kind."""
    if isinstance(error, OSError):
        return explain_os_error(error)
    return f"{type(error).__name__}: {error}"


def explain_os_error(error: OSError) -> str:
    """One line for an error of the file system: what failed, on which path, and what to do."""
    where = str(error.filename) if error.filename is not None else "what is printed"
    if error.errno == errno.ENAMETOOLONG:
        return (
            f"{where[:40]}... is a name of {len(where)} characters, which is too long; use another"
        )
    if error.errno == errno.ENOENT:
        return f"{where}: no such file or folder; make it first, or name another"
    if error.errno in _NO_SPACE:
        return f"no space left to write {where}: free some and run the same command again"
    if error.errno == errno.EROFS:
        return (
            f"{where} cannot be written: Read-only file system. Name another folder "
            "(store=DIR, --out), or copy it to one that can be written"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{where} may not be read or written by this user: change its permissions, or name "
            "another folder (store=DIR, --store, --out)"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR):
        return f"{where}: {error.strerror}. Something else is at this path: move it away"
    return f"{where}: {error.strerror or error}"
