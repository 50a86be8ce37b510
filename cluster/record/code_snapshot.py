"""Copies the submitted code into the store, so that jobs run what was submitted; named by its
content.

Jobs and every requeue import from the copy, so the working tree may change meanwhile. The copy
lies in the store, read-only, beside the commit it came from and the diff against it.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib
import os
import py_compile
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import janus
from janus import atomic_files
from janus.errors import ClusterError
from janus.plugins import Source

ROOT = Path(janus.__file__).resolve().parents[1]
ROOMS = ("janus",) if __name__.startswith("janus.") else ("janus", "sweeps", "cluster")
"""What a job imports; the wheel has all of it in `janus`."""
OUTSIDE = "outside"
"""Folder of a copy with the modules from outside of this project (see `janus.plugins`)."""
RECORD = "snapshot.json"
DIFF = "dirty.diff"


def take(folder: Path, root: Path = ROOT, sources: Sequence[Source] = ()) -> Path:
    """Copy the code under `root` to `folder`/HASH, unless it is there; returns the copy.

    `sources`: modules and packages from outside of this project, copied beside it. An interrupted
    copy is never taken for a whole one: it gets its name last.
    """
    files = all_files(root, sources)
    target = folder / content_hash(files)
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / f".{target.name}.{secrets.token_hex(4)}"
    try:
        for name, path in files.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, building / name)
        record = {"hash": target.name, "git": _git_state(root), "files": len(files)}
        atomic_files.replace(building / RECORD, atomic_files.json_writer(record))
        (building / DIFF).write_text(_git(root, "diff", "HEAD", "--", *ROOMS))
        # valid whatever the copies' dates: nodes need not compile, nor write
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(building, quiet=2, invalidation_mode=unchecked)
        for name in files:
            (building / name).chmod(0o444)
        try:
            building.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def check_imports(copy: Path) -> None:
    """Raise ClusterError unless what is imported in this process lies under `copy`.

    A job whose PYTHONPATH got lost (a container with an environment of its own, a line of
    profile.setup) would import whatever else is installed.
    """
    for room in ROOMS:
        runs = importlib.import_module(room).__file__ or "nowhere"
        if not Path(runs).resolve().is_relative_to(copy.resolve()):
            raise ClusterError(
                f"{room} is imported from {Path(runs).parent}, not from the code that was "
                f"submitted: {copy}. PYTHONPATH is {os.environ.get('PYTHONPATH')!r} here; look at "
                "profile.python (a container must keep the environment) and profile.setup"
            )


def verify_snapshot(copy: Path) -> None:
    """Raise ClusterError when the copy is no longer what its name says."""
    found = content_hash(all_files(copy, within=copy / OUTSIDE))
    if found != copy.name:
        raise ClusterError(
            f"the code in {copy} was changed after it was submitted (now {found}). Cells of one "
            "submission must run one code: submit again"
        )


def all_files(
    root: Path, sources: Sequence[Source] = (), within: Path | None = None
) -> dict[Path, Path]:
    """{name in the copy: path} of the code under `root` and of what is from outside: of `sources`,
    or, in a copy, what lies `within` its folder.
    """
    files = {name: root / name for name in code_files(root)}
    if within is not None:
        files |= {p.relative_to(root): p for p in sorted(_plain_files(within))}
    outside: dict[Path, Path] = {}
    for source in sources:
        if source.path.is_dir():
            for path in _plain_files(source.path):
                outside[Path(OUTSIDE, source.name) / path.relative_to(source.path)] = path
        else:
            outside |= {Path(OUTSIDE, name): path for name, path in source.files().items()}
    return files | dict(sorted(outside.items()))


def outside_modules(sources: Sequence[Source]) -> list[str]:
    """What a job includes of the copied sources: paths below the copy."""
    found = []
    for source in sources:
        for path in source.registering:
            inside = path.relative_to(source.path.parent)
            found.append((Path(OUTSIDE) / inside).as_posix())
    return found


def _plain_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield path


def code_files(root: Path) -> Iterable[Path]:
    """The package's files relative to `root`, in a fixed order: code, YAML and bundled assets."""
    for room in ROOMS:
        for folder, folders, names in os.walk(root / room):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            for name in sorted(names):
                if not name.startswith(".") and not name.endswith(".pyc"):
                    yield (Path(folder) / name).relative_to(root)


def content_hash(files: Mapping[Path, Path]) -> str:
    """First 16 hex digits of the SHA-256 over names and bytes; `files`: {name: path}."""
    digest = hashlib.sha256()
    for name, path in files.items():
        content = path.read_bytes()
        digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _git_state(root: Path) -> dict[str, object]:
    sha = _git(root, "rev-parse", "HEAD").strip()
    tracked = sha and _git(root, "ls-files", "janus/__init__.py")
    dirty = bool(_git(root, "status", "--porcelain", "--", *ROOMS).strip())
    return {"sha": sha, "dirty": dirty} if tracked else {}


def _git(root: Path, *words: str) -> str:
    """Output of git, '' outside a repository or without git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
