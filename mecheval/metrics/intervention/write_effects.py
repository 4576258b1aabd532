"""What exchanging single writes around a source token does to the answer, pair by pair.

Shape suffixes: ``P`` pairs, those that count where a method returns them; ``L`` layers, ``O``
offsets, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions import recovery_grid
from mecheval.metrics import resampling
from mecheval.metrics.intervention.offsets import FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.interventions import RecoveryGrid
    from mecheval.interventions.grid import Direction
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Pairs

COMPONENTS = ("block_in", "mixer_in", "conv_out", "write", "mixer_out")
MEMORY = ("state", "cache")


@dataclass(frozen=True)
class WriteEffects:
    """Readouts of runs in which one activation around the source is the other run's.

    Attributes:
        noising: Activations of the corrupted run in the clean one.
        denoising: Writes of the clean run in the corrupted one.
        kept_P: Which pairs count: both sides are answered rightly (the clean one, where the
            exchange leaves no right answer), and the readout lies beyond the last offset.
    """

    noising: RecoveryGrid
    denoising: RecoveryGrid
    kept_P: np.ndarray

    @property
    def n_kept(self) -> int:
        """Return the number of pairs that count."""
        return int(self.kept_P.sum())

    @property
    def gap_P(self) -> np.ndarray:
        """Return what exchanging the whole input takes from the answer."""
        return (self.noising.clean - self.noising.corrupted)[self.kept_P]

    @property
    def references(self) -> dict[str, float]:
        """Return the mean readouts of both runs."""
        ends = {"clean": self.noising.clean, "corrupted": self.noising.corrupted}
        return {name: float(end_P[self.kept_P].mean()) for name, end_P in ends.items()}

    def taken(self, component: str) -> np.ndarray:
        """Return what exchanging a component takes ``(L, O, P)``; NaN where there is none."""
        return self._kept(self.noising.clean - self.noising.component(component))

    def taken_by_step(self, memory: str) -> np.ndarray:
        """Return what exchanging a memory takes more at an offset than at the one before it."""
        return np.diff(np.nan_to_num(self.taken(memory)), axis=1, prepend=0.0)

    def restored(self) -> np.ndarray:
        """Return what clean writes bring back in the corrupted run, ``(L, O, P)``."""
        return self._kept(self.denoising.component("write") - self.denoising.corrupted)

    def shares(self, change_LOP: np.ndarray, weight_RP: np.ndarray | None = None) -> np.ndarray:
        """Return changes as shares of the gap, as ratios of means.

        Args:
            change_LOP: What one of the methods returned.
            weight_RP: Weights of the pairs; each once where None.

        Returns:
            Shape ``(R, L, O)``, or ``(L, O)`` without weights.
        """
        once = weight_RP is None
        weight_RP = np.ones((1, self.n_kept)) if weight_RP is None else weight_RP
        flat_PV = change_LOP.reshape(-1, self.n_kept).T
        share_RV = resampling.ratio(weight_RP, flat_PV, self.gap_P[:, None])
        share_RLO = share_RV.reshape(-1, *change_LOP.shape[:2])
        return share_RLO[0] if once else share_RLO

    def _kept(self, change_LOP: np.ndarray) -> np.ndarray:
        kept_LOP = change_LOP[..., self.kept_P]
        # A position before the sequence changes nothing.
        missing = np.isnan(kept_LOP) & ~np.isnan(kept_LOP).all((1, 2), keepdims=True)
        return np.where(missing, 0.0, kept_LOP)


def beyond(pairs: Pairs, max_offset: int) -> np.ndarray:
    """Say of every pair whether its readout lies beyond the last offset, ``(P,)``."""
    return pairs.readout_P - pairs.source_P > max_offset


def write_effects(
    subject: Subject, pairs: Pairs, kept_P: np.ndarray, *, max_offset: int
) -> WriteEffects:
    """Exchange activations and memory at the offsets from ``FIRST`` to ``max_offset``.

    Args:
        subject: The model on its task.
        pairs: The pairs.
        kept_P: Which of them count.
        max_offset: The largest offset behind the exchanged token.
    """
    own_PO = pairs.source_P[:, None] + np.arange(FIRST, max_offset + 1)

    def patched(components: Sequence[str], direction: Direction) -> RecoveryGrid:
        return recovery_grid(
            subject.model,
            pairs.clean.tokens_BT,
            pairs.corrupted.tokens_BT,
            pairs.answers_P,
            pairs.foils_P,
            pairs.readout_P,
            components=components,
            positions=own_PO,
            direction=direction,
            batch_size=subject.batch_size,
        )

    noising = patched((*COMPONENTS, *MEMORY), "noising")
    return WriteEffects(noising, patched(("write",), "denoising"), kept_P)
