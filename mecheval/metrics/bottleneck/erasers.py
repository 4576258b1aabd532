"""Linear erasers of a variable, on arrays: h' = h - left (right^T (h - mean)).

Shape suffixes: ``N`` examples, ``D`` features, ``K`` rank of the eraser, ``S`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.probe.probes import LogisticProbe, Split, fit_logistic, score_balanced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INLP_ROUNDS = 20
_TOLERANCE = 1e-6  # singular values below this share of the largest are rounding
_AT_CHANCE = 0.03  # INLP stops when its probe is this close to chance


@dataclass(frozen=True)
class Eraser:
    """An affine map that removes K directions.

    Attributes:
        mean_D: The point that is left where it is.
        left_DK: Directions that are subtracted.
        right_DK: Directions that are read; equal to ``left_DK`` for orthogonal projections.
    """

    mean_D: np.ndarray
    left_DK: np.ndarray
    right_DK: np.ndarray

    @property
    def rank(self) -> int:
        """Return the number of removed directions."""
        return self.left_DK.shape[1]

    def __call__(self, features_ND: np.ndarray) -> np.ndarray:
        """Return the features without the removed directions, in float64."""
        centred_ND = features_ND.astype(np.float64) - self.mean_D
        return self.mean_D + centred_ND - (centred_ND @ self.right_DK) @ self.left_DK.T


@dataclass(frozen=True)
class Covariance:
    """Covariance of the activations at one layer; all variables there share it.

    Attributes:
        matrix_DD: The matrix.
    """

    matrix_DD: np.ndarray

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Return variances ``(D,)`` in ascending order, and their directions as columns."""
        variance_D, axes_DD = np.linalg.eigh(self.matrix_DD)
        return variance_D, axes_DD

    @property
    def typical(self) -> float:
        """Return the typical standard deviation of a feature."""
        return float(np.sqrt(np.trace(self.matrix_DD) / len(self.matrix_DD)))


@dataclass(frozen=True)
class Fit:
    """What erasers are fitted on, at one layer and for one variable.

    Attributes:
        class_means_SD: Mean activation of every class.
        count_S: Number of cells of every class.
        covariance: Covariance of the activations, all classes together.
        rows: Some of the cells, for erasers that fit probes.
        validation: Others, by which those probes choose their L2.
    """

    class_means_SD: np.ndarray
    count_S: np.ndarray
    covariance: Covariance
    rows: Split
    validation: Split

    @property
    def mean_D(self) -> np.ndarray:
        """Return the mean over all classes."""
        return self.count_S @ self.class_means_SD / self.count_S.sum()


def class_mean(fit: Fit, inverse_l2: Sequence[float]) -> Eraser:
    """Remove the span of the class means around the overall mean, rank S - 1.

    Afterwards all classes have the same mean, so no linear probe beats a constant on these cells
    (Belrose et al. 2023, arXiv:2306.03819, with the orthogonal projection).
    """
    del inverse_l2
    return _orthogonal(fit.mean_D, fit.class_means_SD - fit.mean_D)


def leace(fit: Fit, inverse_l2: Sequence[float]) -> Eraser:
    """Remove the same with least change of the activations: h' = h - W^+ P W (h - mean).

    W = Sigma^(-1/2), and P projects onto the span of the whitened class means (Belrose et al.
    2023, theorem 4.3).
    """
    del inverse_l2
    variance_D, axes_DD = fit.covariance.spectrum
    kept_D = variance_D > _TOLERANCE * variance_D.max()
    root_D, axes_DD = np.sqrt(variance_D[kept_D]), axes_DD[:, kept_D]
    span_DK = _basis(((fit.class_means_SD - fit.mean_D) @ axes_DD) / root_D)
    left_DK = axes_DD @ (root_D[:, None] * span_DK)
    return Eraser(fit.mean_D, left_DK, axes_DD @ (span_DK / root_D[:, None]))


def row_space(fit: Fit, inverse_l2: Sequence[float]) -> Eraser:
    """Remove the span of a logistic probe's centred weights, rank S - 1; a refit recovers."""
    probe = fit_logistic(fit.rows, fit.validation, inverse_l2)
    return _orthogonal(fit.mean_D, _centred_directions(probe))


def direction(fit: Fit, inverse_l2: Sequence[float]) -> Eraser:
    """Remove the first singular direction of a logistic probe's centred weights; a refit recovers.

    For two classes this is the probe's direction: the ablation that Jiang 2026 v2
    (arXiv:2606.00926) shows to say nothing of whether the variable is used.
    """
    probe = fit_logistic(fit.rows, fit.validation, inverse_l2)
    _, size_S, axes_SD = np.linalg.svd(_centred_directions(probe), full_matrices=False)
    return _orthogonal(fit.mean_D, size_S[:1, None] * axes_SD[:1])


def inlp(fit: Fit, inverse_l2: Sequence[float]) -> Eraser:
    """Remove the row spaces of probes fitted one after the other on what is left.

    Iterative nullspace projection (Ravfogel et al. 2020, arXiv:2004.07667); stops when the probe is
    within 0.03 of chance on the validation rows, or after 20 rounds.
    """
    mean_D, rows, validation = fit.mean_D, fit.rows, fit.validation
    removed_SD = np.zeros((0, len(mean_D)))
    eraser = Eraser(mean_D, removed_SD.T, removed_SD.T)
    for _ in range(INLP_ROUNDS):
        left = [Split(eraser(split.features_ND), split.labels_N) for split in (rows, validation)]
        probe = fit_logistic(left[0], left[1], inverse_l2, scale=fit.covariance.typical)
        correct = probe.predict(left[1].features_ND) == validation.labels_N
        if score_balanced(correct, validation.labels_N) <= 1 / len(fit.count_S) + _AT_CHANCE:
            break
        removed_SD = np.concatenate([removed_SD, _basis(_centred_directions(probe)).T])
        eraser = _orthogonal(mean_D, removed_SD)
    return eraser


ERASERS: dict[str, Callable[[Fit, Sequence[float]], Eraser]] = {
    "class_mean": class_mean,
    "leace": leace,
    "row_space": row_space,
    "direction": direction,
    "inlp": inlp,
}
"""Every eraser by name; the strengths are those of its probes, if it fits any."""


def top_components(fit: Fit, rank: int) -> Eraser:
    """Remove the directions of largest variance: a control that ignores the variable."""
    _, axes_DD = fit.covariance.spectrum
    axes_DK = axes_DD[:, ::-1][:, :rank]
    return Eraser(fit.mean_D, axes_DK, axes_DK)


def random_subspaces(
    mean_D: np.ndarray, rank: int, n: int, rng: np.random.Generator
) -> list[Eraser]:
    """Remove uniformly drawn subspaces of a dimension: what any erasure of this size does."""
    found = []
    for _ in range(n):
        axes_DK, _ = np.linalg.qr(rng.standard_normal((len(mean_D), rank)))
        found.append(Eraser(mean_D, axes_DK, axes_DK))
    return found


def _centred_directions(probe: LogisticProbe) -> np.ndarray:
    return probe.directions_SD - probe.directions_SD.mean(0)


def _orthogonal(mean_D: np.ndarray, directions_SD: np.ndarray) -> Eraser:
    axes_DK = _basis(directions_SD)
    return Eraser(mean_D, axes_DK, axes_DK)


def _basis(directions_SD: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the span of the rows, ``(D, K)``."""
    _, size_S, axes_SD = np.linalg.svd(directions_SD, full_matrices=False)
    return axes_SD[size_S > _TOLERANCE * max(size_S[0], np.finfo(float).tiny)].T
