"""Linear probes on arrays: logistic ones, and many ridge ones from one factorisation.

Shape suffixes: ``N`` training examples, ``M`` test examples, ``D`` features, ``S`` classes,
``J`` label sets.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mecheval.metrics.resampling import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ITERATIONS = 1000
RIDGE = 0.05
"""L2 strength of the ridge probes per training example, in units of a feature's variance."""

_STANDARD_ERRORS = 2.0  # by which a probe must beat a constant to count as reading anything
_SHARPNESS = tuple(2.0**-k for k in range(8))  # inverse temperatures
_CONSTANT = 1e-5  # features that vary less, relative to the whole, vary by rounding only


@dataclass(frozen=True)
class Scaler:
    """Centres features and gives them unit variance.

    Attributes:
        mean_D: Mean of every feature on the training examples.
        inverse_D: One over its standard deviation; 0 for a feature that is constant.
    """

    mean_D: np.ndarray
    inverse_D: np.ndarray

    def __call__(self, features_ND: np.ndarray) -> np.ndarray:
        """Return scaled features in float32."""
        return ((features_ND - self.mean_D) * self.inverse_D).astype(np.float32)


def scaler(train_ND: np.ndarray, *, scale: float | None = None) -> Scaler:
    """Measure the scaling on training examples.

    Args:
        train_ND: Training features.
        scale: Typical standard deviation before anything was erased. A feature that varies by
            less than 1e-5 of it varies by rounding only, and would be blown up to a signal.
    """
    std_D = train_ND.std(0, dtype=np.float64)
    typical = float(np.sqrt((std_D**2).mean())) if scale is None else scale
    with np.errstate(divide="ignore"):
        inverse_D = np.where(std_D > _CONSTANT * typical, 1.0 / std_D, 0.0)
    return Scaler(train_ND.mean(0, dtype=np.float64), inverse_D)


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

    def predict(self, features_MD: np.ndarray) -> np.ndarray:
        """Return the likeliest class, shape ``(M,)``."""
        return (self.scaler(features_MD) @ self.weights_SD.T + self.bias_S).argmax(1)

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
        scale: See :func:`scaler`.
    """
    scaled = scaler(train.features_ND, scale=scale)
    train_ND, validation_MD = scaled(train.features_ND), scaled(validation.features_ND)
    n_classes = int(train.labels_N.max()) + 1
    constant = np.zeros((n_classes, train_ND.shape[1])), np.zeros(n_classes)
    best, best_gain = LogisticProbe(scaled, *constant, inverse_l2=0.0, converged=True), 0.0
    model = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS, warm_start=True)
    for strength in sorted(inverse_l2):
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # recorded in `converged`
            model.fit(train_ND, train.labels_N)
        weights_SD, bias_S = _as_multinomial(model)
        logits_MS = validation_MD @ weights_SD.T + bias_S
        gain = log_loss_gain(logits_MS, validation.labels_N)
        if gain > best_gain and evidence(logits_MS, validation.labels_N) > _STANDARD_ERRORS:
            converged = bool((model.n_iter_ < MAX_ITERATIONS).all())
            best_gain = gain
            best = LogisticProbe(scaled, weights_SD.copy(), bias_S.copy(), strength, converged)
    return best


def log_loss_gain(logits_MS: np.ndarray, labels_M: np.ndarray) -> float:
    """Return by how much balanced log-loss is below a constant's log(S), at the best temperature.

    Args:
        logits_MS: Class scores.
        labels_M: The right classes; all occur.
    """
    weight_M = _balancing(labels_M, logits_MS.shape[1])
    gains = []
    for sharpness in _SHARPNESS:
        scaled_MS = sharpness * (logits_MS - logits_MS.max(1, keepdims=True))
        right_M = scaled_MS[np.arange(len(labels_M)), labels_M] - np.log(np.exp(scaled_MS).sum(1))
        gains.append(float((weight_M * right_M).mean() + np.log(logits_MS.shape[1])))
    return max(gains)


def evidence(logits_MS: np.ndarray, labels_M: np.ndarray) -> float:
    """Return by how many standard errors the right class's score is above the mean score.

    This is the score test of log-loss against a constant: linear in the features, so that it has
    mean zero wherever all classes have the same mean.

    Args:
        logits_MS: Class scores.
        labels_M: The right classes; all occur.
    """
    above_M = logits_MS[np.arange(len(labels_M)), labels_M] - logits_MS.mean(1)
    above_M = above_M * _balancing(labels_M, logits_MS.shape[1])
    spread = float(above_M.std())
    return 0.0 if spread == 0 else float(above_M.mean()) / spread * float(np.sqrt(len(labels_M)))


def _balancing(labels_M: np.ndarray, n_classes: int) -> np.ndarray:
    size_S = np.bincount(labels_M, minlength=n_classes)
    return len(labels_M) / (n_classes * size_S[labels_M])


def score_balanced(correct_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Return the mean recall over the classes that occur."""
    ones_1M = np.ones((1, len(labels_M)))
    return float(balanced_accuracy(ones_1M, correct_M[:, None], labels_M)[0, 0])


def ridge_predictions(
    train_ND: np.ndarray, labels_JN: np.ndarray, test_MD: np.ndarray, n_classes: int
) -> np.ndarray:
    """Fit one ridge classifier per label set, all from one factorisation, and predict.

    One-hot labels are divided by their class's share, which makes the largest score the balanced
    decision without weighting examples, so that all label sets share the same matrix.

    Args:
        train_ND: Scaled training features.
        labels_JN: Label sets, classes 0 to ``n_classes - 1``.
        test_MD: Scaled test features.
        n_classes: Number of classes S.

    Returns:
        Predicted classes, ``(J, M)``.
    """
    n_sets, n_train = labels_JN.shape
    onehot_JNS = labels_JN[..., None] == np.arange(n_classes)
    share_J1S = onehot_JNS.mean(1, keepdims=True)
    target_JNS = np.where(onehot_JNS, 1.0 / np.maximum(share_J1S, 1.0 / n_train), 0.0)
    target_NQ = target_JNS.transpose(1, 0, 2).reshape(n_train, -1).astype(np.float32)
    mean_Q = target_NQ.mean(0)
    gram_DD = train_ND.T @ train_ND
    gram_DD[np.diag_indices_from(gram_DD)] += RIDGE * n_train
    weights_DQ = np.linalg.solve(gram_DD, train_ND.T @ (target_NQ - mean_Q))
    score_MQ = test_MD @ weights_DQ + mean_Q
    # A class that a label set does not hold has no score to win by.
    score_MJS = score_MQ.reshape(len(test_MD), n_sets, n_classes)
    score_MJS = np.where(share_J1S[:, 0] > 0, score_MJS, -np.inf)
    return score_MJS.argmax(-1).T


def _as_multinomial(model: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    weights, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(weights) > 1:
        return weights, bias
    return np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
