"""Use and sufficiency by layer, on arrays.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mecheval.metrics import layer_curves, resampling


@dataclass(frozen=True)
class Curves:
    """What exchange does to the answers, by layer; the interval of everything is over sequences.

    Attributes:
        clean_B: Share of right answers per sequence, as the model is.
        free_LB: With donors of any state.
        kept_LB: With donors of the same state.
        weight_RB: How often each resample holds each sequence.
        chance: Accuracy of a uniform guess.
        min_loss: Least accuracy that donors of any state must cost for sufficiency to be defined.
    """

    clean_B: np.ndarray
    free_LB: np.ndarray
    kept_LB: np.ndarray
    weight_RB: np.ndarray
    chance: float
    min_loss: float

    @property
    def accuracy(self) -> float:
        """Return the accuracy of the model as it is."""
        return float(self.clean_B.mean())

    @property
    def free_L(self) -> np.ndarray:
        """Return the accuracy with donors of any state."""
        return self.free_LB.mean(1)

    @property
    def kept_L(self) -> np.ndarray:
        """Return the accuracy with donors of the same state."""
        return self.kept_LB.mean(1)

    @property
    def loses_L(self) -> np.ndarray:
        """Say at which layers donors of any state cost enough to ask what brings it back."""
        return self.accuracy - self.free_L >= self.min_loss

    @cached_property
    def free_RL(self) -> np.ndarray:
        """Return the accuracy with donors of any state, in resamples."""
        return resampling.mean_ignoring_nan(self.weight_RB, self.free_LB.T)

    @cached_property
    def kept_RL(self) -> np.ndarray:
        """Return the accuracy with donors of the same state, in resamples."""
        return resampling.mean_ignoring_nan(self.weight_RB, self.kept_LB.T)

    @cached_property
    def clean_R1(self) -> np.ndarray:
        """Return the accuracy of the model as it is, in resamples."""
        return resampling.mean_ignoring_nan(self.weight_RB, self.clean_B[:, None])

    @property
    def use_L(self) -> np.ndarray:
        """Return (acc - acc_free) / (acc - chance)."""
        return _ratio(self.accuracy - self.free_L, self.accuracy - self.chance)

    @property
    def use_RL(self) -> np.ndarray:
        """Return the use in resamples."""
        return _ratio(self.clean_R1 - self.free_RL, self.clean_R1 - self.chance)

    @property
    def kept_share_L(self) -> np.ndarray:
        """Return (acc_kept - chance) / (acc - chance): what donors of the same state leave."""
        return _ratio(self.kept_L - self.chance, self.accuracy - self.chance)

    @cached_property
    def sufficiency_L(self) -> np.ndarray:
        """Return (acc_kept - acc_free) / (acc - acc_free); NaN where little is lost."""
        ratio_L = _ratio(self.kept_L - self.free_L, self.accuracy - self.free_L)
        return np.where(self.loses_L, ratio_L, np.nan)

    @cached_property
    def sufficiency_RL(self) -> np.ndarray:
        """Return the sufficiency in resamples, at the layers where it is defined on all."""
        ratio_RL = _ratio(self.kept_RL - self.free_RL, self.clean_R1 - self.free_RL)
        return np.where(self.loses_L, ratio_RL, np.nan)


def _ratio(above: np.ndarray, below: np.ndarray | float) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(below) > 0, above / np.asarray(below), np.nan)


def lateness(sufficiency_L: np.ndarray) -> np.ndarray:
    """Return the centre of mass of the rise of sufficiency, from 0 (at once) to 1 (at the end).

    See :func:`mecheval.metrics.layer_curves.shape`. Where sufficiency is not defined nothing of
    the state is used that is not made again later, so that no step is counted: it counts as at the
    layer before, and as 0 at the beginning.

    Args:
        sufficiency_L: Sufficiency, ``(..., n + 1)``, NaN where it is not defined.
    """
    place_L = np.where(np.isnan(sufficiency_L), -1, np.arange(sufficiency_L.shape[-1]))
    last_L = np.maximum.accumulate(place_L, axis=-1)
    known_L = np.take_along_axis(sufficiency_L, np.maximum(last_L, 0), axis=-1)
    filled_L = np.where(last_L < 0, 0.0, known_L)
    return layer_curves.shape(np.clip(filled_L, 0.0, 1.0))["com"]


def inner_mean(sufficiency_L: np.ndarray) -> np.ndarray:
    """Return the mean sufficiency over the layers between the first and the last one.

    Args:
        sufficiency_L: Sufficiency, ``(..., n + 1)``, NaN where it is not defined.

    Returns:
        ``(...)``; NaN where it is defined at none of them.
    """
    inner_L = sufficiency_L[..., 1:-1]
    known_L = ~np.isnan(inner_L)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known_L, inner_L, 0.0).sum(-1) / known_L.sum(-1)
