"""Short convolutions: what a model's answers owe to each tap.

    share(l) = (accuracy - accuracy without the lagged taps of layer l) / (accuracy - floor)

with lagged taps those that look at earlier positions (lag 1 and more); what is left in their place
stands in :mod:`mecheval.metrics.circuit.tap_ablation`. Mamba was seen to bind a key
to its value in the short convolution of its first layer, and to recall nothing without one (Arora
et al. 2025, arXiv:2505.15105); which lag carries which token is asked as in Wang et al. 2025
(arXiv:2410.06672), with one lag at a time.

Shape suffixes: ``B`` sequences, ``L`` layers, ``C`` lags, ``O`` offsets, ``P`` pairs, ``R``
resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.circuit.beyond_window import BEYOND, beyond_window
from mecheval.metrics.circuit.gap import gap_of
from mecheval.metrics.circuit.tap_ablation import Ablation
from mecheval.metrics.circuit.tap_scores import Shares, ablated
from mecheval.metrics.circuit.tap_shares import SIGNIFICANT, lagged_profile, largest
from mecheval.metrics.circuit.taps import tap_effects
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import Association, ShortConvolution
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.models.short_convolutions import short_convolutions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mecheval.metrics.circuit.tap_scores import Ablated
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile

NOTHING = "hardly anything is lost"


@metric(
    name="convolution",
    version=2,
    reference="Arora et al. 2025, arXiv:2505.15105; Wang et al. 2025, arXiv:2410.06672",
    family="intervention",
    caption="what the answers lose when the earlier taps of a layer's short convolution tell of "
    "other sequences, at the layer where that is most: 1 is all accuracy above the floor, 0 none. "
    "Beyond a window: of the accuracy above chance, what is lost less what a table over the last "
    "symbols knows; negative where the model has from elsewhere what such a table tells.",
    needs=(ShortConvolution(),),
    headline=(
        Column("share of the accuracy lost without earlier taps", of=""),
        Column("accuracy left", of="", at="accuracy_without", bounds=(0.0, 1.0), otherwise=NOTHING),
        Column("in layer", of="", at="layer", kind="layer", otherwise=NOTHING),
        Column("share lost beyond what a window of symbols tells", of=BEYOND),
        Column(
            "beyond it in layer", of=BEYOND, at="layer", kind="layer", otherwise="no more is lost"
        ),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Convolution(Metric):
    """What the answers owe to each tap of the short convolutions, by layer and lag.

    The value is the conv share of the layer where it is largest: of the accuracy above the task's
    best floor, the part that is lost when what all lagged taps of the layer contribute is replaced
    by what they contribute to other sequences. For either half of the sequences the layer is the
    best one of the other half, so that the largest of several is not too large by noise; beside it
    stand the accuracy that is left and the layer, null where hardly anything is lost. The share is
    not clipped: a model that falls below the floor has lost more than 1. The interval resamples
    sequences; ``profiles["share"]`` shows every layer.

    The profile shows, for every layer and lag, the accuracy without that tap alone; its series the
    probability of the answer among all answers, and the share that is lost. Weights are put back
    exactly.

    Where a task asks for a state, not for what stands behind a token, a second result,
    ``convolution/beyond_window``, takes off what a window of the last symbols tells, and is a share
    of the accuracy above chance (:mod:`mecheval.metrics.circuit.beyond_window`); ``com``, ``cmax``
    and ``ch`` say over which blocks the conv shares are spread.

    ``profiles["key"]`` and ``profiles["value"]`` say which lag carries which token: the share of
    the clean-corrupted gap that is lost when one tap at one position behind the exchanged token
    sees the corrupted run (:func:`mecheval.metrics.circuit.taps.tap_effects`). At the value (offset
    1 of the key) and at the next key (offset 2) such a lag does what a previous-token head does.

    A model that was trained with its convolution may break without it and still not need one: train
    it without (``mamba[d_conv=0]``), which is a matter of the model's arguments. Null for models
    without short convolutions and where the accuracy is within 3 standard errors of the floor.

    Attributes:
        n: Test sequences that are answered without taps.
        n_pairs: Pairs per exchanged token, for what lags carry.
        max_offset: The largest offset behind the exchanged token.
        ablation: What stays of taps that are taken away, at every position: their mean
            contribution over other test sequences, that to one of these, or zero.
    """

    n: Count = 128
    n_pairs: Count = 64
    max_offset: Count = 3
    ablation: Ablation = "mean"

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the conv share; where the task asks for a state, also beyond windows."""
        title, n = "conv share of the layer where it is largest", subject.cut(self.n)
        whole = Layout("", title, n)
        if Association().of_task(subject.task, self) is None:
            return [whole]
        return [whole, Layout(BEYOND, f"{title}, less what a window tells", n)]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Answer the test without taps, and follow single lags."""
        weights = short_convolutions(subject.model)
        batch = subject.test(subject.length, self.n)
        layout, *beyond = self.outline(subject)
        firsts = [0] + [subject.floors.first] * len(beyond)
        measured = ablated(subject, batch, weights, self.ablation, firsts=firsts)
        results = [_result(self, layout, subject, measured[0], weights)]
        return results + [beyond_window(self, at, subject, measured[1]) for at in beyond]


def _result(
    metric: Convolution,
    layout: Layout,
    subject: Subject,
    measured: Ablated,
    weights: Mapping[int, Tensor],
) -> MetricResult:
    n_scored, n_layers = len(measured.whole.right_B), subject.model.n_layers
    shares = Shares(measured, subject.floors.answer.best)
    once_1B = np.ones((1, n_scored))
    weight_RB = resampling.weights(n_scored, subject.stream("bootstrap", "convolution"))
    share_L = shares.lagged(once_1B, n_layers)[0]
    whole, floor = measured.whole.accuracy, shares.floor
    profiles, warnings = _carried(metric, subject, weights)
    profiles["share"] = lagged_profile(shares, weight_RB, n_layers)
    if whole - floor > SIGNIFICANT * measured.whole.resampled(weight_RB).std():
        estimate, fields = largest(shares, share_L, weight_RB)
    else:
        reason = f"no gap: the accuracy {whole:.3f} is not above the floor {floor:.3f}"
        estimate, fields = Estimate(None, reason=reason), {"scalars": {"layer": None}}
    warnings += fields.pop("warnings", [])
    return metric.result(
        layout, estimate, n_scored,
        references={
            "clean": whole, "clean_probability": measured.whole.probability, "floor": floor,
            "chance": subject.task.chance,
        },
        profile=_tap_profile(shares, n_layers, once_1B),
        profiles=profiles,
        warnings=warnings,
        **fields,
    )  # fmt: skip


def _tap_profile(shares: Shares, n_layers: int, once_1B: np.ndarray) -> Profile:
    """Lay out accuracy, probability and lost share without every single tap."""
    taps_LC = shares.measured.taps_LC
    n_lags = 1 + max(lag for _, lag in taps_LC)
    accuracy_LC, probability_LC, lost_LC = (np.full((n_layers, n_lags), np.nan) for _ in range(3))
    for place, scores in taps_LC.items():
        accuracy_LC[place] = scores.accuracy
        probability_LC[place] = scores.probability
        lost_LC[place] = shares.lost(once_1B, scores)[0]
    index = {"layer": range(n_layers), "lag": range(n_lags)}
    series = {"probability": probability_LC, "lost": lost_LC}
    return profile(index, accuracy_LC, series=series)


def _carried(
    metric: Convolution, subject: Subject, weights: Mapping[int, Tensor]
) -> tuple[dict[str, Profile], list[str]]:
    """Return what every lag carries of every token that the task can exchange alone."""
    found, warnings = {}, []
    kinds = [kind for kind in ("key", "value") if kind in subject.task.counterfactuals]
    for kind in kinds or subject.task.counterfactuals[:1]:
        pairs = subject.pairs(metric.n_pairs, subject.length, kind=kind)
        gap = gap_of(subject, pairs)
        if gap.objection is not None:
            warnings.append(f"what lags carry of the {kind} is not known: {gap.objection}")
            continue
        max_offset = metric.max_offset
        patched_LOCP = tap_effects(subject, pairs, weights, max_offset=max_offset)
        n_layers, n_offsets, n_lags, _ = patched_LOCP.shape
        index = {"layer": range(n_layers), "offset": range(n_offsets), "lag": range(n_lags)}
        draws_RLOC = gap.lost(patched_LOCP, gap.weights(subject.stream("bootstrap", "taps", kind)))
        found[kind] = profile(index, gap.lost(patched_LOCP), resampling.bounds(draws_RLOC))
    return found, warnings
