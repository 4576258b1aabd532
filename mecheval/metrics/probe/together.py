"""Logistic regressions on the same rows at once, each with labels and a linear map of its own.

The objective is that of :mod:`mecheval.metrics.probe.logistic`, and so are the search and where it
ends; one pass over the rows serves all of them. Row n of set j is
``A_j^T (x_n - mean)``: its scores are those of the weights ``A_j w`` on the rows as they are.

Shape suffixes: ``J`` sets, ``A`` sets that are still searched, ``N`` rows, ``D`` features, ``E``
features and the intercept, ``S`` classes, ``Q`` classes of all sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.metrics.probe import logistic
from mecheval.metrics.probe.design import CONSTANT, one_hot

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Points(NamedTuple):
    """The objectives at some weights; the preconditioned gradients are ``scaled``."""

    weights_ASE: np.ndarray
    loss_A: np.ndarray
    gradient_ASE: np.ndarray
    scaled_ASE: np.ndarray


class _Pairs(NamedTuple):
    """Steps, how they changed the gradients, the same preconditioned, and 1 / <step, change>.

    The last is 0 for sets that took no step, or one that says nothing of the curvature.
    """

    step_ASE: np.ndarray
    change_ASE: np.ndarray
    scaled_ASE: np.ndarray
    inverse_A: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows that several models are fitted on.

    Attributes:
        mean_D: Their mean.
        centred_ND: The rows around it, float32.
        covariance_DD: Their covariance.
    """

    mean_D: np.ndarray
    centred_ND: np.ndarray
    covariance_DD: np.ndarray

    @cached_property
    def centred_DN(self) -> np.ndarray:
        """Return the rows around their mean, by feature."""
        return np.ascontiguousarray(self.centred_ND.T)

    @cached_property
    def gram_DD(self) -> np.ndarray:
        """Return the covariance of the rows as they are held."""
        return self.centred_ND.T.astype(np.float64) @ self.centred_ND / len(self.centred_ND)

    @classmethod
    def of(cls, features_ND: np.ndarray) -> Rows:
        """Centre features in float64."""
        mean_D = features_ND.mean(0, dtype=np.float64)
        centred_ND = features_ND - mean_D
        covariance_DD = centred_ND.T @ centred_ND / len(centred_ND)
        return cls(mean_D, centred_ND.astype(np.float32), covariance_DD)

    def around_mean(self, features_MD: np.ndarray) -> np.ndarray:
        """Return other features around the mean of these."""
        return (features_MD - self.mean_D).astype(np.float32)

    def standardising(self, maps_JDD: np.ndarray, *, scale: float | None = None) -> np.ndarray:
        """Return maps with columns by which features have unit variance, or none.

        Args:
            maps_JDD: The maps.
            scale: See :func:`mecheval.metrics.probe.design.design`; that of each map if None.
        """
        variance_JD = (maps_JDD * (self.covariance_DD @ maps_JDD)).sum(1)
        std_JD = np.sqrt(np.maximum(variance_JD, 0.0))
        typical = np.sqrt((std_JD**2).mean(1, keepdims=True)) if scale is None else scale
        with np.errstate(divide="ignore"):
            return maps_JDD * np.where(std_JD > CONSTANT * typical, 1.0 / std_JD, 0.0)[:, None]


