"""Multinomial logistic regression at several strengths of L2 at once, from one Gram matrix.

The objective is scikit-learn's with balanced classes, divided by the number of examples:
mean of w_n log-loss_n + |W|^2 / (2 C N), where the intercept costs nothing. L-BFGS minimises it
fast where its Hessian is close to a multiple of the identity. Those of activations are far from
that, because a few directions hold most of their variance; so every search starts from the inverse
of Gram / S + L2, which at W = 0 is the Hessian (on weights that sum to zero over the classes). One
factorisation and one pass over the features serve all strengths together.

Shape suffixes: ``N`` examples, ``E`` features and a column of ones for the intercept, ``S``
classes, ``K`` strengths, ``A`` strengths that are still searched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from mecheval.metrics.probe.design import factor, one_hot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    from mecheval.metrics.probe.design import Design

    Vector = TypeVar("Vector", float, np.ndarray)

MAX_EVALUATIONS = 1000
TOLERANCE = 1e-4
"""Largest entry of the gradient of a fit that has converged; scikit-learn's default."""

ACCURACY = 0.1
"""Largest entry of the gradient, relative to the largest of the penalty's part of it.

With the tolerance alone a weak penalty decides nothing: where training examples can be separated,
the search stops before the penalty is felt, at weights that depend on how it got there.
"""

_LEAST_GRADIENT = 1e-7  # entries below are rounding
_DAMPING = 0.3  # of the preconditioner, relative to the strongest L2: measured to serve all best
_LEAST_DAMPING = 0.01  # in variances of a feature; keeps it well-conditioned in float32
MEMORY = 10  # steps that a search remembers
_ENOUGH = 1e-4  # share of the predicted decrease that a step must bring
_NOISE = 1e-7  # rounding of the mean log-loss in float32
SMALLEST_STEP = 1e-6


class Solution(NamedTuple):
    """Weights at one strength.

    Attributes:
        weights_SD: Weights on scaled features; they sum to zero over the classes.
        bias_S: Intercepts; they sum to zero.
        converged: Whether the gradient became small enough.
    """

    weights_SD: np.ndarray
    bias_S: np.ndarray
    converged: bool


def fit_strengths(
    design: Design, labels_N: np.ndarray, inverse_l2: Sequence[float]
) -> list[Solution]:
    """Fit one model per strength, from zero weights.

    Args:
        design: The features.
        labels_N: Classes 0 to S - 1; all occur.
        inverse_l2: scikit-learn's C, one per model; for two classes it penalises the difference of
            their weights, as there.
    """
    problem = _Problem(design, labels_N, np.asarray(inverse_l2, np.float64))
    active = np.arange(len(inverse_l2))
    start_KSE = np.zeros((len(active), problem.n_classes, design.rows_NE.shape[1]), np.float32)
    first = problem.evaluate(start_KSE, active)
    searches = [_Search(point, float(l2)) for point, l2 in zip(first, problem.l2_K, strict=True)]
    for _ in range(MAX_EVALUATIONS):
        active = np.array([k for k in active if not searches[k].done], np.intp)
        if not active.size:
            break
        trial_ASE = np.stack([searches[k].trial for k in active])
        for k, point in zip(active, problem.evaluate(trial_ASE, active), strict=True):
            searches[k].move(point)
    return [search.solution for search in searches]


def damping(l2: np.ndarray) -> np.ndarray:
    """Return what is added to the variances of features in the preconditioner."""
    return np.maximum(_LEAST_DAMPING, _DAMPING * l2)


def tolerance(penalty: np.ndarray) -> np.ndarray:
    """Return the largest entry of a gradient that is small, beside the part of it that L2 makes."""
    return np.minimum(TOLERANCE, np.maximum(_LEAST_GRADIENT, ACCURACY * penalty))


def least_decrease(step: Vector, slope: Vector) -> Vector:
    """Return the change of the objective, negative, that a step must bring at least."""
    return _ENOUGH * step * slope + _NOISE


class _Point(NamedTuple):
    """The objective of one strength at some weights; the preconditioned gradient is ``scaled``."""

    weights_SE: np.ndarray
    loss: float
    gradient_SE: np.ndarray
    scaled_SE: np.ndarray


