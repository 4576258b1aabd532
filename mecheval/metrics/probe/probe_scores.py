"""Probes at every layer and what they got right, shared by the metrics that need them.

Shape suffixes: ``L`` layers 0 to n, ``N`` training and ``M`` test sequences, ``R`` resamples, ``J``
label sets or draws of a control.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval.metrics.probe import probes
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.probe_data import ProbeData, probe_data
from mecheval.metrics.resampling import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.probe.design import Design
    from mecheval.metrics.subject import Subject


SOLVED = 0.95
"""Accuracy of the control task from which it leaves hardly any room above it."""


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
    def solved_L(self) -> np.ndarray:
        """Say where the control task is solved, so that hardly anything could be read better."""
        return self.control_LJ.mean(1) >= SOLVED

    @property
    def selectivity_L(self) -> np.ndarray:
        """Return true accuracy less that of the control task, ridge against ridge.

        NaN where the control task is solved: the difference could hardly be positive.
        """
        return np.where(self.solved_L, np.nan, self.ridge_L - self.control_LJ.mean(1))


@dataclass(frozen=True)
class Scores:
    """Test results of one probe per layer.

    Attributes:
        correct_ML: Whether the probe at layer L is right on test sequence M.
        labels_M: The right class.
        inverse_l2_L: The chosen C.
        converged_L: Whether the optimiser converged.
        controls: What ridge probes on the same features reach; None where it was not asked for.
    """

    correct_ML: np.ndarray
    labels_M: np.ndarray
    inverse_l2_L: np.ndarray
    converged_L: np.ndarray
    controls: Controls | None = None

    @property
    def n_controls(self) -> int | None:
        """Return the number of draws of each control; None without controls."""
        return None if self.controls is None else self.controls.control_LJ.shape[1]

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
    n_controls: int | None = None,
) -> tuple[ProbeData, Scores | None]:
    """Fit and test a probe for a variable at every layer; remembered by the subject.

    Args:
        subject: The model on its task.
        variable: A variable of the task.
        params: ``n_train``, ``n_validation``, ``n_test`` and ``inverse_l2``.
        network: The subject's model, or the same one with freshly drawn weights.
        n_controls: Draws of each control; None where controls are not needed.

    Returns:
        The data, and the scores; None where fewer than two values have enough examples.
    """
    sizes = {name: params[name] for name in ("n_train", "n_validation", "n_test")}
    data = probe_data(subject, variable, sizes, network=network)
    if len(data.classes) < 2:
        return data, None
    key = (
        network, "scores", variable, subject.length, *sizes.values(), *params["inverse_l2"]
    )  # fmt: skip
    known: Scores | None = subject.memo.get(key)
    if known is not None and (n_controls is None or known.n_controls == n_controls):
        return data, known
    sets = None
    if n_controls is not None:
        rng = subject.stream("probe_data", "controls", variable)
        sets = LabelSets.draw(data, n_controls, rng)
    if known is None or sets is None:
        subject.memo[key] = score_layers(data, params["inverse_l2"], sets)
    else:
        subject.memo[key] = dataclasses.replace(known, controls=score_controls(data, sets))
    return data, subject.memo[key]


def score_layers(
    data: ProbeData, inverse_l2: Sequence[float], sets: LabelSets | None = None
) -> Scores:
    """Fit and test a logistic probe at every layer, and ridge probes on label sets if given."""
    labels_M = data.labels("test")
    fitted, correct, accuracies = [], [], []
    for layer in range(data.n_layers):
        train, validation, test = (
            data.layer(split, layer) for split in ("train", "validation", "test")
        )
        of_train = design(train.features_ND)
        probe = probes.fit_logistic(train, validation, inverse_l2, of_train=of_train)
        fitted.append(probe)
        correct.append(probe.predict(test.features_ND) == labels_M)
        if sets is not None:
            accuracies.append(sets.accuracy_J(of_train, test.features_ND))
    return Scores(
        np.stack(correct, 1),
        labels_M,
        np.array([probe.inverse_l2 for probe in fitted]),
        np.array([probe.converged for probe in fitted]),
        None if sets is None else sets.controls(np.stack(accuracies)),
    )


def score_controls(data: ProbeData, sets: LabelSets) -> Controls:
    """Test ridge probes on label sets at every layer."""
    accuracies = []
    for layer in range(data.n_layers):
        train, test = data.layer("train", layer), data.layer("test", layer)
        accuracies.append(sets.accuracy_J(design(train.features_ND), test.features_ND))
    return sets.controls(np.stack(accuracies))


@dataclass(frozen=True)
class LabelSets:
    """Labels that ridge probes are asked for: the true ones, the control task's, shuffled ones.

    Attributes:
        targets: What probes are fitted to on the training sequences.
        labels_JM: The right classes of the test sequences.
        weight_JM: What a right answer adds to the balanced accuracy of its label set.
    """

    targets: probes.RidgeTargets
    labels_JM: np.ndarray
    weight_JM: np.ndarray

    @classmethod
    def draw(cls, data: ProbeData, n_draws: int, rng: np.random.Generator) -> LabelSets:
        """Draw each control some times; the true labels come first."""
        labels_JN, labels_JM = _control_labels(data, n_draws, rng)
        size_JM = np.stack([np.bincount(labels_M)[labels_M] for labels_M in labels_JM])
        n_present_J1 = (1.0 / size_JM).sum(1, keepdims=True)  # every class adds up to 1
        targets = probes.RidgeTargets.of(labels_JN, len(data.classes))
        return cls(targets, labels_JM, 1.0 / (n_present_J1 * size_JM))

    def accuracy_J(self, of_train: Design, test_MD: np.ndarray) -> np.ndarray:
        """Fit on training features; return the balanced test accuracy of every label set."""
        test_ME = of_train.scaler.with_ones(test_MD)
        predicted_JM = probes.ridge_predictions(of_train, self.targets, test_ME)
        return ((predicted_JM == self.labels_JM) * self.weight_JM).sum(1)

    def controls(self, accuracy_LJ: np.ndarray) -> Controls:
        """Take the accuracies of all label sets apart."""
        n_draws = (accuracy_LJ.shape[1] - 1) // 2
        return Controls(
            accuracy_LJ[:, 0], accuracy_LJ[:, 1 : 1 + n_draws], accuracy_LJ[:, 1 + n_draws :]
        )


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
