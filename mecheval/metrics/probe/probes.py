"""Linear probes on arrays: logistic ones, and many ridge ones from one factorisation.

Shape suffixes: ``N`` training examples, ``M`` test examples, ``D`` features, ``E`` features and a
column of ones, ``S`` classes, ``J`` label sets, ``Q`` classes of all label sets,
``K`` temperatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from mecheval.metrics.probe.design import design, factor
from mecheval.metrics.probe.logistic import fit_strengths
from mecheval.metrics.resampling import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.probe.design import Design, Scaler

RIDGE = 0.05
"""L2 strength of the ridge probes per training example, in units of a feature's variance."""

STANDARD_ERRORS = 2.0
"""By how many of them a probe must beat a constant to count as reading anything."""

_SHARPNESS = tuple(2.0**-k for k in range(8))  # inverse temperatures


class Split(NamedTuple):
    """Features and labels of one split; labels are 0, 1, ..., S - 1."""

    features_ND: np.ndarray
    labels_N: np.ndarray


@dataclass(frozen=True)
class LogisticProbe:
    """A fitted multinomial logistic regression.

    Attributes:
        scaler: Scaling of the features.
        weights_SD: Weights on scaled features; 0 for the constant probe.
        bias_S: Biases.
        inverse_l2: The chosen C of scikit-learn; 0 for the constant probe.
        converged: Whether the optimiser converged at the chosen C.
    """

    scaler: Scaler
    weights_SD: np.ndarray
    bias_S: np.ndarray
    inverse_l2: float
    converged: bool

    def logits(self, features_MD: np.ndarray) -> np.ndarray:
        """Return class scores, whose softmax are the probabilities, shape ``(M, S)``."""
        return self.scaler(features_MD) @ self.weights_SD.T + self.bias_S

    def predict(self, features_MD: np.ndarray) -> np.ndarray:
        """Return the likeliest class, shape ``(M,)``."""
        return self.logits(features_MD).argmax(1)

    @property
    def directions_SD(self) -> np.ndarray:
        """Return the weights on unscaled features."""
        return self.weights_SD * self.scaler.inverse_D


def fit_logistic(
    train: Split,
    validation: Split,
    inverse_l2: Sequence[float],
    *,
    scale: float | None = None,
    of_train: Design | None = None,
    guarded: bool = True,
) -> LogisticProbe:
    """Fit a class-balanced multinomial logistic probe; choose L2 on validation sequences.

    The strength is the one with the least balanced log-loss on the validation examples, at the
    best of several temperatures. The probe is constant, with the accuracy of chance, unless the
    chosen one has :func:`evidence` of more than two standard errors. Accuracy alone could not say
    so: where classes have equal means but unequal spread, no linear probe has a smaller log-loss
    than a constant, and yet the argmax of its vanishing weights is right more often than chance.

    Args:
        train: Training examples; every class occurs.
        validation: Examples by which the strength is chosen; every class occurs.
        inverse_l2: Values of scikit-learn's C to try.
        scale: See :func:`mecheval.metrics.probe.design.design`.
        of_train: The design of the training features, where it is known already.
        guarded: Whether a probe without such evidence is set to the constant.
    """
    of_train = design(train.features_ND, scale=scale) if of_train is None else of_train
    strengths = sorted(inverse_l2)
    fitted = fit_strengths(of_train, train.labels_N, strengths)
    if len(strengths) == 1 and not guarded:  # there is nothing to choose
        weights_SD, bias_S, converged = fitted[0]
        return LogisticProbe(of_train.scaler, weights_SD, bias_S, strengths[0], converged)
    validation_MD = of_train.scaler(validation.features_ND)
    n_classes = int(train.labels_N.max()) + 1
    constant = np.zeros((n_classes, validation_MD.shape[1])), np.zeros(n_classes)
    best = LogisticProbe(of_train.scaler, *constant, inverse_l2=0.0, converged=True)
    best_gain = 0.0 if guarded else -np.inf
    for strength, (weights_SD, bias_S, converged) in zip(strengths, fitted, strict=True):
        logits_MS = validation_MD @ weights_SD.T + bias_S
        gain = log_loss_gain(logits_MS, validation.labels_N)
        if gain > best_gain and (
            not guarded or evidence(logits_MS, validation.labels_N) > STANDARD_ERRORS
        ):
            best = LogisticProbe(of_train.scaler, weights_SD, bias_S, strength, converged)
            best_gain = gain
    return best


