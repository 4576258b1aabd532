"""Probe readability: how well a variable can be read off the residual stream, by layer.

One multinomial logistic probe per layer and variable, on one position per sequence; balanced
accuracy A_l on test sequences, corrected by the floor F_l of the layer, which needs no training:
a_l = clip((A_l - F_l) / (1 - F_l), 0, 1), with F_l the largest of the tables' accuracies (majority,
position only, last w symbols, a task's own rules) and of the same probe's accuracy on the untrained
network at layer l. Where along the layers a_l rises, and in how few steps,
:func:`mecheval.metrics.layer_curves.shape` says.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``R`` resamples, ``M`` test sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import AtLength, Variable
from mecheval.metrics.parameters import Count, Lengths, Strengths
from mecheval.metrics.probe.probe_data import ProbeData, forget_untrained
from mecheval.metrics.probe.probe_scores import TRAINABLE, probe_scores, too_few_examples
from mecheval.metrics.probe.readings import Readings, readings
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile


@metric(
    name="readability",
    version=3,
    reference="Hewitt and Liang 2019, arXiv:1909.03368 (the control)",
    family="probe",
    caption="whether a linear classifier finds a variable of the task in the residual stream, at "
    "the layer where it does so best: 1 is always, 0 is no better than without the model, or in "
    "the same layer of the model before training. It says that the variable is there, not that it "
    "is used.",
    needs=(Variable(), AtLength(), TRAINABLE),
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
    sequences and takes the maximum again in each resample; at A_l = 1 it is Wilson's. The floor is
    taken as it was measured: it is larger than the tables' by what the same network with freshly
    drawn weights lets a probe read at that layer, up to the noise of ``n_test`` sequences. Profile
    and scalars have the accuracies: of the trained network, of the untrained one, of tables.

    ``com``, ``l50``, ``last_share``, ``cmax`` and ``ch`` describe the curve of a_l over layers
    (COM, l50, Cmax and C_H of the literature).

    The control asks for a state that the model was never asked for: that of random automata with
    as many states as the variable has values, over the same words
    (:mod:`mecheval.metrics.probe.controls`). ``selectivity`` is what is read of the variable above
    tables less what is read of them above chance, both by ridge probes: 1 where the network has
    the variable and no such state, 0 where it has the one as much as the other, as a network does
    that keeps every word. It is null, with a note, where every automaton would ask for the variable
    again, or for what the position or the last token tells.

    With ``mlp`` a probe with a hidden layer is asked as well, above the same tables and the same
    kind of probe on the untrained network. A state can be there in a form that no linear probe
    reads: where it is readable depends on the family of probes.

    It says that a variable is there, not that anything uses it: ``planted/parity-distractor``,
    whose memory nothing reads, and its twin, whose memory is the answer, have the same values.

    Attributes:
        variables: Which variables; none for all of the task.
        length: Multiple of the training length at which probes are fitted and tried.
        n_train: Sequences that a probe is fitted on.
        n_validation: Sequences that its strength is chosen on.
        n_test: Sequences that it is scored on.
        inverse_l2: Inverse strengths of its L2 penalty to choose among.
        n_controls: Draws of random automata, and of shuffled labels.
        mlp: Whether a probe with a hidden layer is asked as well.
    """

    variables: tuple[str, ...] = ()
    length: Lengths = 1
    n_train: Count = 2000
    n_validation: Count = 500
    n_test: Count = 1000
    inverse_l2: Strengths = (0.03, 1.0, 30.0)
    n_controls: Count = 20
    mlp: bool = False

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
        reason = too_few_examples(subject, name, n_train=metric.n_train)
        return metric.result(layout, Estimate(None, reason=reason), 0, config=config)
    read = readings(subject, name, data, scores, params)
    return metric.result(
        layout,
        _estimate(read),
        len(scores.labels_M),
        config=config,
        warnings=_warnings(data, read, subject.task.variables[name]),
        references={
            "floor": 0.0,
            "shuffled": layer_curves.corrected(
                read.controls.shuffled_LJ.mean(1)[read.best], read.floor_L[read.best]
            ),
        },
        scalars={**_levels(read), **_shape(read)},
        profile=_by_layer(read),
    )


