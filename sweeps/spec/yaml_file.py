"""Looks at a sweep file before Hydra reads it: damaged, huge or endless YAML is refused by name."""

from __future__ import annotations

from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from janus.errors import ConfigError

MOST_NODES = 100_000
"""Values that a file may hold once its aliases are written out: far more than any sweep needs, far
fewer than what fills a machine's memory."""

MOST_DEPTH = 50
"""Lists and mappings inside each other."""


def check_sweep_file(path: Path) -> None:
    """Raise ConfigError unless `path` is UTF-8 text with one YAML mapping of a sane size."""
    where = f"sweep file {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    if text.count("[") + text.count("{") + text.count("&") > MOST_NODES:
        raise ConfigError(f"{where} holds too many lists; a sweep needs a few lines")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: {reason}; write it as in docs/sweeps.md") from None
    except RecursionError:
        raise ConfigError(f"{where} nests lists or mappings too deeply; write it flatter") from None
    if root is not None and not isinstance(root, MappingNode):
        raise ConfigError(f"{where} must hold a mapping, such as `methods: [janus]`")
    if root is not None and _size(root, {}, 0, where) > MOST_NODES:
        raise ConfigError(
            f"{where}: its aliases (*name) stand for more than {MOST_NODES} values; use fewer"
        )


def _size(node: Node, known: dict[int, int | None], depth: int, where: str) -> int:
    """Values below `node` with aliases written out. `known`: by node; None while it is counted."""
    if depth > MOST_DEPTH:
        raise ConfigError(f"{where} nests lists or mappings more than {MOST_DEPTH} deep")
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ConfigError(f"{where}: an alias (*name) stands inside of what it names")
        return found
    known[id(node)] = None
    size = 1
    if isinstance(node, SequenceNode):
        size += sum(_size(child, known, depth + 1, where) for child in node.value)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if not isinstance(key.value, str) or key.tag != "tag:yaml.org,2002:str":
                line = key.start_mark.line + 1
                if key.tag != "tag:yaml.org,2002:merge":
                    raise ConfigError(
                        f"{where}, line {line}: the key {key.value!r} is no name; write a key of "
                        "a sweep, or of a cell such as method.rank (quote a name like 'yes')"
                    )
            size += _size(value, known, depth + 1, where)
    known[id(node)] = size
    return size
