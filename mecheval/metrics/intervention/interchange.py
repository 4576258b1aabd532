"""Interchange: which component, layer and role holds what the answer depends on.

The metric of Arora et al. 2025 (arXiv:2505.15105) with what its weak points ask for: all cells use
the same pairs, both directions are measured, every cell has an interval, cells that are
known in any model are marked. What sufficiency and necessity are stands in
:mod:`mecheval.metrics.intervention.shares`.

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
from mecheval.metrics.enough import Enough
from mecheval.metrics.intervention import grid_checks
from mecheval.metrics.intervention.patching import NOWHERE
from mecheval.metrics.intervention.roles import ROLES, first_named
from mecheval.metrics.intervention.shares import (
    DIRECTIONS,
    MIN_PAIRS,
    largest_error,
    restored,
    share_profile,
)
from mecheval.metrics.needs import Counterfactual
from mecheval.metrics.parameters import Amount, Components, Count, Share
from mecheval.metrics.results import Estimate, Layout

if TYPE_CHECKING:
    from mecheval.metrics.intervention.shares import Restored
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

ALWAYS = ("block_in",)
"""What the value is made of; it is measured whatever is asked for."""

_EXACT = 1e-3  # largest deviation from a share that is known by construction


@metric(
    name="interchange",
    version=2,
    reference="Arora et al. 2025, arXiv:2505.15105",
    family="intervention",
    caption="a key or a value is exchanged for another, so that another answer is right; then the "
    "residual stream at the value alone is put back as it was, before the layer that retrieves "
    "(before layer 1 where layer 0 does). The share of the answer's probability that this brings "
    "back is 1 if the association stands there, 0 if it does not.",
    needs=(Counterfactual("key", "value"), Enough(MIN_PAIRS)),
    part="role",
    headline=(
        Column("{part}: brought back at the value"),
        Column("{part}: before layer", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Interchange(Metric):
    """Share of the answer that one component, layer and role brings back or takes away.

    A key or a value is exchanged for another one, so that another answer is right, and then single
    clean activations are put back. The share brought back, or sufficiency, is the part of the gap
    in the answer's probability between clean and corrupted run that one of them restores,
    ``(mean p_r - mean p~) / (mean p0 - mean p~)``; it stands in ``profile``. Necessity, the part
    that one corrupted activation takes away from the clean run, stands in
    ``profiles["necessity"]``. 1 is all, 0 nothing; neither is clipped, and cells need not add up to
    1. All are ratios of means over the same pairs.

    Roles: the task's key, value and next key; ``value+1`` and ``value+2``, what stands behind the
    value; divider; query. A position that has several of them in a pair counts as the first. A key
    of several tokens is put back whole, and has nothing in particular behind its value. Where
    a pair has no such role, or nothing but divider and queries behind the value, it is left out of
    that role's cells above and below the line.

    The value is the share brought back by the stream at the value, before the layer that retrieves:
    it says how much of the association of key and value stands there before it is fetched. That
    layer is the first one behind which the stream at the query brings back ``threshold``; the last
    one if there is no other, because nothing but it is left. Before layer 0 all is known in any
    model, so that the value is taken before layer 1 where layer 0 retrieves. ``at_key``,
    ``at_query`` and ``necessity`` (at the value) are of the same ``layer``.

    Cells that are known by construction are marked ``trivial``; how far any of them is from what it
    must be is ``trivial_error``.

    ``split_half`` is the correlation, over the cells that are not known by construction, between
    the mean effects of two halves of the pairs, ``split_half_corrected`` what it would be for all
    pairs; ``distance_rank_patch`` and ``distance_rank_readout`` say how natural the runs behind the
    value are, 0.5 as any run, 1 as none: see ``mecheval show metric recovery``.

    Null without a gap of ``min_gap`` in probability; with one layer; and if fewer than 8 pairs have
    a query or a value that is nothing else before it.

    Attributes:
        n_pairs: Pairs per exchanged role.
        components: Which activations are exchanged, one at a time. What one block puts out is what
            the next one reads, and all is known of what the last one does.
        threshold: Share of the gap that is enough.
        min_gap: Least difference in the answer's probability between the two runs.
    """

    n_pairs: Count = 128
    components: Components = ("block_in", "conv_out", "mixer_out")
    threshold: Share = 0.5
    min_gap: Amount = 0.1

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per token that has a role of its own and can be exchanged."""
        first, n_pairs = subject.pairs(1, subject.length), subject.cut(self.n_pairs)
        return [
            Layout(kind, f"share brought back at the value, {kind} exchanged", n_pairs)
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
        share_profile(shown, names, weight_RP, direction) for direction in DIRECTIONS
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
    grid_checks.add(fields, grid_checks.agreement(grid_checks.open_effects(shown, names)))
    if estimate.value is not None:
        value_P = shown.position_GP[ROLES.index("value")]
        patched = grid_checks.Patched(pairs, value_P, value_P != NOWHERE)
        grid_checks.add(fields, grid_checks.ranks(subject, patched, *ALWAYS, [scalars["layer"]]))
    return metric.result(layout, estimate, len(pairs), **fields)


def _headline(
    shown: Restored, weight_RP: np.ndarray, threshold: float
) -> tuple[Estimate, dict[str, Any]]:
    """Return the share that the stream at the value brings back, and what stands beside it."""
    if shown.n_layers == 1:
        return Estimate(None, reason="one layer: what it reads is known by construction"), {}
    plain_1P = np.ones((1, len(shown.pairs)))
    key, value, query = (ROLES.index(role) for role in ("key", "value", "query"))
    block_in_LG, needed_LG = (
        shown.share(plain_1P, "block_in", direction)[0] for direction in DIRECTIONS
    )
    retrieving = retrieving_layer(block_in_LG[:, query], threshold)
    if retrieving is None:
        reason = f"no layer that retrieves: fewer than {MIN_PAIRS} pairs have a query of its own"
        return Estimate(None, reason=reason), {}
    layer = max(retrieving, 1)
    scalars = {
        "retrieving_layer": retrieving,
        "layer": layer,
        "at_key": block_in_LG[layer, key],
        "at_query": block_in_LG[layer, query],
        "necessity": needed_LG[layer, value],
    }
    if np.isnan(block_in_LG[layer, value]):
        reason = f"fewer than {MIN_PAIRS} pairs have a value of its own"
        return Estimate(None, reason=reason), scalars
    drawn_R = shown.share(weight_RP, "block_in", "denoising")[:, layer, value]
    interval = stats.percentile_interval(drawn_R, unit="pair")
    return Estimate(float(block_in_LG[layer, value]), interval), scalars


def retrieving_layer(query_L: np.ndarray, threshold: float) -> int | None:
    """Return the first layer behind which the stream at the query is enough.

    Args:
        query_L: Share that the stream at the query brings back before every layer.
        threshold: What is enough.

    Returns:
        The last layer if none is: nothing is left to retrieve. None where nothing is known.
    """
    behind_L = query_L[1:]
    if np.isnan(behind_L).all():
        return None
    enough_L = np.nan_to_num(behind_L) >= threshold
    return int(enough_L.argmax()) if enough_L.any() else len(behind_L)
