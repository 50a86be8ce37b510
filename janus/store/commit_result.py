"""Writes the result of a cell, once: what is there already is never replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from janus import atomic_files
from janus.errors import RunError
from janus.store import correct_images
from janus.store.run_folders import RunFolders


def commit_result(
    folders: RunFolders,
    cell_id: str,
    attempt: int,
    result: Mapping[str, Any],
    images: bytes | None = None,
) -> None:
    """Make `result` the result of the cell; `attempt` is the number of the claim that made it.

    The first commit wins, by a hard link; an equal second one is fine. `images`: the file that
    `result` names in `correct_images`; it is there before the result. Raises RunError when another,
    different result is there already.
    """
    if images is not None:
        correct_images.keep_file(folders.root, images)
    path = folders.result_path(cell_id)
    if atomic_files.create_once(path, atomic_files.json_writer(result)):
        record = {"attempt": attempt}
        committed = folders.run_dir(cell_id) / "committed.json"
        atomic_files.create_once(committed, atomic_files.json_writer(record))
    elif not correct_images.same_facts(atomic_files.read_record(path), dict(result)):
        raise RunError(
            f"{path} already holds another result for the same cell; the first stays. "
            "Compare `numerics` in the attempts' provenance.json",
            cause="result-differs",
        )
