"""The counterpart of an induction circuit in recurrent models: taps, writes, and states.

What a short convolution hands on takes the place of a previous-token head, and the state that the
last step reads from that of an induction head.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``C`` lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions import recovery_grid
from mecheval.metrics.circuit.taps import tap_effects
from mecheval.models.short_convolutions import short_convolutions

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.models.decomposition import Decomposition
    from mecheval.tasks import Pairs


@dataclass(frozen=True)
class MemoryPaths:
    """Readouts of clean runs into which something of the corrupted run was put.

    Attributes:
        state_LP: The last step starts from the corrupted run's state in one layer.
        write_LOP: One position behind the exchanged token writes what it writes in that run.
        tap_LOCP: One tap at one position sees that run's input; None without convolutions.
        frozen: Whether the memory of all later layers was held at the clean run's.
    """

    state_LP: np.ndarray
    write_LOP: np.ndarray
    tap_LOCP: np.ndarray | None
    frozen: bool


def memory_paths(
    subject: Subject, decomposition: Decomposition, pairs: Pairs, *, max_offset: int
) -> MemoryPaths:
    """Put states, writes and tap inputs of the corrupted runs into the clean ones.

    The query is the same in both runs, so that what a state carries is memory and no query; and a
    write is that of the corrupted run at that very step, its decay included (Wang et al. 2025,
    arXiv:2410.06672, whose scripts differ in both).

    Args:
        subject: The model on its task.
        decomposition: The model in parts.
        pairs: Clean and corrupted runs that differ at one position, or at those of a key.
        max_offset: The largest offset of writes and taps.
    """
    rereading = [layer.mixing.writes is not None for layer in decomposition.layers]
    offsets_PO = pairs.source_P[:, None] + np.arange(max_offset + 1)
    offsets_PO = np.where(offsets_PO <= pairs.readout_P[:, None], offsets_PO, -1)

    def patched(component: str, positions_PO: np.ndarray) -> np.ndarray:
        return recovery_grid(
            subject.model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P,
            pairs.foils_P, pairs.readout_P, components=(component,), positions=positions_PO,
            direction="noising", frozen=all(rereading), batch_size=subject.batch_size,
        ).component(component)  # fmt: skip

    weights = short_convolutions(subject.model)
    return MemoryPaths(
        patched("state", pairs.readout_P[:, None] - 1)[:, 0],
        patched("write", offsets_PO) if all(rereading) else _nowhere(decomposition, offsets_PO),
        tap_effects(subject, pairs, weights, max_offset=max_offset) if weights else None,
        all(rereading),
    )


def _nowhere(decomposition: Decomposition, offsets_PO: np.ndarray) -> np.ndarray:
    return np.full((len(decomposition.layers), *offsets_PO.T.shape), np.nan)
