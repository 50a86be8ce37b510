"""What a method tells about itself beside its predictions. Every member has a default."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Reported:
    """Costs and diagnostics, for the results of a run."""

    passes_beside_training: float = 0.0
    """Forward passes over a task's images besides training, per task."""

    def trained_parameters(self) -> int:
        """Number of parameters that are trained in the current task."""
        return 0

    def diagnose(self, past: list[Tensor]) -> dict[str, Any]:
        """Facts about the task just ended. `past`: prepared test images of earlier tasks (or their
        features, see precomputable.py).

        The only place where images of past tasks may be looked at; nothing learnt here may be
        kept.
        """
        return {}
