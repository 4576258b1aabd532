"""Logistic regressions on the same rows at once, each with labels and a linear map of its own.

The objective is that of :mod:`mecheval.metrics.probe.logistic`, and so are the search and where it
ends; one pass over the rows serves all of them. Row n of set j is
``A_j^T (x_n - mean)``: its scores are those of the weights ``A_j w`` on the rows as they are.

Shape suffixes: ``J`` sets, ``A`` sets that are still searched, ``N`` rows, ``D`` features, ``E``
features and the intercept, ``S`` classes, ``Q`` classes of all sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.metrics.probe import logistic
from mecheval.metrics.probe.design import CONSTANT

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

    step_JSE: np.ndarray
    change_JSE: np.ndarray
    scaled_JSE: np.ndarray
    inverse_J: np.ndarray


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
    rows_ND: np.ndarray, maps_JDD: np.ndarray, labels_JN: np.ndarray, inverse_l2_J: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one model per set, from zero weights.

    Args:
        rows_ND: Rows around their mean, float32.
        maps_JDD: The map of every set, which leaves features of unit variance, or of none.
        labels_JN: Classes 0 to S - 1; all occur in every set.
        inverse_l2_J: scikit-learn's C of every set.

    Returns:
        Weights on the rows as they are, ``(J, S, D)``, and intercepts ``(J, S)``; they sum to zero
        over the classes.
    """
    problem = _Problems(rows_ND, maps_JDD, labels_JN, inverse_l2_J)
    search = _Searches(problem)
    for _ in range(logistic.MAX_EVALUATIONS):
        active = np.flatnonzero(~search.done_J)
        if not active.size:
            break
        search.move(active, problem.evaluate(search.trial(active), active))
    weights_JSE = search.at.weights_ASE
    weights_JSE = weights_JSE - weights_JSE.mean(1, keepdims=True)
    return weights_JSE[..., :-1] @ maps_JDD.transpose(0, 2, 1), weights_JSE[..., -1]


