"""Probes at every layer and what they got right, shared by the metrics that need them.

Shape suffixes: ``L`` layers 0 to n, ``M`` test sequences, ``R`` resamples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval.metrics.enough import Enough
from mecheval.metrics.probe import mlp, probes
from mecheval.metrics.probe.controls import Controls, LabelSets
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS, SPLITS, ProbeData, probe_data
from mecheval.metrics.resampling import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject

TRAINABLE = Enough(2 * MIN_PER_CLASS, "n_train", "training sequences")
"""What every probe needs: one position of a sequence, so two values have at most as many."""


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
        return None if self.controls is None else self.controls.shuffled_LJ.shape[1]

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
    given = (*sizes.values(), *params["inverse_l2"])
    key = (network, "scores", variable, subject.length, *given)
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


def too_few_examples(subject: Subject, variable: str, *, n_train: int) -> str:
    """Say why there is no probe for a variable."""
    return (
        f"fewer than two values of {variable} have {MIN_PER_CLASS} training examples: "
        f"{subject.gives_more(n_train=n_train)}"
    )


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


def mlp_accuracy(data: ProbeData, rng: np.random.Generator) -> np.ndarray:
    """Fit and test a probe with a hidden layer at every layer; return balanced accuracies."""
    trains, validations, tests = (
        [data.layer(split, layer) for layer in range(data.n_layers)] for split in SPLITS
    )
    fitted = mlp.fit_mlps(trains, validations, rng)
    scored = zip(fitted, tests, strict=True)
    return np.array(
        [
            probes.score_balanced(probe.predict(test.features_ND) == test.labels_N, test.labels_N)
            for probe, test in scored
        ]
    )
