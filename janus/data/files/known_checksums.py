"""Sums of test files that may not be opened: tuning never sees the test set.

The hash of some splits is made of the sums of all their files. Under `eval=validation` those of the
test files are taken as known: from the last `python -m janus.data check`, or as published. The hash
made with them must still be the declared one, so the training files are verified all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from janus import atomic_files
from janus.config.cell import BenchConfig


def known_checksums(config: BenchConfig, published: Mapping[str, str]) -> dict[str, str]:
    """Sums by file name: those that `check` recorded of the declared split, else `published`."""
    record = atomic_files.read_record(config.split_file)
    if record.get("split_sha256") != config.split_sha256:
        return dict(published)
    sums = record.get("test_sums")
    return {**published, **(sums if isinstance(sums, dict) else {})}
