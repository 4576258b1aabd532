"""How typical an activation is among those that a model has by itself at the same position.

Natural runs are dealt into two parts. The first gives the mean of every position and one covariance
of what lies around these means, shrunk towards a multiple of the identity (Ledoit and Wolf 2004,
doi:10.1016/S0047-259X(03)00096-4), so that it can be inverted however few runs there are. The
second part was not fitted to, as patched activations were not, so that its distances are what those
of further natural runs would be.

Shape suffixes: ``N`` natural runs, ``U`` positions, ``D`` width, ``R`` rows: residuals of any runs
and positions, ``P`` runs in question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MIN_RUNS = 8
"""Natural runs in either part, at least."""

LEAST_SHRINKAGE = 1e-4
"""What is left of the mean variance in a direction in which nothing varies: what moves there counts
as up to a hundred standard deviations, but rounding does not."""

_ROUNDING = 1e-4, 1e-5
"""Standard deviations that are no variation: of an entry's typical size, and of that of all."""

_TIED = 0.005
"""Difference of two distances that is none, as a share of the square root of the width, which is
what a natural distance is about: else rounding would order runs that are equal."""


def shrinkage_of(residual_RD: Tensor) -> float:
    """Return the weight of the identity that Ledoit and Wolf derive for centred rows."""
    n, width = residual_RD.shape
    covariance_DD = residual_RD.T @ residual_RD / n
    mean_variance = covariance_DD.trace() / width
    spread = (covariance_DD**2).sum() - width * mean_variance**2
    # Of the sample covariance around the true one, as the rows themselves estimate it.
    error = ((residual_RD**2).sum(1) ** 2).sum() / n**2 - (covariance_DD**2).sum() / n
    return float((error / spread).clamp(0.0, 1.0)) if spread > 0 else 1.0


@dataclass(frozen=True)
class Natural:
    """What is natural at one site.

    Attributes:
        position_U: The positions that are known, in order.
        mean_UD: Mean activation at each.
        factor_DD: Lower triangular, with the shrunk covariance as its product with its transpose.
        distance_UN: Distances of the natural runs that nothing was fitted to.
        shrinkage: Weight of the identity in the covariance; near 1 there were too few runs to know
            more than the mean variance.
    """

    position_U: np.ndarray
    mean_UD: Tensor
    factor_DD: Tensor
    distance_UN: np.ndarray
    shrinkage: float

    @classmethod
    def of(cls, value_NUD: Tensor, position_U: np.ndarray) -> Natural:
        """Learn from natural runs; the first half is fitted to.

        Args:
            value_NUD: Their activations, of at least twice :data:`MIN_RUNS` runs.
            position_U: Where, in order.
        """
        value_NUD = value_NUD.double().cpu()
        fitted_NUD = value_NUD[: len(value_NUD) // 2]
        mean_UD = fitted_NUD.mean(0)
        residual_RD = (fitted_NUD - mean_UD).flatten(0, 1)
        # A mean that is fitted takes a part of what varies with it.
        residual_RD = residual_RD * (len(fitted_NUD) / (len(fitted_NUD) - 1)) ** 0.5
        shrinkage = max(shrinkage_of(residual_RD), LEAST_SHRINKAGE)
        covariance_DD = residual_RD.T @ residual_RD / len(residual_RD)
        square_D, (own, common) = (fitted_NUD**2).mean((0, 1)), _ROUNDING
        # Where nothing at all varies, and all is zero, the distance is the plain length.
        rounding_D = own**2 * square_D + common**2 * square_D.mean() + (square_D.mean() == 0)
        mean_variance = covariance_DD.diagonal().mean()
        least_D = shrinkage * mean_variance + rounding_D
        factor_DD = torch.linalg.cholesky((1 - shrinkage) * covariance_DD + least_D.diag())
        kept_NUD = value_NUD[len(fitted_NUD) :] - mean_UD
        distance_UN = _lengths(kept_NUD.flatten(0, 1), factor_DD).reshape(kept_NUD.shape[:2]).T
        return cls(position_U, mean_UD, factor_DD, distance_UN, shrinkage)

    def distance(self, value_PD: Tensor, position_P: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance from the mean of its position, ``(P,)``."""
        place_P = np.searchsorted(self.position_U, position_P)
        return _lengths(value_PD.double().cpu() - self.mean_UD[place_P], self.factor_DD)

    def rank(self, distance_P: np.ndarray, position_P: np.ndarray) -> np.ndarray:
        """Return the share of natural runs nearer to the mean at the same position, ``(P,)``.

        A natural run of the same distance, up to rounding, counts half: 0.5 on average for what is
        natural, 1 for what is further away than everything natural.
        """
        natural_PN = self.distance_UN[np.searchsorted(self.position_U, position_P)]
        distance_P1 = distance_P[:, None]
        tied_PN = np.abs(natural_PN - distance_P1) <= _TIED * len(self.factor_DD) ** 0.5
        nearer_PN = np.where(tied_PN, 0.5, natural_PN < distance_P1)
        return np.where(np.isnan(distance_P), np.nan, nearer_PN.mean(1))

    def median(self, position_P: np.ndarray) -> float:
        """Return the median of the natural distances at some positions, each as often as it is."""
        return float(np.median(self.distance_UN[np.searchsorted(self.position_U, position_P)]))


def _lengths(residual_RD: Tensor, factor_DD: Tensor) -> np.ndarray:
    whitened_DR = torch.linalg.solve_triangular(factor_DD, residual_RD.T, upper=False)
    return whitened_DR.norm(dim=0).numpy()
