"""The workers of `run`: a pool that starts with the first round, and anew when Ray dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from janus.config.cell import Cell
from janus.config.execution import Execution
from janus.errors import ClusterError
from janus.store.store import Store
from sweeps.execution.rounds import OnOutcome

RESTARTS = 3
"""Times that a sweep starts its own Ray anew after a process of Ray died."""

LOST = "JANUS_RAY_LOST"
"""Environment variable: how often Ray had died before this process began its program again."""


class Workers:
    """The sweep's pool of workers: started with the first round, and anew when Ray dies."""

    def __init__(
        self,
        store: Store,
        execution: Execution,
        count: int | None,
        cells: Sequence[Cell],
        tracked: Mapping[str, Mapping[str, Any]],
        log: Callable[[str], None],
    ) -> None:
        """`count`: workers to start; None: as many as the Ray cluster at RAY_ADDRESS allows.

        `cells`: all of the sweep; `tracked`: as for `RayPool`; `log` prints a line about the work.
        """
        self.store, self.execution, self.count = store, execution, count
        self.cells, self.tracked, self.log = cells, tracked, log
        self.pool: Any = None
        self.lost = int(os.environ.get(LOST, "0"))
        """Times that Ray died."""
        self.side_by_side = count or 1
        """The most cells that were trained at a time."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run_round(self, cells: Sequence[Cell], on_outcome: OnOutcome) -> None:
        """Attempt the cells. When Ray dies, the round ends early and the next one starts Ray anew.

        Raises ClusterError when that happened too often.
        """
        if self.pool is None:
            self._start()
        from sweeps.execution.ray_cluster import RayLostError

        try:
            self.pool.run(cells, on_outcome)
        except RayLostError as error:
            self._close()
            self._count(str(error))
        else:
            self.side_by_side = self.pool.side_by_side

    def _count(self, what: str) -> None:
        """Say that Ray died, or raise ClusterError when that happened too often."""
        self.lost += 1
        if self.lost > RESTARTS:
            raise ClusterError(f"{what}, time {self.lost}; is memory short? Try fewer workers")
        self.log(
            f"{what} (ended by the kernel for lack of memory?); what was in training is taken up "
            f"from its checkpoints, with Ray started anew ({self.lost} of {RESTARTS})"
        )

    def _begin_again(self, name: str) -> None:
        """Run this process's program from its start: its main thread is stuck in dead Ray.

        Nothing is lost by that: what is finished and how far the rest is stand in the store.
        """
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # the cursor, which the live display hides
        try:
            self._count(f"Ray's {name} died")
        except ClusterError as error:
            self.log(f"error: {error}. Go on with the same command")
            os._exit(3)
        os.environ[LOST] = str(self.lost)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _start(self) -> None:
        from sweeps.execution.ray_pool import RayPool

        self.pool = RayPool(
            self.store, self.count, self.execution, sweep=self.cells, tracked=self.tracked
        )
        self.pool.cluster.when_stuck = self._begin_again
        self.pool.__enter__()

    def _close(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.__exit__()
