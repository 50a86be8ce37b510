"""A file layer that behaves as an NFS client may: what others did is seen late, replies get lost.

`mount(folder)` changes the calls of this process (a client of its own) on paths below `folder`:

* `stat` and listings are answered from a cache for up to `stale_s` seconds, absence included; what
  this client does itself is seen at once. Opening a file asks the server (close to open), but a
  name that was absent a moment ago may still be;
* a `link` that was made is now and then reported as failed with EEXIST, a `rename` or `unlink` that
  was made as failed with ENOENT: the reply was lost and the repeated request met its own work;
* every call takes `delay_s` seconds.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Client:
    """The caches of one client."""

    def __init__(
        self, folder: Path, stale_s: float, delay_s: float, lost: float, seed: int
    ) -> None:
        self.folder = str(folder)
        self.stale_s, self.delay_s, self.lost = stale_s, delay_s, lost
        self.draw = random.Random(seed)
        self.cache: dict[tuple[str, str], tuple[float, Any]] = {}
        self.replays = 0
        self.late = 0
        """Answers from the cache that the server would not have given."""

    def ours(self, path: Any) -> bool:
        """Whether a path lies on the mounted folder."""
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folder)

    def cached(self, kind: str, path: Any, ask: Callable[[], Any]) -> Any:
        """The answer, at most `stale_s` old; a missing file is an answer as well."""
        key, now = (kind, os.fspath(path)), time.monotonic()
        if key not in self.cache or now - self.cache[key][0] > self.stale_s:
            time.sleep(self.delay_s)
            self.cache[key] = (now, _outcome(ask))
        found = self.cache[key][1]
        if isinstance(found, OSError):
            self.late += not isinstance(_outcome(ask), OSError)
            raise FileNotFoundError(found.errno, found.strerror, str(path))
        return found

    def forget(self, *paths: Any) -> None:
        """This client changed these names itself."""
        for path in map(os.fspath, paths):
            parent = os.path.dirname(path)
            for kind, name in (("stat", path), ("list", parent), ("entries", parent)):
                self.cache.pop((kind, name), None)

    def knows_absent(self, path: Any) -> bool:
        """Whether the cache says, rightly or not, that there is no such file."""
        then, found = self.cache.get(("stat", os.fspath(path)), (0.0, None))
        fresh = time.monotonic() - then <= self.stale_s
        return fresh and isinstance(found, OSError)

    def lose_reply(self) -> bool:
        """Whether the reply to a request that was carried out gets lost."""
        lost = self.draw.random() < self.lost
        self.replays += lost
        return lost


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except FileNotFoundError as error:
        return error


def mount(
    folder: Path,
    *,
    stale_s: float = 0.3,
    delay_s: float = 0.001,
    lost: float = 0.2,
    seed: int = 0,
    patch: Callable[[Any, str, Any], None] = setattr,
) -> Client:
    """Put the layer over `folder` for this process; returns the client."""
    client = Client(folder, stale_s, delay_s, lost, seed)
    names = ("stat", "listdir", "scandir", "link", "replace", "mkdir", "unlink")
    real = {name: getattr(os, name) for name in names}
    real_open = io.open

    def stat(path: Any, *args: Any, **more: Any) -> Any:
        ask = lambda: real["stat"](path, *args, **more)  # noqa: E731
        return client.cached("stat", path, ask) if client.ours(path) else ask()

    def listdir(path: Any = ".") -> Any:
        ask = lambda: real["listdir"](path)  # noqa: E731
        return list(client.cached("list", path, ask)) if client.ours(path) else ask()

    def scandir(path: Any = ".") -> Any:
        ask = lambda: list(real["scandir"](path))  # noqa: E731
        if not client.ours(path):
            return real["scandir"](path)
        return _closing(client.cached("entries", path, ask))

    def open_(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        if client.ours(path) and "r" in mode and client.knows_absent(path):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return real_open(path, mode, *args, **more)

    def link(source: Any, target: Any, **more: Any) -> None:
        try:
            real["link"](source, target, **more)
        finally:
            client.forget(target)  # the client learns that the name is taken, too
        if client.ours(target) and client.lose_reply():
            raise FileExistsError(errno.EEXIST, "File exists", str(target))

    def replace(source: Any, target: Any, **more: Any) -> None:
        real["replace"](source, target, **more)
        client.forget(source, target)
        if client.ours(target) and client.lose_reply():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(source))

    def changing(name: str) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            try:
                real[name](path, *args, **more)
            finally:
                if client.ours(path):
                    client.forget(path)
            if name == "unlink" and client.ours(path) and client.lose_reply():
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

        return call

    calls = (stat, listdir, scandir, link, replace, changing("mkdir"), changing("unlink"))
    for name, call in zip(names, calls, strict=True):
        patch(os, name, call)
    patch(io, "open", open_)
    patch(builtins, "open", open_)
    return client


@contextlib.contextmanager
def _closing(entries: list[Any]) -> Iterator[Iterator[Any]]:
    """What `os.scandir` returns can be used so."""
    yield iter(entries)
