"""Known checksums of the test files, so that validation runs verify the split without opening them.

The hash of some splits is made from the checksums of all files. Under `eval=validation`, which must
never read the test set, those of the test files come from the last `python -m janus.data check` or
from a publication. The hash must still be the declared one, so the training files are verified.
"""

from __future__ import annotations

from collections.abc import Mapping

from janus import atomic_files
from janus.config.cell import BenchConfig


def known_checksums(config: BenchConfig, published: Mapping[str, str]) -> dict[str, str]:
    """Checksums by file name, as `check` recorded them for the declared split; else `published`."""
    record = atomic_files.read_record(config.split_file)
    if record.get("split_sha256") != config.split_sha256:
        return dict(published)
    sums = record.get("test_sums")
    return {**published, **(sums if isinstance(sums, dict) else {})}
