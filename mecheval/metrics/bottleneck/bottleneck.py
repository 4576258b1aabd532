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
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.erasure_sweep import Outcome, Sweep, prepare_sweep
from mecheval.metrics.bottleneck.necessity import Answers, Validity, necessity, refit_recovery
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS
from mecheval.metrics.probe.probe_scores import probe_scores
from mecheval.metrics.results import Estimate, Layout, not_learned, profile, result
from mecheval.tasks.floors import counting, first_position, task_floors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricIdentity, MetricResult, Profile

PLATEAU = 0.8
"""Layers with at least this share of the largest necessity are on its plateau."""

ERASER_NOTES = {
    "row_space": "erases the row space of one probe: a refitted probe usually recovers",
    "direction": "erases one probe direction, which is no test of necessity (arXiv:2606.00926 v2)",
}


def measure_bottleneck(identity: MetricIdentity, subject: Subject) -> list[MetricResult]:
    """Measure the bottleneck layer of every variable, one result per variable.

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
    """
    names = subject.chosen(identity.params["variables"])
    n_test = subject.cut(identity.params["n_erase"])
    layouts = {
        name: Layout(f"bottleneck/{name}", f"depth of the bottleneck of {name}", n_test, (0.0, 1.0))
        for name in names
    }
    if subject.learned is False:
        return not_learned(identity, subject, list(layouts.values()))
    probed = {name: probe_scores(subject, name, identity.params) for name in names}
    usable = {name: data for name, (data, scores) in probed.items() if scores is not None}
    sweep = prepare_sweep(subject, identity.params)
    outcomes = sweep.outcomes(usable)
    results = []
    for name, (data, scores) in probed.items():
        if scores is None:
            reason = f"fewer than two values of {name} have {MIN_PER_CLASS} training examples"
            results.append(result(identity, layouts[name], Estimate(None, reason=reason), 0))
            continue
        floors = task_floors(subject.task, subject.seed).variables[name].balanced(data.classes)
        readings = _Readings(
            scores.accuracy_L,
            max(counting(floors).values()),
            1 / len(data.classes),
        )
        rng = subject.stream("bootstrap", "bottleneck", name)
        curves = _curves(sweep, outcomes[name], readings, rng)
        results.append(_result(identity, layouts[name], sweep, curves))
    return results


@dataclass(frozen=True)
class _Readings:
    """What probes read before erasure: their accuracy, its floor, and chance."""

    accuracy_L: np.ndarray
    floor: float
    chance: float


@dataclass(frozen=True)
class _Curves:
    """Everything about one variable by layer."""

    outcomes: Sequence[Outcome]
    readings: _Readings
    clean_B: np.ndarray
    refit_L: np.ndarray
    random_JL: np.ndarray
    necessity_L: np.ndarray
    necessity_RL: np.ndarray
    validity: Validity

    @property
    def valid_necessity_L(self) -> np.ndarray:
        return np.where(self.validity.valid_L, self.necessity_L, np.nan)


def _curves(
    sweep: Sweep, outcomes: list[Outcome], readings: _Readings, rng: np.random.Generator
) -> _Curves:
    params = sweep.params
    clean_B = sweep.runs.clean.token
    random_LJB = np.stack([outcome.random_JB for outcome in outcomes])
    answers = Answers(
        clean_B, np.stack([outcome.right.token for outcome in outcomes]), _mean(random_LJB, axis=1)
    )
    chance = sweep.subject.task.chance
    weight_RB = resampling.weights(len(clean_B), rng)
    # Each subspace saw a share of the sequences: its cost there, off the accuracy on all of them.
    random_LJ = clean_B.mean() - _mean(clean_B - random_LJB, axis=2)
    refit_accuracy_L = np.array([outcome.refit_accuracy for outcome in outcomes])
    refit_L = refit_recovery(refit_accuracy_L, readings.accuracy_L, readings.chance)
    above_floor_L = layer_curves.corrected(readings.accuracy_L, readings.floor)
    validity = Validity(
        above_floor_L >= params["min_readability"],
        np.nan_to_num(refit_L, nan=np.inf) <= params["max_refit"],
        random_LJ.mean(1) >= params["min_random_kept"] * clean_B.mean(),
        np.arange(len(outcomes)) == len(outcomes) - 1,
    )
    return _Curves(
        outcomes,
        readings,
        clean_B,
        refit_L,
        random_LJ.T,
        necessity(answers, np.ones((1, len(clean_B))), chance)[0],
        necessity(answers, weight_RB, chance),
        validity,
    )


def _result(
    identity: MetricIdentity, layout: Layout, sweep: Sweep, curves: _Curves
) -> MetricResult:
    estimate, scalars = _headline(curves, identity.params["min_necessity"])
    note = ERASER_NOTES.get(identity.params["eraser"])
    return result(
        identity,
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
        profile=_by_layer(curves),
        config={"first_position": first_position(sweep.subject.length)},
        warnings=[note] if note else [],
    )


def _depth(layer: int, curves: _Curves) -> float:
    return layer / (len(curves.outcomes) - 1)


def _headline(curves: _Curves, min_necessity: float) -> tuple[Estimate, dict[str, Any]]:
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


def _correlation(curves: _Curves, valid: np.ndarray) -> float | None:
    probe, cost = curves.readings.accuracy_L[valid], curves.necessity_L[valid]
    if len(valid) < 3 or probe.std() == 0 or cost.std() == 0:
        return None
    return float(np.corrcoef(probe, cost)[0, 1])


def _by_layer(curves: _Curves) -> Profile:
    outcomes, validity = curves.outcomes, curves.validity
    low_L, high_L = resampling.bounds(curves.necessity_RL)
    random_low_L, random_high_L = np.quantile(curves.random_JL, [0.025, 0.975], axis=0)
    largest = np.nanmax(curves.valid_necessity_L) if validity.valid_L.any() else np.inf
    return profile(
        {"layer": range(len(outcomes))},
        curves.valid_necessity_L,
        (np.where(validity.valid_L, low_L, np.nan), np.where(validity.valid_L, high_L, np.nan)),
        marks={
            "valid": validity.valid_L,
            "readable": validity.readable_L,
            "removed": validity.removed_L,
            "random_kept": validity.kept_L,
            "trivial": validity.trivial_L,
            "plateau": layer_curves.plateau(curves.valid_necessity_L, PLATEAU * largest),
        },
        series={
            "necessity": curves.necessity_L,
            "accuracy": np.array([outcome.right.token.mean() for outcome in outcomes]),
            "last_accuracy": np.array([outcome.right.last.mean() for outcome in outcomes]),
            "random": curves.random_JL.mean(0),
            "random_low": random_low_L,
            "random_high": random_high_L,
            "top_components": np.array([outcome.top_components for outcome in outcomes]),
            "probe": curves.readings.accuracy_L,
            "refit": np.array([outcome.refit_accuracy for outcome in outcomes]),
            "refit_recovery": curves.refit_L,
            "rank": np.array([outcome.rank for outcome in outcomes]),
        },
    )


def _mean(values: np.ndarray, *, axis: int) -> np.ndarray:
    """Return means over the cells that are not NaN; NaN where there is none."""
    count = (~np.isnan(values)).sum(axis)
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis) / np.where(count == 0, np.nan, count)
