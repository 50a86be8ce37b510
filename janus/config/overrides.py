"""Parses the KEY=VALUE overrides of every command line.

Values follow Hydra's grammar, in which commas, brackets, quotes and `#` have a meaning. A path may
contain all of these, so the value of a key that is a path is taken literally.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from janus.errors import ConfigError

PATH_KEYS = ("bench.root", "bench.cache", "backbone.weights", "store", "include")
"""Keys whose value is a path, or a plain word such as `bundled` or `null`."""


def path_override(word: str) -> tuple[str, str | None] | None:
    """(key, path) if the word's key is a path; None for any other word.

    `~` is the home folder and `null` is None. One pair of quotes around the whole path is removed,
    because Hydra's grammar needs them. Raises ConfigError for an empty path.
    """
    key, equals, value = word.partition("=")
    if not equals or key not in PATH_KEYS:
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if not value:
        raise ConfigError(f"{key}= names no path; write {key}=PATH")
    if "\0" in value:
        raise ConfigError(f"{key}: a path cannot hold a NUL character")
    if value == "null":
        return key, None
    return key, str(Path(value).expanduser()) if value.startswith("~") else value


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """A flat mapping of `key=value` words: paths literally, other values by Hydra's grammar.

    Raises ConfigError for a word that is not `key=value`, that has several values, or that gives a
    key a second, different value.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found: dict[str, Any] = {}
    for word in words:
        if (path := path_override(word)) is not None:
            _put(found, *path)
            continue
        try:
            override = OverridesParser.create().parse_override(word)
            value = override.value()
        except (HydraException, ValueError):  # ValueError: a number with thousands of digits
            raise ConfigError(
                f"cannot read {word!r}: write key=value, and quote a value that holds any of "
                "= , ( ) [ ] # : key='\"a=b\"'"
            ) from None
        if override.is_sweep_override() or override.is_delete() or override.is_add():
            raise ConfigError(
                f"{word!r}: one cell takes one plain value per key; for several values use "
                "'python -m sweeps'"
            )
        if override.package is not None:
            raise ConfigError(f"cannot read {word!r}: a key holds no '@'; write key=value")
        _put(found, override.key_or_group, value)
    return found


def _put(found: dict[str, Any], key: str, value: Any) -> None:
    if key in found and found[key] != value:
        raise ConfigError(f"{key} is given twice, as {found[key]!r} and {value!r}; give it once")
    found[key] = value
