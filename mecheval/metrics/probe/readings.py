"""What probes read of one variable at every layer, above what can be read without training.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``R`` resamples, ``M`` test sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.probe.probe_scores import mlp_accuracy, probe_scores
from mecheval.tasks.floors import counting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.metrics.probe.controls import Controls
    from mecheval.metrics.probe.probe_data import ProbeData
    from mecheval.metrics.probe.probe_scores import Scores
    from mecheval.metrics.subject import Subject

SAME = 0.01
"""Layers whose readability is this close to the largest are on its plateau."""


@dataclass(frozen=True)
class OfMlp:
    """What probes with a hidden layer read.

    Attributes:
        accuracy_L: Accuracy in the trained network.
        untrained_L: Accuracy in the untrained one.
        table: Accuracy of the best table.
    """

    accuracy_L: np.ndarray
    untrained_L: np.ndarray
    table: float

    @property
    def a_L(self) -> np.ndarray:
        """Return the accuracy above the floor of the same kind of probe."""
        return layer_curves.corrected(self.accuracy_L, np.maximum(self.table, self.untrained_L))


@dataclass(frozen=True)
class Readings:
    """What probes read of a variable in the trained and in the untrained network.

    Attributes:
        scores: Of the trained network.
        controls: What ridge probes read there.
        untrained_L: Accuracy in the untrained network.
        tables: Accuracy of every table and rule.
        weight_RM: Weights of resampled test sequences.
        mlp: Of probes with a hidden layer; None where they were not asked for.
    """

    scores: Scores
    controls: Controls
    untrained_L: np.ndarray
    tables: dict[str, float]
    weight_RM: np.ndarray
    mlp: OfMlp | None

    @property
    def table(self) -> float:
        """Return the accuracy of the best table."""
        return max(counting(self.tables).values())

    @property
    def floor_L(self) -> np.ndarray:
        """Return the floor of every layer."""
        return np.maximum(self.table, self.untrained_L)

    @property
    def a_L(self) -> np.ndarray:
        """Return the readability of every layer, above its floor."""
        return layer_curves.corrected(self.scores.accuracy_L, self.floor_L)

    @property
    def a_RL(self) -> np.ndarray:
        """Return the same in resamples."""
        return layer_curves.corrected(self.scores.resampled(self.weight_RM), self.floor_L)

    @property
    def best(self) -> int:
        """Return the layer that is read best, the earliest among equals."""
        return int(self.a_L.argmax())

    @property
    def plateau_L(self) -> np.ndarray:
        """Say which layers are read as well as the best."""
        return layer_curves.plateau(self.a_L, self.a_L.max() - SAME)

    @property
    def selectivity_L(self) -> np.ndarray:
        """Return how much more is read of the variable than of random automata."""
        return self.controls.selectivity_L(self.table)


def readings(
    subject: Subject, variable: str, data: ProbeData, scores: Scores, params: Mapping[str, Any]
) -> Readings:
    """Read the untrained network and, if asked for, both by probes with a hidden layer.

    Args:
        subject: The model on its task.
        variable: A variable of the task.
        data: Its examples in the trained network.
        scores: What probes read there, with controls.
        params: Parameters of the probes, and ``mlp``.
    """
    before, untrained = probe_scores(subject, variable, params, network="untrained")
    assert untrained is not None  # noqa: S101 - the labels are those of the trained network
    assert scores.controls is not None  # noqa: S101 - they were asked for
    tables = subject.floors.variables[variable].balanced(data.classes)
    found = Readings(
        scores, scores.controls, untrained.accuracy_L, tables,
        resampling.weights(
            len(scores.labels_M), subject.stream("bootstrap", "readability", variable)
        ), None,
    )  # fmt: skip
    if not params["mlp"]:
        return found
    # The same first weights, and the same order of examples, for both networks.
    trained_L, untrained_L = (
        mlp_accuracy(one, subject.stream("probe_data", "mlp", variable)) for one in (data, before)
    )
    return replace(found, mlp=OfMlp(trained_L, untrained_L, found.table))
