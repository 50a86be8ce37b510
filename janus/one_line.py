"""What every command line does with streams that are closed and errors of the file system."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from janus.errors import JanusError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_streams() -> None:
    """Give a program that was started with `>&-` or `2>&-` a stream to write to.

    Also the file descriptor, which the next opened file would get: what is printed went into it.
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
    """Let what is still to be printed vanish: Python would complain of it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(
    main: Callable[[Sequence[str]], int],
    words: Sequence[str],
    status_of: Callable[[JanusError], int] = lambda _: 2,
) -> int:
    """The exit status of `main(words)`, with every foreseen error as one line on stderr.

    `status_of`: the status for an error of the project's own.
    """
    open_streams()
    try:
        status = main(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, as `head` does, has seen enough
        drop_stdout()
        return 0
    except JanusError as error:
        sys.stderr.write(printable(f"error: {error}\n"))
        return status_of(error)
    except OSError as error:  # a store that cannot be written, say
        if error.filename is None:
            drop_stdout()
        sys.stderr.write(printable(f"error: {explain(error)}\n"))
        return 2


def printable(text: str) -> str:
    """The text with control characters, and others that a terminal obeys, written as escapes.

    Names of files and words of a command line end in messages; an ESC in them could hide the rest.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def explain(error: OSError) -> str:
    """One line: what could not be done, where, and what to do."""
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
        return f"{where}: {error.strerror}. Something else lies there: move it away"
    return f"{where}: {error.strerror or error}"
