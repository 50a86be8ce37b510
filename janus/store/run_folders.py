"""Where the files of a run store lie. See `store.py` for the whole layout."""

from __future__ import annotations

from pathlib import Path


class RunFolders:
    """The paths of a run store in the folder `root`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().resolve()

    def run_dir(self, cell_id: str) -> Path:
        """The folder of a run: its claims, attempts and checkpoints."""
        return self.root / "runs" / cell_id[:2] / cell_id

    def result_path(self, cell_id: str) -> Path:
        """The file of a cell's committed result, which may not exist yet."""
        return self.root / "results" / cell_id[:2] / f"{cell_id}.json"

    @property
    def features(self) -> Path:
        """The folder of cached features."""
        return self.root / "features"

    def checkpoints(self, cell_id: str) -> list[Path]:
        """Checkpoints of all attempts at a run, furthest progress first."""
        named = (self.run_dir(cell_id) / "ckpt").glob("*/*.safetensors")
        found = (path for path in named if not path.is_dir())  # which could not be deleted as one
        return sorted(found, key=lambda p: (p.name, p.parent.name), reverse=True)
