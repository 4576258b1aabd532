"""Intervention recovery: which single activations carry the difference to the answer.

The corrupted run gets one activation of the clean run; recovery is the share of the gap between
the clean and the corrupted readout that comes back (formal_languages 5.2: Rec). A recovery
by construction is marked, and never becomes the value; see
:func:`mecheval.metrics.intervention.patching.by_construction`.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions, ``R`` resamples, ``G`` roles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval import stats
from mecheval.errors import UsageError
from mecheval.interventions import attribution_grid, recovery_grid
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.intervention.recovered import (
    ROLES,
    grid_profile,
    handover,
    means,
    median,
    recovered,
    trivial_error,
)
from mecheval.metrics.parameters import Amount, Components, Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from mecheval.metrics.intervention.recovered import Grid, Recovered
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

MIN_PAIRS = 8
_EXACT = 1e-3  # largest deviation from a recovery that is known by construction


@metric(
    name="recovery",
    version=2,
    family="intervention",
    headline=(Column("share brought back midway, {part}"),),
)
@dataclass(frozen=True, kw_only=True)
class Recovery(Metric):
    """Share of the clean-corrupted gap that one patched activation brings back, per component.

    The value is the recovery at the middle position, halfway between the changed token and the
    readout and strictly between them, averaged over pairs, at the layer where that mean is
    largest among layers where it is not trivial. The middle is a position of its own in every
    pair, because the change lies early in one task and late in another. It says how much of the
    difference is handed on through single middle positions: 0 where the model
    reads the changed token directly from the readout, or carries the state inside a mixer.
    A maximum over layers is biased upwards; the interval resamples pairs and takes the maximum
    again in each resample, and the profile shows every layer.

    With ``direction=noising`` corrupted activations are put into the clean run, and the value is
    the share of the gap that is lost: what is needed, where denoising says what is enough. With
    ``frozen`` the memory of later layers stays that of the unpatched run. ``method=attribution`` is
    for screening alone: it guesses the grid from gradients, and says how far it can be trusted.

    Pairs whose readouts differ by less than ``min_gap`` are dropped and counted. The profile runs
    over layers and roles; ``profiles["grid"]`` over layers and absolute positions.

    At the residual stream and at what a mixer adds to it, networks that write a token into memory
    at another position have the same values: ``planted/mamba-recall`` and its off-by-one twin. The
    component ``write`` tells them apart, and so does the metric ``write_offset``.

    Attributes:
        n_pairs: Pairs of a clean and a corrupted sequence.
        components: Which activations are patched, one at a time.
        readout: What is compared at the readout: the difference of two logits, or the
            log-probability of the clean answer.
        direction: Clean activations into the corrupted run, or corrupted ones into the clean run.
        frozen: Whether the memory of later layers stays that of the unpatched run.
        method: Exact patched runs, or a guess from gradients.
        min_gap: Least difference of the two runs' readouts of a pair that counts.
    """

    n_pairs: Count = 64
    components: Components = ("block_in", "mixer_out")
    readout: Literal["logit_difference", "log_prob"] = "logit_difference"
    direction: Literal["denoising", "noising"] = "denoising"
    frozen: bool = False
    method: Literal["exact", "attribution"] = "exact"
    min_gap: Amount = 1.0

    def __post_init__(self) -> None:
        """Check that the method can do what is asked.

        Raises:
            UsageError: Attribution was asked for together with what it cannot do.
        """
        super().__post_init__()
        if self.method == "attribution" and (self.frozen or self.direction != "denoising"):
            raise UsageError(
                "method=attribution guesses denoising with all memory free. Leave direction and "
                "frozen at their defaults, or use method=exact."
            )

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per component."""
        n_pairs = subject.cut(self.n_pairs)
        return [
            Layout(name, f"recovery at the middle position, {name}", n_pairs)
            for name in self.components
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Compute the grid, and lay it out by component."""
        pairs = subject.pairs(self.n_pairs, subject.length)
        grid, how = _grid(self, subject, pairs)
        kept_P = np.abs(grid.clean - grid.corrupted) >= self.min_gap
        results = []
        for layout in self.outline(subject):
            part = recovered(grid, pairs, kept_P, layout.part, self.direction)
            rng = subject.stream("bootstrap", "recovery", layout.part)
            results.append(_result(self, layout, part, rng, how))
        return results


def _grid(metric: Recovery, subject: Subject, pairs: Pairs) -> tuple[Grid, dict[str, Any]]:
    """Return the grid, and what the report says about how it was made."""
    runs = (pairs.clean.tokens_BT, pairs.corrupted.tokens_BT)
    ends = (pairs.answers_P, pairs.foils_P, pairs.readout_P)
    what = {"components": metric.components, "readout": metric.readout}
    if metric.method == "exact":
        grid = recovery_grid(
            subject.model, *runs, *ends, **what, direction=metric.direction,
            frozen=metric.frozen, batch_size=subject.batch_size,
            partial=subject.scratch and subject.scratch / "recovery.npz",
        )  # fmt: skip
        return grid, {"config": {"engine": grid.execution.engine}, "warnings": []}
    guess = attribution_grid(subject.model, *runs, *ends, **what)
    return guess, {"config": {"engine": "gradients"}, "warnings": [str(guess)]}


def _result(
    metric: Recovery,
    layout: Layout,
    part: Recovered,
    rng: np.random.Generator,
    how: dict[str, Any],
) -> MetricResult:
    n_scored = int(part.has_middle_P.sum())
    fields: dict[str, Any] = {
        "references": {
            "clean": part.clean_P.mean() if len(part.clean_P) else None,
            "corrupted": part.corrupted_P.mean() if len(part.clean_P) else None,
        },
        "scalars": {
            "pairs_without_gap": part.n_dropped,
            "pairs_without_middle": len(part.clean_P) - n_scored,
        },
        "config": {"middle": "(changed + readout) // 2, strictly between them", **how["config"]},
    }
    if len(part.clean_P) < MIN_PAIRS:
        gap = metric.min_gap
        reason = (
            f"no gap: {len(part.clean_P)} of {layout.n_expected} pairs have readouts that differ "
            f"by at least {gap:g}, and {MIN_PAIRS} are needed"
        )
        if part.n_not_finite:
            reason = f"the logits of {part.n_not_finite} pairs are not finite, and " + reason
        return metric.result(layout, Estimate(None, reason=reason), n_scored, **fields)
    at_roles_LGP = part.at_roles(part.recovery_LTP)
    trivial_LG = np.asarray((part.at_roles(part.trivial_LTP) != 0).all(-1))
    weight_RP = resampling.weights(len(part.clean_P), rng)
    means_RLG = means(weight_RP, at_roles_LGP)
    means_LG = means(np.ones((1, len(part.clean_P))), at_roles_LGP)[0]
    estimate, chosen = _headline(means_LG, means_RLG, trivial_LG, n_scored)
    fields["scalars"].update(chosen, **handover(means_LG))
    fields["scalars"]["trivial_error"] = trivial_error(part)
    fields["warnings"] = [*how["warnings"], *_warnings(fields["scalars"])]
    n_layers = len(means_LG)
    fields["profile"] = profile(
        {"layer": range(n_layers), "role": ROLES},
        means_LG,
        resampling.bounds(means_RLG),
        marks={"trivial": trivial_LG},
        series={"median": median(at_roles_LGP)},
    )
    fields["profiles"] = {"grid": grid_profile(part)}
    return metric.result(layout, estimate, n_scored, **fields)


def _headline(
    means_LG: np.ndarray, means_RLG: np.ndarray, trivial_LG: np.ndarray, n_scored: int
) -> tuple[Estimate, dict[str, Any]]:
    if n_scored < MIN_PAIRS:
        reason = (
            f"no middle: {n_scored} pairs have a position between the changed one and the readout, "
            f"and {MIN_PAIRS} are needed"
        )
        return Estimate(None, reason=reason), {}
    if np.isnan(means_LG).all():
        return Estimate(None, reason="the model has no such component"), {}
    layers = np.flatnonzero(~trivial_LG[:, 1] & ~np.isnan(means_LG[:, 1]))
    if not len(layers):
        reason = "no layer whose recovery at the middle position is not trivial"
        return Estimate(None, reason=reason), {}
    best_R = means_RLG[:, layers, 1].max(1)
    layer = layers[means_LG[layers, 1].argmax()]
    interval = stats.percentile_interval(best_R, unit="pair")
    return Estimate(float(means_LG[layer, 1]), interval), {"layer": layer}


def _warnings(scalars: dict[str, Any]) -> list[str]:
    notes = []
    if (scalars["trivial_error"] or 0.0) > _EXACT:
        notes.append(
            f"a recovery that is 0 or 1 by construction is off by {scalars['trivial_error']:.2g}: "
            "the sites of this model do not mean what they should"
        )
    if scalars["pairs_without_gap"]:
        notes.append(f"{scalars['pairs_without_gap']} pairs were dropped for want of a gap")
    return notes
