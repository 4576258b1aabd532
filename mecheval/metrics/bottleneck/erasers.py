"""Linear erasers of a variable, on arrays: h' = h - left (right^T (h - mean)).

Shape suffixes: ``N`` examples, ``D`` features, ``K`` rank of the eraser, ``S`` classes, ``J`` label
sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.probe.probes import Split, log_loss_gain
from mecheval.metrics.probe.together import Rows, fit_together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOLERANCE = 1e-6  # singular values below this share of the largest are rounding


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

    def left(self, covariance: Covariance) -> float:
        """Return the share of the variance that is left."""
        left_DD = np.eye(len(self.mean_D)) - self.left_DK @ self.right_DK.T
        total = np.trace(covariance.matrix_DD)
        return float(np.trace(left_DD @ covariance.matrix_DD @ left_DD.T) / total)

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
        probes: Centred weights of probes that were fitted on them, by their strengths: several
            erasers need the same.
    """

    class_means_SD: np.ndarray
    count_S: np.ndarray
    covariance: Covariance
    rows: Split
    validation: Split
    probes: dict[tuple[float, ...], np.ndarray] = field(default_factory=dict, compare=False)

    @property
    def mean_D(self) -> np.ndarray:
        """Return the mean over all classes."""
        return self.count_S @ self.class_means_SD / self.count_S.sum()

    @property
    def all_rows(self) -> Split:
        """Return all kept cells."""
        parts = zip(self.rows, self.validation, strict=True)
        return Split(*(np.concatenate(part) for part in parts))


@dataclass(frozen=True)
class Probing:
    """How probes are fitted whose directions are erased.

    Attributes:
        inverse_l2: Inverse strengths of L2 to choose among, by the validation rows.
        inlp_rows: Rows that every probe of INLP is fitted on.
        inlp_inverse_l2: Its inverse strength of L2, which is not chosen.
        inlp_rounds: Number of its probes.
    """

    inverse_l2: Sequence[float]
    inlp_rows: int = 2000
    inlp_inverse_l2: float = 1.0
    inlp_rounds: int = 20


def class_mean(fit: Fit, probing: Probing) -> Eraser:
    """Remove the span of the class means around the overall mean, rank S - 1.

    Afterwards all classes have the same mean, so no linear probe beats a constant on these cells
    (Belrose et al. 2023, arXiv:2306.03819, with the orthogonal projection). Where the means differ
    by noise alone it removes directions of large variance, whatever they hold.
    """
    del probing
    return _orthogonal(fit.mean_D, fit.class_means_SD - fit.mean_D)


def leace(fit: Fit, probing: Probing) -> Eraser:
    """Remove the same with least change of the activations: h' = h - W^+ P W (h - mean).

    W = Sigma^(-1/2), and P projects onto the span of the whitened class means (Belrose et al.
    2023, theorem 4.3).
    """
    del probing
    variance_D, axes_DD = fit.covariance.spectrum
    kept_D = variance_D > _TOLERANCE * variance_D.max()
    root_D, axes_DD = np.sqrt(variance_D[kept_D]), axes_DD[:, kept_D]
    span_DK = _basis(((fit.class_means_SD - fit.mean_D) @ axes_DD) / root_D)
    left_DK = axes_DD @ (root_D[:, None] * span_DK)
    return Eraser(fit.mean_D, left_DK, axes_DD @ (span_DK / root_D[:, None]))


def row_space(fit: Fit, probing: Probing) -> Eraser:
    """Remove the span of a logistic probe's centred weights, rank S - 1; a refit recovers."""
    return _orthogonal(fit.mean_D, _probe(fit, probing))


def direction(fit: Fit, probing: Probing) -> Eraser:
    """Remove the first singular direction of a logistic probe's centred weights; a refit recovers.

    For two classes this is the probe's direction: the ablation that Jiang 2026 v2
    (arXiv:2606.00926) shows to say nothing of whether the variable is used.
    """
    directions_SD = _probe(fit, probing)
    _, size_S, axes_SD = np.linalg.svd(directions_SD, full_matrices=False)
    return _orthogonal(fit.mean_D, size_S[:1, None] * axes_SD[:1])


def inlp(fit: Fit, probing: Probing) -> Eraser:
    """Remove the row spaces of probes fitted one after the other on what is left.

    Iterative nullspace projection (Ravfogel et al. 2020, arXiv:2004.07667). How much it removes
    depends on the rows, the L2 and the rounds, which therefore are fixed: it never stops early.
    """
    return inlp_of_all([fit], probing)[0]


