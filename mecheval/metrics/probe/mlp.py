"""Probes with one hidden layer: what a nonlinear reader finds, beside the linear ones.

Several networks are trained together, one on each set of features: the layers of a model, or one
layer after several erasers. All start from the same weights and see the examples in the same order,
so that no network depends on those it is trained beside, and sets of features are compared under
the same luck. The objective is that of :func:`mecheval.metrics.probe.probes.fit_logistic`, balanced
log-loss; AdamW minimises it (Loshchilov and Hutter 2019), and the weights are taken after the epoch
with the least log-loss on the validation examples.

A network sees the features whitened, up to a damping. Most of the variance of activations lies in a
few directions; on features that are merely standardised the others are found so late that a linear
probe reads more than a network (0.87 against 0.99 for a code in directions of small variance).

Shape suffixes: ``A`` networks that are still trained, ``N`` training and ``M``
validation examples, ``B`` examples of a step, ``D`` features, ``E`` features and a column of ones,
``H`` hidden units, ``F`` hidden units and one that is always 1, ``S`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from mecheval.metrics.probe.design import design, one_hot
from mecheval.metrics.probe.probes import STANDARD_ERRORS, balancing, evidence, log_loss_gain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.probe.design import Design, Scaler
    from mecheval.metrics.probe.probes import Split

HIDDEN = 64
"""Hidden units."""

EPOCHS = 40
"""Most passes over the training examples."""

_PATIENCE = 6  # epochs without a better log-loss after which a network stops
_STEP = 100  # examples of a step
_RATE = 0.02  # at the first step; falls to 0 along half a cosine
_DECAY = 0.5  # of weights, per unit of rate
_DAMPING = 0.003  # of whitening, in variances of a feature
_MEANS = (0.9, 0.99)  # how slowly AdamW forgets gradients and their squares
_TOGETHER = 8  # networks, whose features are held at once


@dataclass(frozen=True)
class MlpProbe:
    """A fitted network.

    Attributes:
        scaler: Scaling of the features.
        inner_EH: Weights of the hidden units on scaled features; biases are the last row.
        outer_FS: Weights of the classes; biases are the last row. 0 for the constant probe.
        epochs: After how many epochs its weights were taken; 0 for the constant probe.
    """

    scaler: Scaler
    inner_EH: np.ndarray
    outer_FS: np.ndarray
    epochs: int

    def logits(self, features_MD: np.ndarray) -> np.ndarray:
        """Return class scores, whose softmax are the probabilities, shape ``(M, S)``."""
        hidden_MH = np.maximum(self.scaler.with_ones(features_MD) @ self.inner_EH, 0.0)
        return hidden_MH @ self.outer_FS[:-1] + self.outer_FS[-1]

    def predict(self, features_MD: np.ndarray) -> np.ndarray:
        """Return the likeliest class, shape ``(M,)``."""
        return self.logits(features_MD).argmax(1)


def fit_mlp(
    train: Split,
    validation: Split,
    rng: np.random.Generator,
    *,
    hidden: int = HIDDEN,
    scale: float | None = None,
    of_train: Design | None = None,
) -> MlpProbe:
    """Fit a class-balanced probe with one hidden layer; stop early on validation examples.

    As a logistic one it is constant, with the accuracy of chance, unless it predicts the validation
    examples better than a constant by more than two standard errors.

    Args:
        train: Training examples; every class occurs.
        validation: Examples by which the epoch is chosen; every class occurs.
        rng: Decides the first weights and the order of the examples.
        hidden: Hidden units.
        scale: See :func:`mecheval.metrics.probe.design.design`.
        of_train: The design of the training features, where it is known already.
    """
    designs = [design(train.features_ND, scale=scale) if of_train is None else of_train]
    return fit_mlps([train], [validation], rng, hidden=hidden, designs=designs)[0]


def fit_mlps(
    trains: Sequence[Split],
    validations: Sequence[Split],
    rng: np.random.Generator,
    *,
    hidden: int = HIDDEN,
    designs: Sequence[Design] | None = None,
) -> list[MlpProbe]:
    """Fit one probe per set of features, together, each as :func:`fit_mlp` does with this ``rng``.

    Args:
        trains: Training examples; as many in every set, of as many features and classes.
        validations: Validation examples, likewise.
        rng: Decides the first weights and the order of the examples, the same for all.
        hidden: Hidden units.
        designs: Designs of the training features, where they are known already.
    """
    designs = designs or [design(train.features_ND) for train in trains]
    n_rows, width = trains[0].features_ND.shape
    n_classes = int(trains[0].labels_N.max()) + 1
    start = _drawn(width, hidden, n_classes, rng)
    order = np.stack([rng.permutation(n_rows) for _ in range(EPOCHS)])
    fitted = []
    for at in range(0, len(trains), _TOGETHER):
        part = slice(at, at + _TOGETHER)
        given = zip(trains[part], validations[part], designs[part], strict=True)
        fitted += _train([_Features(*one) for one in given], start, order)
    return fitted


def _drawn(
    width: int, hidden: int, n_classes: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return first weights: inner ones as He et al. 2015 draw them, outer ones ten times less."""
    inner_EH = np.zeros((width + 1, hidden), np.float32)
    outer_FS = np.zeros((hidden + 1, n_classes), np.float32)
    inner_EH[:-1] = rng.standard_normal((width, hidden)) * np.sqrt(2 / (width + 1))
    outer_FS[:-1] = rng.standard_normal((hidden, n_classes)) * 0.1 / np.sqrt(hidden)
    return inner_EH, outer_FS