def fit_together(
    rows: Rows, maps_JDD: np.ndarray, labels_JN: np.ndarray, inverse_l2_J: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one model per set, from zero weights.

    Args:
        rows: The rows.
        maps_JDD: The map of every set, which leaves features of unit variance, or of none; a single
            one where all sets have the same.
        labels_JN: Classes 0 to S - 1; all occur in every set.
        inverse_l2_J: scikit-learn's C of every set.

    Returns:
        Weights on the rows as they are, ``(J, S, D)``, and intercepts ``(J, S)``; they sum to zero
        over the classes.
    """
    problems = _Problems(rows, maps_JDD, labels_JN, inverse_l2_J)
    searches, active = _Searches(problems), np.arange(len(labels_JN))
    weights_JSE = np.zeros_like(searches.at.weights_ASE)
    for _ in range(logistic.MAX_EVALUATIONS):
        left_A = ~searches.done_A
        if not left_A.all():
            weights_JSE[active] = searches.at.weights_ASE
            active = active[left_A]
            problems.keep(left_A)
            searches.keep(left_A)
        if not active.size:
            break
        searches.move(problems.evaluate(searches.trial_ASE))
    weights_JSE[active] = searches.at.weights_ASE
    weights_JSE = weights_JSE - weights_JSE.mean(1, keepdims=True)
    return weights_JSE[..., :-1] @ maps_JDD.transpose(0, 2, 1), weights_JSE[..., -1]


class _Problems:
    """The objectives of the sets that are still searched."""

    def __init__(
        self, rows: Rows, maps_JDD: np.ndarray, labels_JN: np.ndarray, inverse_l2_J: np.ndarray
    ) -> None:
        self.rows, self.maps_ADD = rows, maps_JDD.astype(np.float32)
        self.n_classes, n_rows = int(labels_JN.max()) + 1, len(rows.centred_ND)
        sizes = [np.bincount(labels_N, minlength=self.n_classes) for labels_N in labels_JN]
        weight_JS = 1.0 / (self.n_classes * np.maximum(sizes, 1))
        self.weight_AN = np.take_along_axis(weight_JS, labels_JN, 1)
        self.right_ASN = one_hot(labels_JN, self.n_classes)
        self.l2_A = (2.0 if self.n_classes == 2 else 1.0) / (inverse_l2_J * n_rows)
        self.inverse_ADD = self._inverses(maps_JDD)

    def _inverses(self, maps_JDD: np.ndarray) -> np.ndarray:
        """Return the preconditioners; of sets that share their map, each strength's once."""
        l2_A, place_A = self.l2_A, np.arange(len(self.l2_A))
        if len(maps_JDD) == 1:
            l2_A, place_A = np.unique(self.l2_A, return_inverse=True)
        ridge_A = self.n_classes * logistic.damping(l2_A)
        damped_ADD = maps_JDD.transpose(0, 2, 1) @ self.rows.gram_DD @ maps_JDD
        damped_ADD = damped_ADD + ridge_A[:, None, None] * np.eye(maps_JDD.shape[-1])
        return np.linalg.inv(damped_ADD).astype(np.float32)[place_A]

    def keep(self, kept_A: np.ndarray) -> None:
        """Drop the other sets."""
        self.right_ASN, self.weight_AN = self.right_ASN[kept_A], self.weight_AN[kept_A]
        self.l2_A, self.inverse_ADD = self.l2_A[kept_A], self.inverse_ADD[kept_A]
        if len(self.maps_ADD) > 1:
            self.maps_ADD = self.maps_ADD[kept_A]

    def evaluate(self, weights_ASE: np.ndarray) -> _Points:
        """Return losses and gradients."""
        shape = weights_ASE.shape
        on_rows_ASD = weights_ASE[..., :-1] @ self.maps_ADD.transpose(0, 2, 1)
        score_QN = on_rows_ASD.reshape(-1, shape[2] - 1) @ self.rows.centred_DN
        score_QN += weights_ASE[..., -1].reshape(-1, 1)
        loss_A, error_ASN = self._log_loss(score_QN.reshape(*shape[:2], -1))
        by_row_QD = error_ASN.reshape(len(score_QN), -1) @ self.rows.centred_ND
        decayed_ASD = _wide(self.l2_A) * weights_ASE[..., :-1]
        gradient_ASE = np.empty_like(weights_ASE)
        gradient_ASE[..., :-1] = by_row_QD.reshape(*shape[:2], -1) @ self.maps_ADD + decayed_ASD
        gradient_ASE[..., -1] = error_ASN.sum(-1)
        scaled_ASE = self.n_classes * gradient_ASE
        scaled_ASE[..., :-1] = scaled_ASE[..., :-1] @ self.inverse_ADD
        loss_A = loss_A + 0.5 * _dot(decayed_ASD, weights_ASE[..., :-1])
        return _Points(weights_ASE, loss_A, gradient_ASE, scaled_ASE)

    def _log_loss(self, score_ASN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean log-losses ``(A,)``, and their derivatives by the scores ``(A, S, N)``."""
        score_ASN -= score_ASN.max(1, keepdims=True)
        of_right_AN = np.einsum("asn,asn->an", score_ASN, self.right_ASN)
        error_ASN = np.exp(score_ASN, out=score_ASN)
        total_AN = error_ASN.sum(1)
        error_ASN /= total_AN[:, None]
        error_ASN -= self.right_ASN
        error_ASN *= self.weight_AN.astype(np.float32)[:, None]
        return ((np.log(total_AN) - of_right_AN) * self.weight_AN).sum(1), error_ASN


class _Searches:
    """L-BFGS of the sets that are still searched; a step that does not bring enough is halved."""

    def __init__(self, problems: _Problems) -> None:
        n_sets, width = len(problems.weight_AN), problems.rows.centred_ND.shape[1] + 1
        zeros_ASE = np.zeros((n_sets, problems.n_classes, width), np.float32)
        self.l2_A, self.at = problems.l2_A, problems.evaluate(zeros_ASE)
        self.pairs: list[_Pairs] = []
        self.curvature_A, self.step_A = np.ones(n_sets), np.ones(n_sets)
        self.direction_ASE, self.slope_A = self._aimed()

    @property
    def done_A(self) -> np.ndarray:
        """Say which sets have no further step to take."""
        penalty_A = self.l2_A * np.abs(self.at.weights_ASE[..., :-1]).max((1, 2))
        return (self.step_A < logistic.SMALLEST_STEP) | (
            np.abs(self.at.gradient_ASE).max((1, 2)) <= logistic.tolerance(penalty_A)
        )

    @property
    def trial_ASE(self) -> np.ndarray:
        """Return the weights to evaluate next."""
        return self.at.weights_ASE + _wide(self.step_A) * self.direction_ASE

    def keep(self, kept_A: np.ndarray) -> None:
        """Drop the other sets."""
        self.at = _Points(*(of_sets[kept_A] for of_sets in self.at))
        self.pairs = [_Pairs(*(of_sets[kept_A] for of_sets in pair)) for pair in self.pairs]
        self.l2_A, self.curvature_A = self.l2_A[kept_A], self.curvature_A[kept_A]
        self.step_A, self.slope_A = self.step_A[kept_A], self.slope_A[kept_A]
        self.direction_ASE = self.direction_ASE[kept_A]

    def move(self, points: _Points) -> None:
        """Go to the points that were evaluated, or shorten the steps to them."""
        before = self.at
        most_A = before.loss_A + logistic.least_decrease(self.step_A, self.slope_A)
        taken_A = points.loss_A <= most_A
        self.at = _Points(*_chosen(taken_A, points, before))
        pair = _Pairs(
            self.at.weights_ASE - before.weights_ASE,
            self.at.gradient_ASE - before.gradient_ASE,
            self.at.scaled_ASE - before.scaled_ASE,
            np.zeros(len(taken_A)),
        )
        curvature_A = _dot(pair.step_ASE, pair.change_ASE)
        bent_A = curvature_A > 0
        pair.inverse_A[bent_A] = 1.0 / curvature_A[bent_A]
        scaled_A = pair.inverse_A * _dot(pair.change_ASE, pair.scaled_ASE)
        self.curvature_A = np.where(bent_A, scaled_A, self.curvature_A)
        self.pairs = [*self.pairs, pair][-logistic.MEMORY :]
        self.step_A = np.where(taken_A, 1.0, self.step_A / 2)
        self.direction_ASE, self.slope_A = _chosen(
            taken_A, self._aimed(), (self.direction_ASE, self.slope_A)
        )

    def _aimed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return directions and slopes along them, as a search of one set sets them."""
        left_ASE, towards_ASE = self.at.gradient_ASE.copy(), self.at.scaled_ASE.copy()
        shares = []
        for pair in reversed(self.pairs):
            share_A = _wide(pair.inverse_A * _dot(pair.step_ASE, left_ASE))
            left_ASE -= share_A * pair.change_ASE
            towards_ASE -= share_A * pair.scaled_ASE
            shares.append(share_A)
        towards_ASE /= _wide(self.curvature_A)
        for pair, share_A in zip(self.pairs, reversed(shares), strict=True):
            back_A = _wide(pair.inverse_A * _dot(pair.change_ASE, towards_ASE))
            towards_ASE += (share_A - back_A) * pair.step_ASE
        return -towards_ASE, _dot(-towards_ASE, self.at.gradient_ASE)


def _chosen(
    taken_A: np.ndarray, these: Sequence[np.ndarray], those: Sequence[np.ndarray]
) -> Sequence[np.ndarray]:
    """Return of several arrays what is taken of these, and the rest of those."""
    if taken_A.all():
        return these
    pairs = zip(these, those, strict=True)
    return [np.where(taken_A.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs]


def _dot(one_ASE: np.ndarray, other_ASE: np.ndarray) -> np.ndarray:
    return np.einsum("ase,ase->a", one_ASE, other_ASE, dtype=np.float64)


def _wide(value_A: np.ndarray) -> np.ndarray:
    return value_A[:, None, None].astype(np.float32)
