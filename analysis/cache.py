"""Reduced records of results already read, so that ten thousand runs load in a second or two.

Derived and never the truth: an entry counts only while its result file has the size and time it
had when it was read, a damaged or foreign cache is ignored, and deleting it costs time alone.
One Parquet file per store, outside the store, which may be read-only or shared.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from janus.config import SCHEMA

WORTHWHILE = 200
"""Fewest results for which a cache is kept: below, reading is faster than importing Parquet."""

OFF = "JANUS_NO_CACHE"
"""Environment variable that turns the cache off."""

Entry = tuple[str, dict[str, Any]]
"""(stamp of the files, reduced record)."""


def worthwhile(results: int) -> bool:
    """Whether a store with so many results is read through the cache."""
    return results >= WORTHWHILE and not os.environ.get(OFF)


def stamp(result: Path, committed: str) -> str:
    """Size and time of a result file and of the note that names its provenance."""
    found = result.stat()
    try:
        noted = os.stat(committed).st_mtime_ns
    except OSError:
        noted = 0
    return f"{found.st_size} {found.st_mtime_ns} {noted}"


def read(root: Path) -> dict[str, Entry]:
    """Entries by result file name; empty when there is no cache that this version wrote."""
    path = _path(root)
    if not path.exists():
        return {}
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()  # read_table would import pandas
        if (table.schema.metadata or {}).get(b"janus") != _version().encode():
            return {}
        columns = [table[name].to_pylist() for name in ("name", "stamp", "record")]
        return {name: (mark, json.loads(text)) for name, mark, text in zip(*columns, strict=True)}
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are ValueErrors
        return {}


def write(root: Path, entries: Mapping[str, Entry]) -> None:
    """Replace the store's cache; a full or read-only disk is no reason to fail."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "name": list(entries),
            "stamp": [mark for mark, _ in entries.values()],
            "record": [json.dumps(record) for _, record in entries.values()],
        },
        metadata={"janus": _version()},
    )
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


def _path(root: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    key = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Path(base) / "janus" / f"{key}.parquet"


def _version() -> str:
    """Changes whenever the code that reads results does."""
    source = Path(__file__).with_name("load.py").read_bytes()
    return f"{SCHEMA}-{hashlib.sha256(source).hexdigest()[:16]}"