class _Features:
    """One set of features as a network sees it."""

    def __init__(self, train: Split, validation: Split, of_train: Design) -> None:
        self.scaler = of_train.scaler
        self.whitening_EE = _whitening(of_train)
        self.rows_NE = of_train.rows_NE @ self.whitening_EE
        self.validation_ME = self.scaler.with_ones(validation.features_ND) @ self.whitening_EE
        self.labels_N, self.labels_M = train.labels_N, validation.labels_N
        n_classes = int(train.labels_N.max()) + 1
        self.weight_N = balancing(train.labels_N, n_classes).astype(np.float32)

    def gain(self, weights: tuple[np.ndarray, np.ndarray]) -> float:
        """Return by how much log-loss on validation examples is below a constant's."""
        return log_loss_gain(_logits(*weights, self.validation_ME), self.labels_M)

    def probe(self, weights: tuple[np.ndarray, np.ndarray], epochs: int) -> MlpProbe:
        """Return the network as a probe on features as they come."""
        inner_EH, outer_FS = weights
        probe = MlpProbe(self.scaler, self.whitening_EE @ inner_EH, outer_FS, epochs)
        logits_MS = _logits(inner_EH, outer_FS, self.validation_ME)
        if epochs and evidence(logits_MS, self.labels_M) > STANDARD_ERRORS:
            return probe
        return MlpProbe(self.scaler, probe.inner_EH, np.zeros_like(outer_FS), 0)


def _whitening(of_train: Design) -> np.ndarray:
    """Return the damped inverse square root of the Gram matrix; the column of ones stays."""
    variance_D, axes_DD = eigh(of_train.gram_EE[:-1, :-1].astype(np.float64), lower=False)
    inverse_D = 1.0 / np.sqrt(np.maximum(variance_D, 0.0) + _DAMPING)
    whitening_EE = np.eye(len(of_train.gram_EE), dtype=np.float32)
    whitening_EE[:-1, :-1] = (axes_DD * inverse_D) @ axes_DD.T
    return whitening_EE


