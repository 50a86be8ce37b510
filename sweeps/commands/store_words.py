"""The words of commands on stores: paths, and KEY=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

from janus.config.overrides import path_override
from janus.errors import ConfigError, suggest


def read_words(words: Sequence[str], known: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Positional words, and KEY=VALUE words over the defaults in `known`."""
    paths, given = [], dict(known)
    typed: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if separator and key in known:
            if typed.setdefault(key, value) != value:
                raise ConfigError(
                    f"{key} is given twice, as {typed[key]!r} and {value!r}; give it once"
                )
            if path := path_override(word):
                value = path[1] or known[key]
            given[key] = value
        elif word.startswith("-") or (separator and "/" not in key):
            raise ConfigError(f"unknown word {word!r}.{suggest(key, known)}")
        else:
            paths.append(word)
    return paths, given
