"""Interchange: which component, layer and role holds what the answer depends on.

The metric of Arora et al. 2025 (arXiv:2505.15105) with what its weak points ask for: all cells use
the same pairs, both directions are measured, every cell has an interval, cells that are
known in any model are marked. What sufficiency and necessity are stands in
:mod:`mecheval.metrics.intervention.attributions`.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.intervention.attributions import (
    DIRECTIONS,
    MIN_PAIRS,
    ROLES,
    attribution_profile,
    first_named,
    largest_error,
    restored,
)
from mecheval.metrics.needs import Counterfactual
from mecheval.metrics.parameters import Amount, Components, Count, Share
from mecheval.metrics.results import Estimate, Layout

if TYPE_CHECKING:
    from mecheval.metrics.intervention.attributions import Restored
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

ALWAYS = ("block_in", "block_out")
"""Components that the value is made of; they are measured whatever is asked for."""

_EXACT = 1e-3  # largest deviation from an attribution that is known by construction


@metric(
    name="interchange",
    version=1,
    family="intervention",
    needs=(Counterfactual("key", "value"),),
    headline=(Column("brought back at the value, {part} exchanged"),),
)
@dataclass(frozen=True, kw_only=True)
class Interchange(Metric):
    """Share of the answer that one component, layer and role brings back or takes away.

    The readout is the probability of the clean answer. ``profile`` holds sufficiency: the share of
    the gap between clean and corrupted run that one clean activation brings back in the corrupted
    run, ``(mean p_r - mean p~) / (mean p0 - mean p~)``. ``profiles["necessity"]`` holds the share
    that one corrupted activation takes away from the clean run. 1 is all, 0 nothing; neither is
    clipped, and cells need not add up to 1. All are ratios of means over the same pairs.

    Roles: the task's key, value and next key; ``value+1`` and ``value+2``, what stands behind the
    value; divider; query. A position that has several of them in a pair counts as the first. Where
    a pair has no such role, or nothing but divider and queries behind the value, it is left out of
    that role's cells above and below the line.

    The value is the sufficiency of block_in at the value, in the layer that retrieves (the first
    whose block_out at the query brings back ``threshold``), or in layer 1 if that is layer 0: it
    says how much of the association stands at the value before it is fetched. Null where there is
    no layer 1, as what layer 0 reads is known in any model. The scalars ``at_key`` and
    ``at_query`` are of the same layer.

    Cells that are known by construction are marked ``trivial``; how far any of them is from what it
    must be is ``trivial_error``.

    Null without a gap of ``min_gap`` in probability.

    Attributes:
        n_pairs: Pairs per exchanged role.
        components: Which activations are exchanged, one at a time.
        threshold: Share of the gap that is enough.
        min_gap: Least difference in the answer's probability between the two runs.
    """

    n_pairs: Count = 128
    components: Components = ("block_in", "conv_out", "mixer_out", "block_out")
    threshold: Share = 0.5
    min_gap: Amount = 0.1

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per token that has a role of its own and can be exchanged."""
        first, n_pairs = subject.pairs(1, subject.length), subject.cut(self.n_pairs)
        return [
            Layout(kind, f"block_in at the value, {kind} exchanged", n_pairs)
            for kind in subject.task.counterfactuals
            if kind in first.clean.roles
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange activations at all roles in both directions."""
        results = []
        for layout in self.outline(subject):
            pairs = subject.pairs(self.n_pairs, subject.length, kind=layout.part)
            results.append(_measured(self, subject, layout, pairs))
        return results


def _measured(metric: Interchange, subject: Subject, layout: Layout, pairs: Pairs) -> MetricResult:
    kind = layout.part
    found = restored(subject, pairs, (), kind=kind)
    fields: dict[str, Any] = {
        "references": {"clean": found.clean_P.mean(), "corrupted": found.corrupted_P.mean()},
        "scalars": {"gap": found.gap},
    }
    if reason := found.no_gap(metric.min_gap):
        return metric.result(layout, Estimate(None, reason=reason), 0, **fields)
    names = list(dict.fromkeys([*metric.components, *ALWAYS]))
    found = restored(subject, pairs, names, kind=kind)
    weight_RP = resampling.weights(len(pairs), subject.stream("bootstrap", metric.id_of(layout)))
    shown = found.only(first_named(found.position_GP))
    fields["profile"], necessity = (
        attribution_profile(shown, names, weight_RP, direction) for direction in DIRECTIONS
    )
    fields["profiles"] = {"necessity": necessity}
    estimate, scalars = _headline(shown, weight_RP, metric.threshold)
    error = max(largest_error(shown, *cell) for cell in product(names, DIRECTIONS))
    fields["scalars"] |= {**scalars, "trivial_error": error}
    if error > _EXACT:
        fields["warnings"] = [
            f"a probability that is known by construction is off by {error:.2g}: the sites of "
            "this model do not mean what they should"
        ]
    return metric.result(layout, estimate, len(pairs), **fields)


def _headline(
    shown: Restored, weight_RP: np.ndarray, threshold: float
) -> tuple[Estimate, dict[str, Any]]:
    """Return the sufficiency of block_in at the value, and what stands beside it."""
    plain_1P = np.ones((1, len(shown.pairs)))
    key, value, query = (ROLES.index(role) for role in ("key", "value", "query"))
    block_out_LG = shown.attribution(plain_1P, "block_out", "denoising")[0]
    retrieving = int((block_out_LG[:, query] >= threshold).argmax())
    scalars = {"retrieving_layer": retrieving}
    if shown.n_layers == 1:
        reason = "one layer: what it reads is known by construction"
        return Estimate(None, reason=reason), scalars
    layer = max(retrieving, 1)
    block_in_G = shown.attribution(plain_1P, "block_in", "denoising")[0, layer]
    needed_G = shown.attribution(plain_1P, "block_in", "noising")[0, layer]
    drawn_R = shown.attribution(weight_RP, "block_in", "denoising")[:, layer, value]
    scalars |= {
        "layer": layer,
        "at_key": block_in_G[key],
        "at_query": block_in_G[query],
        "necessity": needed_G[value],
    }
    if np.isnan(block_in_G[value]):
        return Estimate(None, reason=f"fewer than {MIN_PAIRS} pairs have a value"), scalars
    interval = stats.percentile_interval(drawn_R, unit="pair")
    return Estimate(float(block_in_G[value]), interval), scalars