class _Problem:
    """The objective at all strengths."""

    def __init__(self, design: Design, labels_N: np.ndarray, inverse_l2_K: np.ndarray) -> None:
        size_S = np.bincount(labels_N)
        self.n_classes = len(size_S)
        self.rows_NE, self.right_SN = design.rows_NE, one_hot(labels_N, self.n_classes)
        self.weight_N = (1.0 / (self.n_classes * size_S))[labels_N]  # they sum to 1
        # For two classes scikit-learn has one weight vector w = w_1 - w_0, and |w|^2 / 2 = |W|^2.
        scale = 2.0 if self.n_classes == 2 else 1.0
        self.l2_K = scale / (inverse_l2_K * len(labels_N))
        ridge = self.n_classes * damping(self.l2_K.max())
        self.factor = factor(design.gram_EE, float(ridge))

    def evaluate(self, weights_ASE: np.ndarray, active: np.ndarray) -> list[_Point]:
        """Return loss and gradients at one point per active strength."""
        loss_A, error_ASN = self._log_loss(weights_ASE)
        shape = weights_ASE.shape
        gradient_QE = error_ASN.reshape(-1, error_ASN.shape[-1]) @ self.rows_NE
        l2_A11 = self.l2_K[active, None, None].astype(np.float32)
        decayed_ASE = l2_A11 * weights_ASE
        decayed_ASE[..., -1] = 0.0
        loss_A += 0.5 * np.einsum("ase,ase->a", decayed_ASE, weights_ASE, dtype=np.float64)
        gradient_ASE = gradient_QE.reshape(shape) + decayed_ASE
        solved_EQ = cho_solve(
            self.factor, gradient_ASE.reshape(-1, shape[-1]).T, check_finite=False
        )
        scaled_ASE = self.n_classes * solved_EQ.T.reshape(shape)
        points = zip(weights_ASE, loss_A.tolist(), gradient_ASE, scaled_ASE, strict=True)
        return [_Point(*point) for point in points]

    def _log_loss(self, weights_ASE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean log-losses ``(A,)``, and their derivatives by the scores ``(A, S, N)``."""
        n_active, n_classes, width = weights_ASE.shape
        score_QN = weights_ASE.reshape(-1, width) @ self.rows_NE.T
        score_ASN = score_QN.reshape(n_active, n_classes, -1)
        score_ASN -= score_ASN.max(1, keepdims=True)
        of_right_AN = np.einsum("asn,sn->an", score_ASN, self.right_SN)
        error_ASN = np.exp(score_ASN, out=score_ASN)
        total_AN = error_ASN.sum(1)
        error_ASN /= total_AN[:, None]
        error_ASN -= self.right_SN
        error_ASN *= self.weight_N.astype(np.float32)
        return (np.log(total_AN) - of_right_AN) @ self.weight_N, error_ASN


class _Pair(NamedTuple):
    """A step, how it changed the gradient, the same preconditioned, and 1 / <step, change>."""

    step_SE: np.ndarray
    change_SE: np.ndarray
    scaled_SE: np.ndarray
    inverse: float


@dataclass
class _Search:
    """L-BFGS at one strength; a step that does not bring enough is halved."""

    point: _Point
    l2: float
    pairs: list[_Pair] = field(default_factory=list)
    step: float = 1.0
    stuck: bool = False

    def __post_init__(self) -> None:
        """Aim for the first step."""
        self._aim()

    @property
    def converged(self) -> bool:
        """Return whether the gradient is small, also next to the part of it that L2 makes."""
        penalty = self.l2 * float(np.abs(self.point.weights_SE[:, :-1]).max())
        return bool(np.abs(self.point.gradient_SE).max() <= tolerance(np.asarray(penalty)))

    @property
    def done(self) -> bool:
        """Return whether there is no further step to take."""
        return self.stuck or self.converged

    @property
    def trial(self) -> np.ndarray:
        """Return the weights to evaluate next."""
        return self.point.weights_SE + np.float32(self.step) * self.direction_SE

    @property
    def solution(self) -> Solution:
        """Return the weights that were reached."""
        weights_SE = self.point.weights_SE - self.point.weights_SE.mean(0)
        return Solution(weights_SE[:, :-1], weights_SE[:, -1], self.converged)

    def move(self, point: _Point) -> None:
        """Go to the point that was evaluated, or shorten the step to it."""
        if point.loss > self.point.loss + least_decrease(self.step, self.slope):
            self.step /= 2
            self.stuck = self.step < SMALLEST_STEP
            return
        step_SE = point.weights_SE - self.point.weights_SE
        change_SE = point.gradient_SE - self.point.gradient_SE
        curvature = float(np.vdot(step_SE, change_SE))
        if curvature > 0:
            scaled_SE = point.scaled_SE - self.point.scaled_SE
            pair = _Pair(step_SE, change_SE, scaled_SE, 1 / curvature)
            self.pairs = [*self.pairs, pair][-MEMORY:]
        self.point, self.step = point, 1.0
        self._aim()

    def _aim(self) -> None:
        """Set the direction by the two loops of L-BFGS (Nocedal and Wright 2006, algorithm 7.4).

        What the first loop takes from the gradient it takes from its preconditioned image too,
        which is linear in it: the preconditioner is not applied again.
        """
        left_SE, towards_SE = self.point.gradient_SE.copy(), self.point.scaled_SE.copy()
        shares = []
        for pair in reversed(self.pairs):
            share = np.float32(pair.inverse * np.vdot(pair.step_SE, left_SE))
            left_SE -= share * pair.change_SE
            towards_SE -= share * pair.scaled_SE
            shares.append(share)
        if self.pairs:
            last = self.pairs[-1]
            towards_SE /= np.float32(last.inverse * np.vdot(last.change_SE, last.scaled_SE))
        for pair, share in zip(self.pairs, reversed(shares), strict=True):
            back = np.float32(pair.inverse * np.vdot(pair.change_SE, towards_SE))
            towards_SE += (share - back) * pair.step_SE
        self.direction_SE = -towards_SE
        self.slope = float(np.vdot(self.direction_SE, self.point.gradient_SE))
