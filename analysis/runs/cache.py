"""A cache of the results already read, so that ten thousand runs load in one or two seconds.

An entry is used only while its result file has the recorded size and time. A damaged cache, or one
of another version, is ignored; deleting the cache costs only time. The cache of a store is one
Parquet file, kept outside the store, because the store may be read-only or shared.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from janus import metrics, plugins
from janus.config.cell import SCHEMA

WORTHWHILE = 200
"""Smallest number of results for which a cache is used; reading fewer is faster than importing
Parquet."""

OFF = "JANUS_NO_CACHE"
"""Environment variable that turns the cache off if it is set to any text."""

SHARED = ("cell", "identity", "provenance")
"""Mappings in a record whose larger parts are stored separately, because many runs share them."""

ABSENT = object()
"""The value in place of a part that a record does not have."""

Entry = tuple[str, dict[str, Any]]
"""(stamp of the files, reduced record)."""


def worthwhile(results: int) -> bool:
    """Whether a store with this number of results is read through the cache."""
    return results >= WORTHWHILE and not os.environ.get(OFF)


def stamp(result: Path, committed: str) -> str:
    """A text with the size and time of a result file and the time of the file `committed`.

    It changes when one of the two files is written again.
    """
    try:
        found = result.stat()
    except OSError:
        return "unreadable"
    try:
        noted = os.stat(committed).st_mtime_ns
    except OSError:
        noted = 0
    return f"{found.st_size} {found.st_mtime_ns} {noted}"


def read_cache(root: Path) -> dict[str, Entry]:
    """{name of a result file: its entry}; {} if there is no cache of this version.

    Equal parts of several records are the same object, so callers must not change them.
    """
    path = _path(root)
    if not path.exists():
        return {}
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()  # read_table would import pandas
        if (table.schema.metadata or {}).get(b"janus") != _version().encode():
            return {}
        names, stamps, *parts = (_values(column) for column in table.columns)
        keys = [key.split(".", 1) for key in table.column_names[2:]]
        records = [_record(keys, row) for row in zip(*parts, strict=True)]
        return dict(zip(names, zip(stamps, records, strict=True), strict=True))
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are ValueErrors
        return {}


def _values(column: Any) -> list[Any]:
    """The values of a column, parsed from JSON; `ABSENT` for missing values.

    Each distinct text is parsed once, so equal values are the same object.
    """
    out: list[Any] = []
    for chunk in column.chunks:
        known = [json.loads(text) for text in chunk.dictionary.to_pylist()] + [ABSENT]
        out += [known[i] for i in chunk.indices.fill_null(len(known) - 1).to_pylist()]
    return out


def _record(keys: Sequence[Sequence[str]], row: Sequence[Any]) -> dict[str, Any]:
    """The record, joined again from the parts into which `_parts` split it."""
    record: dict[str, Any] = {}
    for (key, *inner), value in zip(keys, row, strict=True):
        if value is ABSENT:
            continue
        if inner:
            record[key][inner[0]] = value
        else:
            record[key] = {**value} if key in SHARED else value
    return record


def write_cache(root: Path, entries: Mapping[str, Entry]) -> None:
    """Replace the store's cache. On a full or read-only disk nothing is written or raised."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken = [_parts(record) for _, record in entries.values()]
    columns: dict[str, list[str | None]] = {
        "name": [json.dumps(name) for name in entries],
        "stamp": [json.dumps(stamp) for stamp, _ in entries.values()],
    }
    for key in dict.fromkeys(key for parts in taken for key in parts):
        columns[key] = [parts.get(key) for parts in taken]
    arrays = {key: pa.array(texts).dictionary_encode() for key, texts in columns.items()}
    table = pa.table(arrays, metadata={"janus": _version()})
    path = _path(root)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            pq.write_table(table, name, compression="zstd")
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def _parts(record: Mapping[str, Any]) -> dict[str, str]:
    """{key: JSON text} of the record's parts; large shared parts have keys of their own, e.g.
    `provenance.packages`."""
    out = {}
    for key, value in record.items():
        if key not in SHARED:
            out[key] = json.dumps(value)
            continue
        large = [name for name, part in value.items() if isinstance(part, Mapping | list)]
        out[key] = json.dumps({name: part for name, part in value.items() if name not in large})
        out |= {f"{key}.{name}": json.dumps(value[name]) for name in large}
    return out


def _path(root: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    key = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Path(base) / "janus" / f"{key}.parquet"


def _version() -> str:
    """The version that a cache must have to be used.

    It changes with the code that reads results or computes metrics.
    """
    files = (Path(__file__).with_name("load.py"), Path(metrics.__file__))
    source = b"".join(path.read_bytes() for path in files)
    for entry in plugins.every("metric"):
        source += f"{entry.name} {entry.source.sha256}".encode()
    return f"{SCHEMA}-{hashlib.sha256(source).hexdigest()[:16]}"