class _Problems:
    """The objectives of all sets."""

    def __init__(
        self,
        rows_ND: np.ndarray,
        maps_JDD: np.ndarray,
        labels_JN: np.ndarray,
        inverse_l2_J: np.ndarray,
    ) -> None:
        self.rows_ND, self.rows_DN = rows_ND, np.ascontiguousarray(rows_ND.T)
        self.maps_JDD, self.labels_JN = maps_JDD.astype(np.float32), labels_JN
        self.n_classes, n_rows = int(labels_JN.max()) + 1, len(rows_ND)
        sizes = [np.bincount(labels_N, minlength=self.n_classes) for labels_N in labels_JN]
        weight_JS = 1.0 / (self.n_classes * np.maximum(sizes, 1))
        self.weight_JN = np.take_along_axis(weight_JS, labels_JN, 1)
        self.l2_J = (2.0 if self.n_classes == 2 else 1.0) / (inverse_l2_J * n_rows)
        ridge_J = self.n_classes * logistic.damping(self.l2_J)
        gram_DD = rows_ND.T.astype(np.float64) @ rows_ND / n_rows
        damped_JDD = maps_JDD.transpose(0, 2, 1) @ gram_DD @ maps_JDD
        damped_JDD += ridge_J[:, None, None] * np.eye(len(gram_DD))
        self.inverse_JDD = np.linalg.inv(damped_JDD).astype(np.float32)

    def evaluate(self, weights_ASE: np.ndarray, active: np.ndarray) -> _Points:
        """Return losses and gradients of the active sets."""
        maps_ADD, shape = self.maps_JDD[active], weights_ASE.shape
        on_rows_ASD = weights_ASE[..., :-1] @ maps_ADD.transpose(0, 2, 1)
        score_QN = on_rows_ASD.reshape(-1, shape[2] - 1) @ self.rows_DN
        score_QN += weights_ASE[..., -1].reshape(-1, 1)
        loss_A, error_ASN = self._log_loss(score_QN.reshape(*shape[:2], -1), active)
        by_row_QD = error_ASN.reshape(len(score_QN), -1) @ self.rows_ND
        decayed_ASD = _wide(self.l2_J[active]) * weights_ASE[..., :-1]
        gradient_ASE = np.empty_like(weights_ASE)
        gradient_ASE[..., :-1] = by_row_QD.reshape(*shape[:2], -1) @ maps_ADD + decayed_ASD
        gradient_ASE[..., -1] = error_ASN.sum(-1)
        scaled_ASE = self.n_classes * gradient_ASE
        scaled_ASE[..., :-1] = scaled_ASE[..., :-1] @ self.inverse_JDD[active]
        loss_A = loss_A + 0.5 * _dot(decayed_ASD, weights_ASE[..., :-1])
        return _Points(weights_ASE, loss_A, gradient_ASE, scaled_ASE)

    def _log_loss(self, score_ASN: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean log-losses ``(A,)``, and their derivatives by the scores ``(A, S, N)``."""
        weight_AN, n_rows = self.weight_JN[active], score_ASN.shape[2]
        first_A1 = self.n_classes * np.arange(len(active))[:, None]
        right_AN = (first_A1 + self.labels_JN[active]) * n_rows + np.arange(n_rows)
        score_ASN -= score_ASN.max(1, keepdims=True)
        of_right_AN = score_ASN.ravel()[right_AN]
        error_ASN = np.exp(score_ASN, out=score_ASN)
        total_AN = error_ASN.sum(1)
        error_ASN /= total_AN[:, None]
        error_ASN.ravel()[right_AN] -= 1.0
        error_ASN *= weight_AN.astype(np.float32)[:, None]
        return ((np.log(total_AN) - of_right_AN) * weight_AN).sum(1), error_ASN


class _Searches:
    """L-BFGS of every set; a step that does not bring enough is halved."""

    def __init__(self, problem: _Problems) -> None:
        n_sets, width = len(problem.labels_JN), problem.rows_ND.shape[1] + 1
        zeros_JSE = np.zeros((n_sets, problem.n_classes, width), np.float32)
        self.l2_J, self.at = problem.l2_J, problem.evaluate(zeros_JSE, np.arange(n_sets))
        self.pairs: list[_Pairs] = []
        self.curvature_J, self.slope_J = np.ones(n_sets), np.zeros(n_sets)
        self.step_J, self.stuck_J = np.ones(n_sets), np.zeros(n_sets, bool)
        self.direction_JSE = np.zeros_like(zeros_JSE)
        self._aim(np.arange(n_sets))

    @property
    def done_J(self) -> np.ndarray:
        """Say which sets have no further step to take."""
        penalty_J = self.l2_J * np.abs(self.at.weights_ASE[..., :-1]).max((1, 2))
        return self.stuck_J | (
            np.abs(self.at.gradient_ASE).max((1, 2)) <= logistic.tolerance(penalty_J)
        )

    def trial(self, active: np.ndarray) -> np.ndarray:
        """Return the weights to evaluate next."""
        step_A11 = self.step_J[active, None, None].astype(np.float32)
        return self.at.weights_ASE[active] + step_A11 * self.direction_JSE[active]

    def move(self, active: np.ndarray, points: _Points) -> None:
        """Go to the points that were evaluated, or shorten the steps to them."""
        most_A = self.at.loss_A[active] + logistic.least_decrease(
            self.step_J[active], self.slope_J[active]
        )
        taken_A = points.loss_A <= most_A
        self.step_J[active[~taken_A]] /= 2
        self.stuck_J |= self.step_J < logistic.SMALLEST_STEP
        moved = active[taken_A]
        zeros_JSE = np.zeros_like(self.direction_JSE)
        none_J = np.zeros(len(self.step_J))
        pair = _Pairs(zeros_JSE, zeros_JSE.copy(), zeros_JSE.copy(), none_J)
        for change_JSE, before, behind in zip(pair[:3], _of(self.at), _of(points), strict=True):
            change_JSE[moved] = behind[taken_A] - before[moved]
            before[moved] = behind[taken_A]
        self.at.loss_A[moved] = points.loss_A[taken_A]
        curvature_J = _dot(pair.step_JSE, pair.change_JSE)
        bent_J = curvature_J > 0
        pair.inverse_J[bent_J] = 1.0 / curvature_J[bent_J]
        scaled_J = pair.inverse_J * _dot(pair.change_JSE, pair.scaled_JSE)
        self.curvature_J = np.where(bent_J, scaled_J, self.curvature_J)
        self.pairs = [*self.pairs, pair][-logistic.MEMORY :]
        self.step_J[moved] = 1.0
        self._aim(moved)

    def _aim(self, sets: np.ndarray) -> None:
        """Set directions, as a search of one set does."""
        left_ASE, towards_ASE = self.at.gradient_ASE[sets], self.at.scaled_ASE[sets]
        pairs, shares = [_Pairs(*(x[sets] for x in pair)) for pair in self.pairs], []
        for pair in reversed(pairs):
            share_A = _wide(pair.inverse_J * _dot(pair.step_JSE, left_ASE))
            left_ASE = left_ASE - share_A * pair.change_JSE
            towards_ASE = towards_ASE - share_A * pair.scaled_JSE
            shares.append(share_A)
        towards_ASE = towards_ASE / _wide(self.curvature_J[sets])
        for pair, share_A in zip(pairs, reversed(shares), strict=True):
            back_A = _wide(pair.inverse_J * _dot(pair.change_JSE, towards_ASE))
            towards_ASE = towards_ASE + (share_A - back_A) * pair.step_JSE
        self.direction_JSE[sets] = -towards_ASE
        self.slope_J[sets] = _dot(-towards_ASE, self.at.gradient_ASE[sets])


def _of(points: _Points) -> Sequence[np.ndarray]:
    return points.weights_ASE, points.gradient_ASE, points.scaled_ASE


def _dot(one_ASE: np.ndarray, other_ASE: np.ndarray) -> np.ndarray:
    return np.einsum("ase,ase->a", one_ASE, other_ASE, dtype=np.float64)


def _wide(value_A: np.ndarray) -> np.ndarray:
    return value_A[:, None, None].astype(np.float32)