def log_loss_gain(logits_MS: np.ndarray, labels_M: np.ndarray) -> float:
    """Return by how much balanced log-loss is below a constant's log(S), at the best temperature.

    Args:
        logits_MS: Class scores.
        labels_M: The right classes; all occur.
    """
    return float(log_loss_gains(logits_MS, labels_M).max())


def log_loss_gains(logits_MS: np.ndarray, labels_M: np.ndarray) -> np.ndarray:
    """Return the same at every one of some temperatures, the same ones at every call."""
    weight_M = balancing(labels_M, logits_MS.shape[1])
    sharpness_K11 = np.array(_SHARPNESS, logits_MS.dtype)[:, None, None]
    scaled_KMS = sharpness_K11 * (logits_MS - logits_MS.max(1, keepdims=True))
    right_KM = scaled_KMS[:, np.arange(len(labels_M)), labels_M]
    right_KM = right_KM - np.log(np.exp(scaled_KMS).sum(2))
    return (weight_M * right_KM).mean(1) + np.log(logits_MS.shape[1])


def evidence(logits_MS: np.ndarray, labels_M: np.ndarray) -> float:
    """Return by how many standard errors the right class's score is above the mean score.

    This is the score test of log-loss against a constant: linear in the features, so that it has
    mean zero wherever all classes have the same mean.

    Args:
        logits_MS: Class scores.
        labels_M: The right classes; all occur.
    """
    above_M = logits_MS[np.arange(len(labels_M)), labels_M] - logits_MS.mean(1)
    above_M = above_M * balancing(labels_M, logits_MS.shape[1])
    spread = float(above_M.std())
    return 0.0 if spread == 0 else float(above_M.mean()) / spread * float(np.sqrt(len(labels_M)))


def balancing(labels_M: np.ndarray, n_classes: int) -> np.ndarray:
    """Return weights with mean 1 that give every class the same part, shape ``(M,)``."""
    size_S = np.bincount(labels_M, minlength=n_classes)
    return len(labels_M) / (n_classes * size_S[labels_M])


def score_balanced(correct_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Return the mean recall over the classes that occur."""
    ones_1M = np.ones((1, len(labels_M)))
    return float(balanced_accuracy(ones_1M, correct_M[:, None], labels_M)[0, 0])


@dataclass(frozen=True)
class RidgeTargets:
    """What ridge probes are fitted to, for any number of label sets.

    One-hot labels are divided by their class's share, which makes the largest score the balanced
    decision without weighting examples, so that all label sets share the same matrix. A class that
    a label set does not hold has the score 0 and never wins: the mean of the others' scores,
    weighted by their shares, is 1.

    Attributes:
        target_NQ: Targets of all classes of all label sets.
        n_classes: Number of classes of each label set.
    """

    target_NQ: np.ndarray
    n_classes: int

    @classmethod
    def of(cls, labels_JN: np.ndarray, n_classes: int) -> RidgeTargets:
        """Return the targets of label sets with classes 0 to ``n_classes - 1``."""
        onehot_NJS = labels_JN.T[..., None] == np.arange(n_classes)
        share_JS = onehot_NJS.mean(0)
        height_JS = np.divide(1.0, share_JS, out=np.zeros_like(share_JS), where=share_JS > 0)
        target_NJS = onehot_NJS * height_JS.astype(np.float32)
        return cls(target_NJS.reshape(len(target_NJS), -1), n_classes)


def ridge_predictions(of_train: Design, targets: RidgeTargets, test_ME: np.ndarray) -> np.ndarray:
    """Fit one ridge classifier per label set, all from one factorisation, and predict.

    Args:
        of_train: Training features.
        targets: What to fit on them.
        test_ME: Scaled test features and ones.

    Returns:
        Predicted classes, ``(J, M)``.
    """
    moments_EQ = of_train.rows_NE.T @ targets.target_NQ / len(of_train.rows_NE)
    weights_EQ = cho_solve(factor(of_train.gram_EE, RIDGE), moments_EQ, check_finite=False)
    score_MQ = test_ME @ weights_EQ
    return score_MQ.reshape(len(test_ME), -1, targets.n_classes).argmax(-1).T
