"""Probe readability: how well a variable can be read off the residual stream, by layer.

One multinomial logistic probe per layer and variable, on one position per sequence; balanced
accuracy A_l on test sequences, corrected by the floor F that needs no model:
a_l = clip((A_l - F) / (1 - F), 0, 1), F = max(majority, position only, last-w-symbols tables).
The control task and shuffled labels follow Hewitt and Liang 2019 (arXiv:1909.03368); where along
the layers a_l rises, and in how few steps, :func:`mecheval.metrics.layer_curves.shape` says.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import Variable
from mecheval.metrics.parameters import Count, Strengths
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS, ProbeData, forget_untrained
from mecheval.metrics.probe.probe_scores import Controls, Scores, probe_scores
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.tasks.floors import counting, first_position, task_floors

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile

SAME = 0.01
"""Layers whose accuracy is this close to the largest are on its plateau."""


@metric(
    name="readability",
    version=2,
    family="probe",
    caption="whether a linear classifier finds a variable of the task in the residual stream, at "
    "the layer where it does so best: 1 is always, 0 is no better than without the model. It says "
    "that the variable is there, not that it is used.",
    needs=(Variable(),),
    part="variable",
    headline=(
        Column("{part}: readable above the floor"),
        Column("{part}: best read at layer", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Readability(Metric):
    """Held-out accuracy of a linear probe for a variable, above its floor, by layer.

    The value is a_l at the best layer, the earliest among equals. Its interval resamples test
    sequences and takes the maximum again in each resample; at A_l = 1 it is Wilson's. References
    are in the units of the value, so the floor is 0; ``untrained`` is the best layer of the same
    probe on the same network with freshly drawn weights. Accuracies themselves stand among the
    scalars and the profile's series.

    ``com``, ``l50``, ``last_share``, ``cmax`` and ``ch`` describe the curve of a_l over layers
    (COM, l50, Cmax and C_H of the literature). ``selectivity`` is the accuracy less that of the
    control task, which gives every kind of token a random label. Where a linear probe solves that
    task (to 0.95) it could hardly be positive, whatever the variable: it is null there, with a
    note, and the profile marks the layer ``control_solved``. With no more kinds of tokens than
    features that is so by construction wherever the stream holds the token.

    It says that a variable is there, not that anything uses it: ``planted/parity-distractor``,
    whose memory nothing reads, and its twin, whose memory is the answer, have the same values.

    Attributes:
        variables: Which variables; none for all of the task.
        n_train: Sequences that a probe is fitted on.
        n_validation: Sequences that its strength is chosen on.
        n_test: Sequences that it is scored on.
        inverse_l2: Inverse strengths of its L2 penalty to choose among.
        n_controls: Draws of the control task, and of shuffled labels.
    """

    variables: tuple[str, ...] = ()
    n_train: Count = 2000
    n_validation: Count = 500
    n_test: Count = 1000
    inverse_l2: Strengths = (0.001, 0.03, 1.0, 30.0)
    n_controls: Count = 20

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable."""
        n_test = subject.cut(self.n_test)
        return [
            Layout(name, f"readability of {name}, best layer", n_test, (0.0, 1.0))
            for name in self.variables or subject.task.variables
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Fit probes to every variable."""
        results = [_of_variable(self, subject, layout) for layout in self.outline(subject)]
        forget_untrained(subject)
        return results


def _of_variable(metric: Readability, subject: Subject, layout: Layout) -> MetricResult:
    name, params = layout.part, metric.params
    data, scores = probe_scores(subject, name, params, n_controls=metric.n_controls)
    config = {"first_position": first_position(subject.length), "classes": list(data.classes)}
    if scores is None:
        reason = f"fewer than two values of {name} have {MIN_PER_CLASS} training examples"
        return metric.result(layout, Estimate(None, reason=reason), 0, config=config)
    _, untrained = probe_scores(subject, name, params, network="untrained")
    assert untrained is not None  # noqa: S101 - the labels are those of the trained network
    controls = scores.controls
    assert controls is not None  # noqa: S101 - they were asked for
    floors = task_floors(subject.task, subject.seed).variables[name].balanced(data.classes)
    floor = max(counting(floors).values())
    weight_RM = resampling.weights(
        len(scores.labels_M), subject.stream("bootstrap", "readability", name)
    )
    references, scalars = _levels(scores, untrained, controls, floors)
    return metric.result(
        layout,
        _estimate(scores, weight_RM, floor),
        len(scores.labels_M),
        config=config,
        warnings=_warnings(data, scores, subject.task.variables[name]) + _on_control(data, scores),
        references=references,
        scalars={**scalars, **_shape(scores, weight_RM, floor)},
        profile=_by_layer(scores, untrained, controls, weight_RM, floor),
    )


def _estimate(scores: Scores, weight_RM: np.ndarray, floor: float) -> Estimate:
    best = float(scores.accuracy_L.max())
    if best == 1.0:
        interval = stats.wilson(len(scores.labels_M), len(scores.labels_M), unit="sequence")
    else:
        best_R = scores.resampled(weight_RM).max(1)
        interval = stats.percentile_interval(best_R, unit="sequence")
    above = resampling.mapped(interval, lambda value: layer_curves.corrected(value, floor))
    return Estimate(float(layer_curves.corrected(best, floor)), above)


def _levels(
    scores: Scores, untrained: Scores, controls: Controls, floors: dict[str, float]
) -> tuple[dict[str, Any], dict[str, Any]]:
    floor = max(counting(floors).values())
    accuracy_L = scores.accuracy_L
    best = int(accuracy_L.argmax())
    plateau = np.flatnonzero(layer_curves.plateau(accuracy_L, accuracy_L[best] - SAME))
    references = {
        "floor": 0.0,
        "untrained": layer_curves.corrected(untrained.accuracy_L.max(), floor),
        "shuffled": layer_curves.corrected(controls.shuffled_LJ.mean(1)[best], floor),
    }
    scalars = {
        "layer": best,
        "plateau_first": plateau[0],
        "plateau_last": plateau[-1],
        "accuracy": accuracy_L[best],
        "floor_accuracy": floor,
        "untrained_accuracy": untrained.accuracy_L.max(),
        "selectivity": controls.selectivity_L[best],
        **{f"floor_{kind}": value for kind, value in floors.items()},
    }
    return references, scalars


def _shape(scores: Scores, weight_RM: np.ndarray, floor: float) -> dict[str, float]:
    """Return where and how a_l rises, with the ends of the bootstrap intervals of COM and C_H."""
    value = layer_curves.shape(layer_curves.corrected(scores.accuracy_L, floor))
    resampled = layer_curves.shape(layer_curves.corrected(scores.resampled(weight_RM), floor))
    found = {name: float(number) for name, number in value.items()}
    for name in ("com", "ch"):
        low, high = resampling.bounds(resampled[name][:, None])
        found |= {f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}
    return found


def _by_layer(
    scores: Scores, untrained: Scores, controls: Controls, weight_RM: np.ndarray, floor: float
) -> Profile:
    accuracy_L, accuracy_RL = scores.accuracy_L, scores.resampled(weight_RM)
    ends = resampling.proportion_bounds(accuracy_L, accuracy_RL, len(scores.labels_M))
    low_L, high_L = (layer_curves.corrected(end_L, floor) for end_L in ends)
    series = {
        "accuracy": accuracy_L,
        "floor": np.full(len(accuracy_L), floor),
        "untrained": untrained.accuracy_L,
        "ridge": controls.ridge_L,
        "control": controls.control_LJ.mean(1),
        "shuffled": controls.shuffled_LJ.mean(1),
        "selectivity": controls.selectivity_L,
        "inverse_l2": scores.inverse_l2_L,
    }
    return profile(
        {"layer": range(len(accuracy_L))},
        layer_curves.corrected(accuracy_L, floor),
        (low_L, high_L),
        marks={
            "plateau": layer_curves.plateau(accuracy_L, accuracy_L.max() - SAME),
            "control_solved": controls.solved_L,
        },
        series=series,
    )


def _on_control(data: ProbeData, scores: Scores) -> list[str]:
    """Say why there is no selectivity at the best layer, if there is none."""
    best = int(scores.accuracy_L.argmax())
    if scores.controls is None or not scores.controls.solved_L[best]:
        return []
    examples = data.splits["train"]
    n_tokens, width = len(np.unique(examples.tokens_N)), examples.streams_LND.shape[-1]
    return [
        f"selectivity is null: the control task, a random label for each of {n_tokens} kinds of "
        f"tokens, is solved by a linear probe of {width} features (accuracy "
        f"{scores.controls.control_LJ[best].mean():.3f}), so that hardly anything could be read "
        "better"
    ]


def _warnings(data: ProbeData, scores: Scores, n_values: int) -> list[str]:
    notes = []
    left_out = sorted(set(range(n_values)) - set(data.classes))
    if left_out:
        notes.append(f"values {left_out} are too rare to be probed and are left out")
    failed = np.flatnonzero(~scores.converged_L).tolist()
    if failed:
        notes.append(f"the probe's optimiser did not converge at layers {failed}")
    return notes