def _estimate(read: Readings) -> Estimate:
    best, n_test = read.best, len(read.scores.labels_M)
    if read.scores.accuracy_L[best] == 1.0:
        wilson = stats.wilson(n_test, n_test, unit="sequence")
        floor = read.floor_L[best]
        interval = resampling.mapped(wilson, lambda end: layer_curves.corrected(end, floor))
    else:
        interval = stats.percentile_interval(read.a_RL.max(1), unit="sequence")
    return Estimate(float(read.a_L[best]), interval)


def _levels(read: Readings) -> dict[str, Any]:
    best, plateau = read.best, np.flatnonzero(read.plateau_L)
    found = {
        "layer": best,
        "plateau_first": plateau[0],
        "plateau_last": plateau[-1],
        "accuracy": read.scores.accuracy_L[best],
        "floor_accuracy": read.floor_L[best],
        "untrained_accuracy": read.untrained_L[best],
        "table_accuracy": read.table,
        "selectivity": read.selectivity_L[best],
        **{f"floor_{kind}": value for kind, value in read.tables.items()},
    }
    if read.mlp is not None:
        found |= {
            "mlp": read.mlp.a_L[best],
            "mlp_accuracy": read.mlp.accuracy_L[best],
            "mlp_com": layer_curves.shape(read.mlp.a_L)["com"],
        }
    return found


def _shape(read: Readings) -> dict[str, float]:
    """Return where and how a_l rises, with the ends of the bootstrap intervals of COM and C_H."""
    value, resampled = layer_curves.shape(read.a_L), layer_curves.shape(read.a_RL)
    found = {name: float(number) for name, number in value.items()}
    for name in ("com", "ch"):
        low, high = resampling.bounds(resampled[name][:, None])
        found |= {f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}
    return found


def _by_layer(read: Readings) -> Profile:
    scores, controls = read.scores, read.controls
    accuracy_L = scores.accuracy_L
    accuracy_RL = scores.resampled(read.weight_RM)
    ends = resampling.proportion_bounds(accuracy_L, accuracy_RL, len(scores.labels_M))
    low_L, high_L = (layer_curves.corrected(end_L, read.floor_L) for end_L in ends)
    series = {
        "accuracy": accuracy_L,
        "floor": read.floor_L,
        "untrained": read.untrained_L,
        "ridge": controls.ridge_L,
        "control": controls.control_L,
        "shuffled": controls.shuffled_LJ.mean(1),
        "selectivity": controls.selectivity_L(read.table),
        "inverse_l2": scores.inverse_l2_L,
    }
    if read.mlp is not None:
        series |= {
            "mlp": read.mlp.a_L,
            "mlp_accuracy": read.mlp.accuracy_L,
            "mlp_untrained": read.mlp.untrained_L,
        }
    return profile(
        {"layer": range(len(accuracy_L))},
        read.a_L,
        (low_L, high_L),
        marks={"plateau": read.plateau_L},
        series=series,
    )


def _warnings(data: ProbeData, read: Readings, n_values: int) -> list[str]:
    notes = []
    left_out = sorted(set(range(n_values)) - set(data.classes))
    if left_out:
        notes.append(f"values {left_out} are too rare to be probed and are left out")
    failed = np.flatnonzero(~read.scores.converged_L).tolist()
    if failed:
        notes.append(f"the probe's optimiser did not converge at layers {failed}")
    if not read.controls.control_LJ.shape[1]:
        notes.append(
            f"selectivity is null: the state of no random automaton with {len(data.classes)} "
            "states over these words is anything but the variable, or what the position or the "
            "last token tells"
        )
    return notes