def inlp_of_all(fits: Sequence[Fit], probing: Probing) -> list[Eraser]:
    """Do the same for several label sets of the same rows, whose probes are fitted together."""
    rows = Rows.of(fits[0].all_rows.features_ND[: probing.inlp_rows])
    labels_JN = np.stack([fit.all_rows.labels_N[: len(rows.centred_ND)] for fit in fits])
    left_JDD = np.repeat(np.eye(len(rows.mean_D))[None], len(fits), 0)
    removed = [left_DD[:, :0] for left_DD in left_JDD]
    strengths_J = np.full(len(fits), probing.inlp_inverse_l2)
    for _ in range(probing.inlp_rounds):
        maps_JDD = rows.standardising(left_JDD, scale=fits[0].covariance.typical)
        if not maps_JDD.any():  # everything has been removed
            break
        weights_JSD, _ = fit_together(rows, maps_JDD, labels_JN, strengths_J)
        for j, found_DK in enumerate(_bases(_centred(weights_JSD) @ left_JDD)):
            removed[j] = np.concatenate([removed[j], found_DK], 1)
            left_JDD[j] -= found_DK @ found_DK.T
    pairs = zip(fits, removed, strict=True)
    return [_orthogonal(fit.mean_D, removed_DK.T) for fit, removed_DK in pairs]


ERASERS: dict[str, Callable[[Fit, Probing], Eraser]] = {
    "leace": leace,
    "class_mean": class_mean,
    "row_space": row_space,
    "direction": direction,
    "inlp": inlp,
}
"""Every eraser by name."""


COMPLETE = ("leace", "class_mean")
"""Those behind which no linear probe reads anything, by theorem."""

_TOGETHER = 1 << 26  # bytes for a matrix of every label set


def erasers_of(name: str, fits: Sequence[Fit], probing: Probing) -> list[Eraser]:
    """Return the eraser of every label set of a variable at a layer."""
    alike = [fit for fit in fits if _same_rows(fit, fits[0])]
    n_together = max(1, _TOGETHER // (8 * len(fits[0].mean_D) ** 2))
    found: dict[int, Eraser] = {}
    for at in range(0, len(alike), n_together):
        some = alike[at : at + n_together]
        if name == "inlp":
            made = zip(some, inlp_of_all(some, probing), strict=True)
            found |= {id(fit): eraser for fit, eraser in made}
        elif name in ("row_space", "direction"):
            _fit_probes(some, probing)
    return [found[id(fit)] if id(fit) in found else ERASERS[name](fit, probing) for fit in fits]


def _same_rows(one: Fit, other: Fit) -> bool:
    """Say whether no label set lacks rows that the other has: those of values that do not count."""
    parts = zip((one.rows, one.validation), (other.rows, other.validation), strict=True)
    return all(np.array_equal(own.features_ND, others.features_ND) for own, others in parts)


def _probe(fit: Fit, probing: Probing) -> np.ndarray:
    """Return the weights of a probe on features as they are, around their mean over classes."""
    _fit_probes([fit], probing)
    return fit.probes[tuple(probing.inverse_l2)]


def _fit_probes(fits: Sequence[Fit], probing: Probing) -> None:
    """Fit the probes of label sets of the same rows, unless they have been; choose their L2."""
    strengths = tuple(sorted(probing.inverse_l2))
    fits = [fit for fit in fits if tuple(probing.inverse_l2) not in fit.probes]
    if not fits:
        return
    rows, validation = Rows.of(fits[0].rows.features_ND), fits[0].validation
    map_1DD = rows.standardising(np.eye(len(rows.mean_D))[None])
    weights_JSD, bias_JS = fit_together(
        rows,
        map_1DD,
        np.repeat([fit.rows.labels_N for fit in fits], len(strengths), 0),
        np.tile(np.array(strengths, np.float64), len(fits)),
    )
    centred_MD = rows.around_mean(validation.features_ND)
    for at, fit in enumerate(fits):
        own = slice(at * len(strengths), (at + 1) * len(strengths))
        gains = [
            log_loss_gain(centred_MD @ weights_SD.T + bias_S, fit.validation.labels_N)
            for weights_SD, bias_S in zip(weights_JSD[own], bias_JS[own], strict=True)
        ]
        best_SD = weights_JSD[own][int(np.argmax(gains))]
        fit.probes[tuple(probing.inverse_l2)] = _centred(best_SD)


def _centred(weights_JSD: np.ndarray) -> np.ndarray:
    return weights_JSD - weights_JSD.mean(-2, keepdims=True, dtype=np.float64)


def _orthogonal(mean_D: np.ndarray, directions_SD: np.ndarray) -> Eraser:
    axes_DK = _basis(directions_SD)
    return Eraser(mean_D, axes_DK, axes_DK)


def _basis(directions_SD: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the span of the rows, ``(D, K)``."""
    return _bases(directions_SD[None])[0]


def _bases(directions_JSD: np.ndarray) -> list[np.ndarray]:
    """Return the same for every set of rows; the ranks K differ."""
    _, size_JS, axes_JSD = np.linalg.svd(directions_JSD, full_matrices=False)
    least_J1 = _TOLERANCE * np.maximum(size_JS[:, :1], np.finfo(float).tiny)
    pairs = zip(axes_JSD, size_JS > least_J1, strict=True)
    return [axes_SD[kept_S].T for axes_SD, kept_S in pairs]
