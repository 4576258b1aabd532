"""Pairs whose answer is at stake, and shares of the gap between their clean and corrupted runs.

Shape suffixes: ``P`` pairs, ``C`` vocabulary, ``R`` resamples, ``V`` patched readouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mecheval.interventions.activations import observed
from mecheval.interventions.base_runs import BaseRuns
from mecheval.metrics import resampling
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.reports.results import Profile
    from mecheval.tasks import Pairs

MIN_PAIRS = 8
SIGNIFICANT = 3.0  # standard errors by which the gap must differ from zero


@dataclass(frozen=True)
class Gap:
    """Readouts logit(answer) - logit(foil) of pairs, and which of the pairs count.

    Attributes:
        clean_P: Of the clean runs.
        corrupted_P: Of the corrupted runs.
        kept_P: Whether the model answers both sides rightly; the clean one alone, where the
            exchange leaves no right answer.
    """

    clean_P: np.ndarray
    corrupted_P: np.ndarray
    kept_P: np.ndarray

    @property
    def n_kept(self) -> int:
        """Return the number of pairs that count."""
        return int(self.kept_P.sum())

    @property
    def gap_P(self) -> np.ndarray:
        """Return clean minus corrupted of the pairs that count."""
        return (self.clean_P - self.corrupted_P)[self.kept_P]

    @property
    def references(self) -> dict[str, float]:
        """Return the mean readouts of the pairs that count."""
        if not self.n_kept:
            return {}
        ends = {"clean": self.clean_P, "corrupted": self.corrupted_P}
        return {name: float(value_P[self.kept_P].mean()) for name, value_P in ends.items()}

    @property
    def objection(self) -> str | None:
        """Say why nothing can be normalised by this gap, None if it can."""
        if self.n_kept < MIN_PAIRS:
            return f"no gap: {self.n_kept} pairs are answered rightly, and {MIN_PAIRS} are needed"
        mean = float(self.gap_P.mean())
        error = float(self.gap_P.std(ddof=1)) / self.n_kept**0.5
        if not mean > SIGNIFICANT * error:
            return f"no gap: {mean:.3g} with a standard error of {error:.3g}"
        return None

    def weights(self, rng: np.random.Generator) -> np.ndarray:
        """Return the weights of resampled pairs, ``(R, P)`` over those that count."""
        return resampling.weights(self.n_kept, rng)

    def lost(self, patched_VP: np.ndarray, weight_RP: np.ndarray | None = None) -> np.ndarray:
        """Return (clean - patched) / (clean - corrupted), as means over the pairs that count.

        Args:
            patched_VP: Readouts of patched clean runs, of any shape ``(..., P)``; NaN in single
                pairs is a position that does not exist and changes nothing, NaN in all of them a
                site that does not.
            weight_RP: Weights of the pairs that count; each once where None.

        Returns:
            Shape ``(R, ...)``, or ``(...)`` without weights.
        """
        change_VP = (self.clean_P - patched_VP)[..., self.kept_P]
        absent_V1 = np.isnan(change_VP).all(-1, keepdims=True)
        change_VP = np.where(np.isnan(change_VP) & ~absent_V1, 0.0, change_VP)
        once = weight_RP is None
        weight_RP = np.ones((1, self.n_kept)) if weight_RP is None else weight_RP
        flat_PV = change_VP.reshape(-1, self.n_kept).T
        share_RV = resampling.ratio(weight_RP, flat_PV, self.gap_P[:, None])
        shares = share_RV.reshape(len(weight_RP), *change_VP.shape[:-1])
        return shares[0] if once else shares

    def profile(
        self, axes: Mapping[str, Sequence[Any]], patched_VP: np.ndarray, weight_RP: np.ndarray
    ) -> Profile:
        """Lay out what is lost with pointwise intervals; labels stand there as they are written."""
        index = {
            axis: [label if isinstance(label, int) else str(label) for label in labels]
            for axis, labels in axes.items()
        }
        bounds = resampling.bounds(self.lost(patched_VP, weight_RP))
        return profile(index, self.lost(patched_VP), bounds)


def gap_of(subject: Subject, pairs: Pairs) -> Gap:
    """Run both sides of pairs and compare their readouts."""
    clean_P, corrupted_P = (
        _readouts(subject, batch.tokens_BT, pairs) for batch in (pairs.clean, pairs.corrupted)
    )
    kept_P = (clean_P > 0) & ((corrupted_P < 0) | ~pairs.answered_P)
    return Gap(clean_P, corrupted_P, kept_P)


def _readouts(subject: Subject, tokens_PT: np.ndarray, pairs: Pairs) -> np.ndarray:
    model = subject.model.eval()
    arrays = (tokens_PT, pairs.answers_P, pairs.foils_P, pairs.readout_P)
    tensors = [torch.as_tensor(array, device=model.device) for array in arrays]
    runs = BaseRuns(model, *tensors, kind="logit_difference")
    _, value_P = observed(
        model, runs.tokens_PT, [],
        readout_B=runs.readout_P, read=runs.value, batch_size=subject.batch_size,
    )  # fmt: skip
    return value_P.cpu().numpy()
