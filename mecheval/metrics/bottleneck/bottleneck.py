"""Bottleneck layer: where erasing a variable hurts the answers most.

At every layer of the residual stream the variable's linear subspace is erased at all positions and
the model runs on. Erasure counts only if a probe fitted afresh on erased activations of other
sequences falls to chance (Jiang 2026 v2, arXiv:2606.00926), and its cost is taken above that of
random subspaces of the same dimension.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples, ``J`` random
subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.curves import PLATEAU, Curves, Readings, by_layer, curves_of
from mecheval.metrics.bottleneck.erasure_sweep import prepare_sweep
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import Variable
from mecheval.metrics.parameters import Amount, Count, Strengths
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS
from mecheval.metrics.probe.probe_scores import probe_scores
from mecheval.metrics.results import Estimate, Layout
from mecheval.tasks.floors import counting, first_position, task_floors

if TYPE_CHECKING:
    from mecheval.metrics.bottleneck.erasure_sweep import Sweep
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult

ERASER_NOTES = {
    "row_space": "erases the row space of one probe: a refitted probe usually recovers",
    "direction": "erases one probe direction, which is no test of necessity (arXiv:2606.00926 v2)",
}


@metric(
    name="bottleneck",
    version=1,
    family="bottleneck",
    needs=(Variable(),),
    headline=(
        Column("{part}: largest cost of erasing it", at="necessity"),
        Column("{part}: at layer", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Bottleneck(Metric):
    """Layer at which erasing a variable hurts the answers most, above random subspaces.

    The value is the relative depth l / n of the valid layer with the largest necessity, the
    earliest among equals. Accuracy is token accuracy over the positions at which erasure is
    checked (:func:`mecheval.tasks.floors.first_position` on); last-position accuracy stands
    beside it. The interval resamples test sequences and takes the argmax again in each resample.

    A layer is valid if the variable is readable there (a_l >= ``min_readability``), the refitted
    probe does not recover (E <= ``max_refit``), random subspaces keep ``min_random_kept`` of the
    accuracy, and blocks follow: after the last block only norm and head remain, so that erasing
    the answer there must hurt. The value is null, with the reason, if no layer is valid, or if
    erasing costs hardly more than random subspaces do: the largest necessity is less than
    ``min_necessity`` or its interval holds 0.

    The profile shows the necessity of valid layers; ``series["necessity"]`` that of all. Where a
    variable is not readable, its class means differ by noise, and erasing their span removes
    whatever the activations vary by: at an embedding the token, which of course hurts.

    It looks at the residual stream between blocks. Networks that differ inside a mixer alone, such
    as ``planted/mamba-recall`` and its off-by-one twin, have the same values.

    Attributes:
        variables: Which variables; none for all of the task.
        eraser: What is erased: the span of the class means, what LEACE erases, the row space of a
            probe, one direction of it, or what iterated probes find (INLP).
        n_train: Sequences that a probe is fitted on.
        n_validation: Sequences that its strength is chosen on.
        n_test: Sequences that it is scored on.
        inverse_l2: Inverse strengths of its L2 penalty to choose among.
        n_fit: Sequences that an eraser is fitted on.
        n_erase: Test sequences that are answered under erasure.
        n_random: Random subspaces per layer.
        n_per_random: Test sequences per random subspace.
        min_readability: Least readability of a layer that counts, above the floor.
        max_refit: Most that a refitted probe may read of what was there.
        min_random_kept: Least share of the accuracy that random subspaces must leave.
        min_necessity: Least cost that makes a bottleneck.
    """

    variables: tuple[str, ...] = ()
    eraser: Literal["class_mean", "leace", "row_space", "direction", "inlp"] = "class_mean"
    n_train: Count = 2000
    n_validation: Count = 500
    n_test: Count = 1000
    inverse_l2: Strengths = (0.001, 0.03, 1.0, 30.0)
    n_fit: Count = 2000
    n_erase: Count = 256
    n_random: Count = 20
    n_per_random: Count = 64
    min_readability: Amount = 0.2
    max_refit: Amount = 0.1
    min_random_kept: Amount = 0.9
    min_necessity: Amount = 0.05

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable."""
        n_erase = subject.cut(self.n_erase)
        return [
            Layout(name, f"depth of the bottleneck of {name}", n_erase, (0.0, 1.0))
            for name in self.variables or subject.task.variables
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Erase every variable at every layer."""
        layouts = {layout.part: layout for layout in self.outline(subject)}
        probed = {name: probe_scores(subject, name, self.params) for name in layouts}
        usable = {name: data for name, (data, scores) in probed.items() if scores is not None}
        sweep = prepare_sweep(subject, self.params)
        outcomes = sweep.outcomes(usable)
        results = []
        for name, (data, scores) in probed.items():
            if scores is None:
                reason = f"fewer than two values of {name} have {MIN_PER_CLASS} training examples"
                results.append(self.result(layouts[name], Estimate(None, reason=reason), 0))
                continue
            floors = task_floors(subject.task, subject.seed).variables[name]
            floor = max(counting(floors.balanced(data.classes)).values())
            readings = Readings(scores.accuracy_L, floor, 1 / len(data.classes))
            rng = subject.stream("bootstrap", "bottleneck", name)
            curves = curves_of(sweep, outcomes[name], readings, rng)
            results.append(_result(self, layouts[name], sweep, curves))
        return results


def _result(metric: Bottleneck, layout: Layout, sweep: Sweep, curves: Curves) -> MetricResult:
    estimate, scalars = _headline(curves, metric.min_necessity)
    note = ERASER_NOTES.get(metric.eraser)
    return metric.result(
        layout,
        estimate,
        len(curves.clean_B),
        references={"best_probe": _depth(int(curves.readings.accuracy_L.argmax()), curves)},
        scalars={
            **scalars,
            "clean_accuracy": curves.clean_B.mean(),
            "clean_last_accuracy": sweep.runs.clean.last.mean(),
            "chance": sweep.subject.task.chance,
            "best_probe_layer": curves.readings.accuracy_L.argmax(),
        },
        profile=by_layer(curves),
        config={"first_position": first_position(sweep.subject.length)},
        warnings=[note] if note else [],
    )


def _depth(layer: int, curves: Curves) -> float:
    return layer / (len(curves.outcomes) - 1)


def _headline(curves: Curves, min_necessity: float) -> tuple[Estimate, dict[str, Any]]:
    if np.isnan(curves.necessity_L).any():
        return Estimate(None, reason="the accuracy without erasure is not above chance"), {}
    objection = curves.validity.objection(curves.refit_L)
    if objection:
        return Estimate(None, reason=objection), {}
    valid = np.flatnonzero(curves.validity.valid_L)
    layer = int(valid[curves.necessity_L[valid].argmax()])
    low, high = (end[layer] for end in resampling.bounds(curves.necessity_RL))
    largest = curves.necessity_L[layer]
    scalars = {"necessity": largest, "necessity_low": low, "necessity_high": high}
    if low <= 0 or largest < min_necessity:
        reason = (
            "erasing costs hardly more than random subspaces of the same dimension: the largest "
            f"necessity is {largest:.3f} [{low:.3f}, {high:.3f}] at layer {layer}"
        )
        return Estimate(None, reason=reason), scalars
    layer_R = valid[curves.necessity_RL[:, valid].argmax(1)]
    interval = stats.percentile_interval(layer_R / (len(curves.outcomes) - 1), unit="sequence")
    plateau = np.flatnonzero(layer_curves.plateau(curves.valid_necessity_L, PLATEAU * largest))
    best_probe = int(curves.readings.accuracy_L.argmax())
    scalars |= {
        "layer": layer,
        "gap_to_best_probe": _depth(layer - best_probe, curves),
        "plateau_first": plateau[0],
        "plateau_last": plateau[-1],
        "plateau_width": _depth(len(plateau), curves),
        "refit_recovery": curves.refit_L[layer],
        "correlation_with_probe": _correlation(curves, valid),
        **layer_curves.concentration(curves.valid_necessity_L[:-1]),
    }
    return Estimate(_depth(layer, curves), interval), scalars


def _correlation(curves: Curves, valid: np.ndarray) -> float | None:
    probe, cost = curves.readings.accuracy_L[valid], curves.necessity_L[valid]
    if len(valid) < 3 or probe.std() == 0 or cost.std() == 0:
        return None
    return float(np.corrcoef(probe, cost)[0, 1])
