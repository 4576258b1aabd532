"""Bottleneck layer: where erasing a variable hurts the answers most.

At every layer of the residual stream the variable's linear subspace is erased at all positions and
the model runs on. Erasure counts only if a probe fitted afresh on erased activations of other
sequences falls to chance (Jiang 2026 v2, arXiv:2606.00926), and its cost is taken above that of
random subspaces of the same dimension. That a layer has a cost says that the answers use this
linear subspace there; that it has none does not say that they do without the variable.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples, ``J`` random
subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.cost import cost
from mecheval.metrics.bottleneck.curves import (
    PLATEAU,
    Curves,
    Levels,
    Readings,
    by_layer,
    curves_of,
)
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
    "direction": "erases one probe direction, whose cost says nothing of whether the variable is "
    "used (arXiv:2606.00926 v2)",
}


@metric(
    name="bottleneck",
    version=2,
    family="bottleneck",
    caption="what the answers lose when a variable's linear subspace is erased from the residual "
    "stream, at the layer where that costs most: 1 is all that the model knows above the floor, "
    "the best score without a model; more than 1 where wrong answers become likelier than guesses; "
    "0 no more than erasing random directions.",
    needs=(Variable(),),
    part="variable",
    headline=(
        Column("{part}: cost of erasure"),
        Column("{part}: costliest at layer", at="layer", kind="layer", otherwise="it costs little"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Bottleneck(Metric):
    """Cost of erasing a variable at its bottleneck, the layer where that hurts the answers most.

    The cost is the accuracy that erasure takes beyond random subspaces, as a share of what there is
    to lose: 1 leaves what the best table over positions or the last symbols knows (the floor), more
    than 1 leaves less than that. ``cost_to_chance`` is the same loss as a share of the accuracy
    above a uniform guess, ``accuracy_lost`` the loss itself. Accuracy is token accuracy over the
    positions at which erasure is checked (:func:`mecheval.tasks.floors.first_position` on);
    last-position accuracy stands beside it.

    For either half of the test sequences the layer is the one that is best on the other half, so
    that the largest of several costs is not too large by noise. The interval resamples sequences.
    ``layer`` is the best one on all sequences, the earliest among equals, and null where the cost
    is less than ``min_cost`` or its interval holds 0: nothing is a bottleneck there. Its own
    interval (``layer_low``, ``layer_high``) takes the best layer again in each resample; where a
    single layer could be it there is none, and a note says so.

    A layer can be the bottleneck if the variable is readable there (a_l >= ``min_readability``),
    the refitted probe does not recover (E <= ``max_refit``), random subspaces keep
    ``min_random_kept`` of the accuracy, and blocks follow: after the last block only norm and head
    remain, so that erasing the answer there must hurt. The value is null, with the reason, if there
    is no such layer.

    The profile shows the cost at these layers; ``series["cost"]`` that at all. Where a variable is
    not readable, its class means differ by noise, and erasing their span removes whatever the
    activations vary by: at an embedding the token, which of course hurts.

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
        min_cost: Least cost that makes a bottleneck.
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
    min_cost: Amount = 0.05

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable."""
        n_erase = subject.cut(self.n_erase)
        return [
            Layout(name, f"cost of erasing {name} at its bottleneck", n_erase)
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
            floors = task_floors(subject.task, subject.seed)
            of_variable = floors.variables[name].balanced(data.classes)
            readings = Readings(
                scores.accuracy_L, max(counting(of_variable).values()), 1 / len(data.classes)
            )
            levels = Levels(floors.answer.best, subject.task.chance)
            rng = subject.stream("bootstrap", "bottleneck", name)
            curves = curves_of(sweep, outcomes[name], readings, levels, rng)
            results.append(_result(self, layouts[name], sweep, curves))
        return results


def _result(metric: Bottleneck, layout: Layout, sweep: Sweep, curves: Curves) -> MetricResult:
    note = ERASER_NOTES.get(metric.eraser)
    clean_B, levels = curves.answers.clean_B, curves.levels
    fields: dict[str, Any] = {"scalars": {"layer": None}, "warnings": [note] if note else []}
    objection = curves.validity.objection(curves.refit_L)
    if np.isnan(curves.cost_L).any() or np.isnan(curves.cost_RL).any():
        estimate = Estimate(None, reason="the accuracy without erasure is not above the floor")
    elif objection:
        estimate = Estimate(None, reason=objection)
    else:
        estimate = _at_bottleneck(curves, metric.min_cost, fields)
    fields["scalars"] |= {
        "clean_accuracy": clean_B.mean(),
        "clean_last_accuracy": sweep.runs.clean.last.mean(),
        "floor": levels.floor,
        "chance": levels.chance,
        "best_probe_layer": curves.readings.accuracy_L.argmax(),
    }
    return metric.result(
        layout,
        estimate,
        len(clean_B),
        references={"random": 0.0},
        profile=by_layer(curves),
        config={"first_position": first_position(sweep.subject.length)},
        **fields,
    )


def _at_bottleneck(curves: Curves, min_cost: float, fields: dict[str, Any]) -> Estimate:
    """Return the cost where it is largest, chosen on other sequences.

    Args:
        curves: All layers, some of which can be the bottleneck.
        min_cost: Least cost that makes one.
        fields: Gets the numbers and notes beside the value.
    """
    valid, answers, levels = np.flatnonzero(curves.validity.valid_L), curves.answers, curves.levels
    best_B = resampling.largest_elsewhere(
        lambda weight_RB: cost(answers, weight_RB, levels.floor)[:, valid], len(answers.clean_B)
    )
    held_out, once_1B = answers.at(valid[best_B]), np.ones((1, len(answers.clean_B)))
    interval = stats.percentile_interval(
        cost(held_out, curves.weight_RB, levels.floor)[:, 0], unit="sequence"
    )
    value = float(cost(held_out, once_1B, levels.floor)[0, 0])
    room_B = answers.clean_B - levels.floor
    fields["units"] = resampling.contributions(held_out.lost_B(), room_B)
    fields["scalars"] |= {
        "cost_to_chance": cost(held_out, once_1B, levels.chance)[0, 0],
        "accuracy_lost": held_out.lost(once_1B)[0, 0],
        "eligible_layers": len(valid),
    }
    if interval.low <= 0 or value < min_cost:
        fields["warnings"].append(
            "no layer is a bottleneck: erasing costs hardly more than random subspaces of the same "
            "dimension"
        )
        return Estimate(value, interval)
    fields["scalars"] |= _of_layer(curves, valid)
    fields["warnings"] += _notes(valid, valid[np.unique(best_B)])
    return Estimate(value, interval)


def _of_layer(curves: Curves, valid: np.ndarray) -> dict[str, Any]:
    """Return the bottleneck layer with its interval, and the numbers about it."""
    layer = int(valid[curves.cost_L[valid].argmax()])
    best_probe = int(curves.readings.accuracy_L.argmax())
    last = len(curves.outcomes) - 1
    at_least = PLATEAU * curves.cost_L[layer]
    plateau = np.flatnonzero(layer_curves.plateau(curves.valid_cost_L, at_least))
    found = {
        "layer": layer,
        "depth": layer / last,
        "gap_to_best_probe": (layer - best_probe) / last,
        "plateau_first": plateau[0],
        "plateau_last": plateau[-1],
        "plateau_width": len(plateau) / last,
        "refit_recovery": curves.refit_L[layer],
        "correlation_with_probe": _correlation(curves, valid),
        **layer_curves.concentration(curves.valid_cost_L[:-1]),
    }
    if len(valid) > 1:
        ends = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
        layer_R = valid[curves.cost_RL[:, valid].argmax(1)]
        low, high = np.quantile(layer_R, ends, method="inverted_cdf")
        found |= {"layer_low": low, "layer_high": high}
    return found


def _notes(valid: np.ndarray, chosen: np.ndarray) -> list[str]:
    """Say what the layer is worth: the only one that could be, or hardly better than another."""
    if len(valid) == 1:
        return [
            f"layer {valid[0]} is the only layer that could be the bottleneck, so that it has no "
            "interval: what the metric found is its cost"
        ]
    if len(chosen) > 1:
        tied = " and ".join(map(str, chosen))
        return [
            f"layers {tied} cannot be told apart: the halves of the sequences differ in which of "
            "them costs most"
        ]
    return []


def _correlation(curves: Curves, valid: np.ndarray) -> float | None:
    probe_V, cost_V = curves.readings.accuracy_L[valid], curves.cost_L[valid]
    if len(valid) < 3 or probe_V.std() == 0 or cost_V.std() == 0:
        return None
    return float(np.corrcoef(probe_V, cost_V)[0, 1])