def _train(
    sets: Sequence[_Features], start: tuple[np.ndarray, np.ndarray], order: np.ndarray
) -> list[MlpProbe]:
    """Train one network per set of features, from the same weights and in the same order."""
    networks = _Networks(sets, start, n_steps=len(order) * -(-order.shape[1] // _STEP))
    best_gain, best_epoch = np.zeros(len(sets)), np.zeros(len(sets), np.intp)
    best = [start] * len(sets)
    active = np.arange(len(sets))
    for epoch, row_N in enumerate(order, start=1):
        for at in range(0, len(row_N), _STEP):
            networks.step(row_N[at : at + _STEP])
        for place, k in enumerate(active.tolist()):
            weights = networks.weights(place)
            gain = sets[k].gain(weights)
            if gain > best_gain[k]:
                best_gain[k], best_epoch[k] = gain, epoch
                best[k] = weights[0].copy(), weights[1].copy()
        patient_A = epoch - best_epoch[active] < _PATIENCE
        if not patient_A.all():
            active = active[patient_A]
            networks.keep(patient_A)
        if not active.size:
            break
    return [
        one.probe(weights, int(epoch))
        for one, weights, epoch in zip(sets, best, best_epoch, strict=True)
    ]


class _Networks:
    """The weights of the networks that are still trained, and AdamW on them."""

    def __init__(
        self, sets: Sequence[_Features], start: tuple[np.ndarray, np.ndarray], *, n_steps: int
    ) -> None:
        self.n_steps, self.n_done = n_steps, 0
        n_classes = start[1].shape[1]
        self.rows_ANE = np.stack([one.rows_NE for one in sets])
        self.right_ANS = np.stack([one_hot(one.labels_N, n_classes).T for one in sets])
        self.weight_AN = np.stack([one.weight_N for one in sets])
        self.layers = [np.repeat(weights[None], len(sets), 0) for weights in start]
        self.means = [np.zeros_like(weights) for weights in self.layers]
        self.squares = [np.zeros_like(weights) for weights in self.layers]

    def weights(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights that a network has now; the next step changes them."""
        inner_AEH, outer_AFS = self.layers
        return inner_AEH[place], outer_AFS[place]

    def keep(self, kept_A: np.ndarray) -> None:
        """Drop the other networks."""
        self.rows_ANE, self.right_ANS = self.rows_ANE[kept_A], self.right_ANS[kept_A]
        self.weight_AN = self.weight_AN[kept_A]
        self.layers = [weights[kept_A] for weights in self.layers]
        self.means = [mean[kept_A] for mean in self.means]
        self.squares = [square[kept_A] for square in self.squares]

    def step(self, row_B: np.ndarray) -> None:
        """Take a step on some examples."""
        gradients = _gradients(
            self.layers[0], self.layers[1], self.rows_ANE[:, row_B],
            self.right_ANS[:, row_B], self.weight_AN[:, row_B],
        )  # fmt: skip
        rate = _RATE * 0.5 * (1.0 + np.cos(np.pi * self.n_done / self.n_steps))
        self.n_done += 1
        slow, slower = _MEANS
        unbiased, unbiased_square = 1.0 - slow**self.n_done, 1.0 - slower**self.n_done
        for weights, mean, square, gradient in zip(
            self.layers, self.means, self.squares, gradients, strict=True
        ):
            mean += (1.0 - slow) * (gradient - mean)
            square += (1.0 - slower) * (gradient**2 - square)
            size = np.sqrt(square / unbiased_square) + 1e-8
            weights -= rate * (mean / unbiased / size + _DECAY * weights)


def _logits(inner_EH: np.ndarray, outer_FS: np.ndarray, rows_ME: np.ndarray) -> np.ndarray:
    return np.maximum(rows_ME @ inner_EH, 0.0) @ outer_FS[:-1] + outer_FS[-1]


def _gradients(
    inner_AEH: np.ndarray,
    outer_AFS: np.ndarray,
    rows_ABE: np.ndarray,
    right_ABS: np.ndarray,
    weight_AB: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of the mean weighted log-loss by the weights of both layers."""
    n_rows = rows_ABE.shape[1]
    hidden_ABH = np.maximum(rows_ABE @ inner_AEH, 0.0)
    error_ABS = hidden_ABH @ outer_AFS[:, :-1] + outer_AFS[:, -1:]
    error_ABS = np.exp(error_ABS - error_ABS.max(2, keepdims=True))
    error_ABS /= error_ABS.sum(2, keepdims=True)
    error_ABS -= right_ABS
    error_ABS *= weight_AB[..., None] / n_rows
    by_hidden_ABH = error_ABS @ outer_AFS[:, :-1].transpose(0, 2, 1)
    by_hidden_ABH *= hidden_ABH > 0
    by_outer_AFS = np.concatenate(
        [hidden_ABH.transpose(0, 2, 1) @ error_ABS, error_ABS.sum(1, keepdims=True)], 1
    )
    return rows_ABE.transpose(0, 2, 1) @ by_hidden_ABH, by_outer_AFS
