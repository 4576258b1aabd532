"""mecheval's own grid: one call.

Shape suffixes: ``L`` layers, ``T`` positions, ``P`` pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mecheval
from mecheval.interventions import recovery_grid
from mecheval.models.wrapped.model import WrappedModel

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.peers.contract import Job

VERSION = mecheval.__version__


class Engine:
    """The wrapped model of a job."""

    def __init__(self, job: Job) -> None:
        """Wrap a copy of the job's model, and run the corners of the grid, which are checked."""
        self.job = job
        self.model = WrappedModel(job.build())
        first, last = int(job.pairs.changed_P.min()), job.n_positions - 1
        # The fastest, or so small a grid would take plain hooks, and leave the check to the first
        # round.
        self._grid(layers=[0, job.n_layers - 1], positions=[first, last], engine="fastest")

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Run the whole grid; return patched readouts ``(L, T, P)`` and corrupted ones ``(P,)``."""
        found = self._grid()
        return found.component("block_in"), found.corrupted

    def _grid(self, **cells: Any) -> Any:
        pairs = self.job.pairs
        readouts = [self.job.n_positions - 1] * len(pairs.answers_P)
        return recovery_grid(
            self.model, pairs.clean_PT.cpu(), pairs.corrupted_PT.cpu(), pairs.answers_P.cpu(),
            pairs.foils_P.cpu(), readouts, **cells,
        )  # fmt: skip
