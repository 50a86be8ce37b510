"""Checks whether this node can train, once per start of a task, in one report.

All checks are made, also after one that failed, so that the report names everything to mend.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from cluster.record.profile import Profile
from janus import atomic_files
from janus.config.cell import Cell
from janus.errors import ClusterError, DataError, JanusError
from janus.weights import resolve

UNFIT = 4
"""Exit status of a worker whose torch cannot do what was asked for."""


def check_node(cells: Iterable[Cell], store: Path) -> tuple[list[str], list[str]]:
    """What is fine and what is not, a line each; torch is left to `check_torch`."""
    fine: list[str] = []
    wrong: list[str] = []
    listed = list(cells)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("store", lambda: _store(store)),
        ("data", lambda: _data(listed)),
        ("weights", lambda: _weights(listed)),
    ]
    for name, ask in checks:
        try:
            fine.append(f"{name}: {ask()}")
        except (JanusError, OSError, RuntimeError) as error:
            wrong.append(f"{name}: {error}")
    return fine, wrong


def _python() -> str:
    return f"{sys.version.split()[0]} ({sys.executable})"


def check_torch(profile: Profile) -> str:
    """What torch sees; asked in a worker, which needs torch anyway. Raises ClusterError."""
    try:
        import torch
    except (ImportError, OSError) as error:
        raise ClusterError(f"torch cannot be imported: {error}") from None
    gpus = torch.cuda.device_count()
    # a worker of a packed task sees one GPU of several
    wanted = 0 if profile.device == "cpu" else min(profile.gpus, 1)
    if gpus < wanted:
        raise ClusterError(
            f"torch {torch.__version__} sees none of the {profile.gpus} GPUs asked for. Driver or "
            "CUDA build? Without GPUs: profile.device=cpu"
        )
    return f"torch {torch.__version__}, {gpus} GPUs visible"


def _store(root: Path) -> str:
    """The two things the store rests on: files can be written, and linked exclusively."""
    if not root.is_dir():
        raise RuntimeError(f"{root} does not exist on this node: is it on a shared file system?")
    probe = root / "cluster" / f".probe-{secrets.token_hex(8)}.json"
    try:
        if not atomic_files.create_once(probe, atomic_files.json_writer({})):
            raise RuntimeError(f"{root}: a new file already existed")
        if atomic_files.create_once(probe, atomic_files.json_writer({})):
            raise RuntimeError(f"{root}: hard links are not exclusive here; use another folder")
    finally:
        probe.unlink(missing_ok=True)
    return f"{root} can be written"


def _data(cells: list[Cell]) -> str:
    roots = {cell.bench.root for cell in cells if cell.bench.root}
    for root in sorted(roots):
        if not Path(root).is_dir():
            raise DataError(f"{root} is not there on this node; see bench.root")
    return f"{', '.join(sorted(roots)) or 'comes with the package'}"


def _weights(cells: list[Cell]) -> str:
    backbones = {cell.backbone.name: cell.backbone for cell in cells}
    for backbone in backbones.values():
        resolve.weight_file(backbone)
    return ", ".join(sorted(backbones))
