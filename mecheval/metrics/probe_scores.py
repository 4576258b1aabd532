"""Probes at every layer and what they got right, shared by the metrics that need them.

Shape suffixes: ``L`` layers 0 to n, ``M`` test sequences, ``R`` resamples, ``S`` classes, ``J``
draws of a control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval.metrics import probes
from mecheval.metrics.probe_data import ProbeData, probe_data
from mecheval.metrics.resampling import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject


@dataclass(frozen=True)
class Scores:
    """Test results of one probe per layer.

    Attributes:
        correct_ML: Whether the probe at layer L is right on test sequence M.
        labels_M: The right class.
        inverse_l2_L: The chosen C.
        converged_L: Whether the optimiser converged.
    """

    correct_ML: np.ndarray
    labels_M: np.ndarray
    inverse_l2_L: np.ndarray
    converged_L: np.ndarray

    @property
    def accuracy_L(self) -> np.ndarray:
        """Return the balanced accuracy of every layer."""
        return self.resampled(np.ones((1, len(self.labels_M))))[0]

    def resampled(self, weight_RM: np.ndarray) -> np.ndarray:
        """Return the balanced accuracies of resamples, ``(R, L)``."""
        return balanced_accuracy(weight_RM, self.correct_ML, self.labels_M)


def probe_scores(
    subject: Subject,
    variable: str,
    params: Mapping[str, Any],
    *,
    network: Literal["trained", "untrained"] = "trained",
) -> tuple[ProbeData, Scores | None]:
    """Fit and test a probe for a variable at every layer; remembered by the subject.

    Args:
        subject: The model on its task.
        variable: A variable of the task.
        params: ``n_train``, ``n_validation``, ``n_test`` and ``inverse_l2``.
        network: The subject's model, or the same one with freshly drawn weights.

    Returns:
        The data, and the scores; None where fewer than two values have enough examples.
    """
    sizes = {name: params[name] for name in ("n_train", "n_validation", "n_test")}
    data = probe_data(subject, variable, sizes, network=network)
    if len(data.classes) < 2:
        return data, None
    key = (network, "scores", variable, *sizes.values(), *params["inverse_l2"])
    if key not in subject.memo:
        subject.memo[key] = score_layers(data, params["inverse_l2"])
    return data, subject.memo[key]


def score_layers(data: ProbeData, inverse_l2: Sequence[float]) -> Scores:
    """Fit and test a logistic probe at every layer."""
    labels_M = data.labels("test")
    fitted, correct = [], []
    for layer in range(data.n_layers):
        train, validation, test = (
            data.layer(split, layer) for split in ("train", "validation", "test")
        )
        probe = probes.fit_logistic(train, validation, inverse_l2)
        fitted.append(probe)
        correct.append(probe.predict(test.features_ND) == labels_M)
    return Scores(
        np.stack(correct, 1),
        labels_M,
        np.array([probe.inverse_l2 for probe in fitted]),
        np.array([probe.converged for probe in fitted]),
    )


@dataclass(frozen=True)
class Controls:
    """Balanced accuracies of ridge probes, which say how much a probe can do by itself.

    Attributes:
        ridge_L: On the true labels: the same probe as the controls'.
        control_LJ: On the control task, a random label per token type (Hewitt and Liang 2019).
        shuffled_LJ: On labels shuffled over sequences.
    """

    ridge_L: np.ndarray
    control_LJ: np.ndarray
    shuffled_LJ: np.ndarray

    @property
    def selectivity_L(self) -> np.ndarray:
        """Return true accuracy less that of the control task, ridge against ridge."""
        return self.ridge_L - self.control_LJ.mean(1)


def score_controls(data: ProbeData, n_draws: int, rng: np.random.Generator) -> Controls:
    """Test ridge probes on true, control and shuffled labels at every layer."""
    labels_JN, labels_JM = _control_labels(data, n_draws, rng)
    accuracy = np.zeros((data.n_layers, len(labels_JN)))
    for layer in range(data.n_layers):
        train, test = data.layer("train", layer), data.layer("test", layer)
        scaled = probes.scaler(train.features_ND)
        predicted_JM = probes.ridge_predictions(
            scaled(train.features_ND), labels_JN, scaled(test.features_ND), len(data.classes)
        )
        accuracy[layer] = [
            probes.score_balanced(predicted_M == labels_M, labels_M)
            for predicted_M, labels_M in zip(predicted_JM, labels_JM, strict=True)
        ]
    return Controls(accuracy[:, 0], accuracy[:, 1 : 1 + n_draws], accuracy[:, 1 + n_draws :])


def _control_labels(
    data: ProbeData, n_draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return label sets of train and test: the true ones, then the controls, then shuffled."""
    n_classes = len(data.classes)
    tokens = [data.splits[split].tokens_N[data.kept(split)] for split in ("train", "test")]
    types = np.unique(np.concatenate(tokens))
    table_JX = rng.integers(n_classes, size=(n_draws, len(types)))
    # A table that gives one label to all types asks for nothing.
    constant_J = (table_JX == table_JX[:, :1]).all(1)
    table_JX[constant_J, 0] = (table_JX[constant_J, 0] + 1) % n_classes
    sets = []
    for split, tokens_N in zip(("train", "test"), tokens, strict=True):
        labels_N = data.labels(split)
        control_JN = table_JX[:, np.searchsorted(types, tokens_N)]
        shuffled_JN = rng.permuted(np.tile(labels_N, (n_draws, 1)), axis=1)
        sets.append(np.concatenate([labels_N[None], control_JN, shuffled_JN]))
    return sets[0], sets[1]
