"""Parses a user's own order of classes (or domains): a list of numbers or names, or a file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from janus.errors import ConfigError, suggest

NAMED = re.compile(r"natural|(pilot|coda)?(0|[1-9][0-9]*)")
"""Pattern of orders that have a name: see `janus.data.class_orders`."""

OWN = re.compile(r"own-[0-9a-f]{8}")
"""Pattern of the name that a user's own order gets in tables and titles."""


def parse_order(given: Any) -> tuple[str, str | None]:
    """(name, list) of an order as typed: a name, `[3,1,2]`, `@file` or a path of a text file.

    The list is compact JSON of numbers or names; None for an order that has a name. A file holds
    one class per line; empty lines and lines that begin with # are ignored. Raises ConfigError for
    anything else.
    """
    if isinstance(given, list | tuple):
        return _named(list(given), "order")
    text = str(given)
    if NAMED.fullmatch(text):
        return text, None
    if text.startswith("["):
        try:
            entries = json.loads(text)
        except ValueError:
            entries = [part.strip() for part in text.strip("[]").split(",")]
        return _named([_number(entry) for entry in entries], "order")
    path = Path(text.removeprefix("@")).expanduser()
    if text.startswith("@") or path.suffix or "/" in text:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(
                f"order={text}: {path} cannot be read: {reason}; give a text file "
                "with a class a line"
            ) from None
        kept = [line.strip() for line in lines]
        kept = [line for line in kept if line and not line.startswith("#")]
        return _named([_number(line) for line in kept], f"order={text}")
    raise ConfigError(
        "order must be 'natural', a plain seed number >= 0, a published one such as 'pilot1993' or "
        f"'coda1', a list such as [3,1,2], or @FILE with a class a line; got {given!r}"
    )


def _number(entry: Any) -> Any:
    """The text as a number if it consists of digits, else unchanged."""
    spelt = isinstance(entry, str) and entry.isascii() and entry.isdigit()
    return int(entry) if spelt else entry


def _named(entries: Sequence[Any], where: str) -> tuple[str, str | None]:
    """(name, list) of an order. Raises ConfigError unless all entries are numbers or all names."""
    numbers = all(isinstance(e, int) and not isinstance(e, bool) and e >= 0 for e in entries)
    texts = all(isinstance(e, str) and e for e in entries)
    if not entries or not (numbers or texts):
        raise ConfigError(
            f"{where}: an order lists classes, all by number (from 0) or all by name; "
            f"got {list(entries)[:5]!r}"
        )
    seen: set[Any] = set()
    for entry in entries:
        if entry in seen:
            raise ConfigError(f"{where} names {entry!r} twice; name each once")
        seen.add(entry)
    text = json.dumps(list(entries), separators=(",", ":"), ensure_ascii=True)
    return order_name(text), text


def partly_ordered(listed: str, classes: int) -> list[str]:
    """A sentence if the list leaves out classes; [] if it is complete."""
    count = len(json.loads(listed))
    if count >= classes:
        return []
    return [f"the order names {count} of {classes} classes; the others follow as numbered"]


def check_numbers(listed: str, classes: int) -> None:
    """Raise ConfigError if the list holds a number that is no class. 0 classes: number unknown."""
    beyond = [e for e in json.loads(listed) if isinstance(e, int) and e >= classes]
    if classes and beyond:
        raise ConfigError(
            f"order names class {beyond[0]}, but there are {classes}, numbered from 0"
        )


def order_name(listed: str) -> str:
    """The name of an order, made from the hash of its list: 'own-3f2a9c01'."""
    return f"own-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"


def resolve(listed: str, names: Sequence[str]) -> list[int]:
    """The permutation that the list gives, as indices into `names` (classes or domains).

    Classes that are not listed follow in natural order. Raises ConfigError for an unknown entry,
    with the nearest name.
    """
    numbers = {name: index for index, name in enumerate(names)}
    found = []
    for entry in json.loads(listed):
        if isinstance(entry, int):
            if entry >= len(names):
                raise ConfigError(
                    f"order names class {entry}, but there are {len(names)}, numbered from 0"
                )
            found.append(entry)
        elif entry in numbers:
            found.append(numbers[entry])
        else:
            raise ConfigError(f"order names {entry!r}, which is no class.{suggest(entry, names)}")
    named = set(found)
    return [*found, *(index for index in range(len(names)) if index not in named)]
