"""Mechanism: a verdict on how a token is retrieved, with its evidence and how sure it is.

The rule stands in :mod:`mecheval.metrics.intervention.mechanism_rule`, what attributions are in
:mod:`mecheval.metrics.intervention.attributions`.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples, ``S`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.intervention.attributions import (
    DIRECTIONS,
    ROLES,
    attribution_profile,
    first_named,
    restored,
)
from mecheval.metrics.intervention.mechanism_rule import (
    CASES,
    PLACES,
    VERDICTS,
    Evidence,
    Judgement,
    judge,
)
from mecheval.metrics.needs import Association
from mecheval.metrics.parameters import Amount, Count, Share
from mecheval.metrics.results import Estimate, Layout

if TYPE_CHECKING:
    from mecheval.metrics.intervention.attributions import Direction, Restored
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

COMPONENTS = ("block_in", "conv_out", "block_out")
KINDS = ("value", "key")
"""Counterfactuals that a task must have: its answer first, and the token that the query repeats."""

_WITHOUT_WHY = ("mixed", "undefined")  # verdicts that do not say by themselves what was found
_DECISIVE = {
    "induction": "block_in_value",
    "direct early": "block_in_key",
    "direct late": "block_in_key",
    "convolution": "conv_out_behind",
}


@metric(
    name="mechanism",
    version=1,
    family="intervention",
    needs=(Association(),),
    headline=(
        Column("mechanism", at="verdict"),
        Column("resamples that agree"),
        Column("retrieving layer", at="retrieving_layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Mechanism(Metric):
    """How a token is retrieved, from what brings the answer back when its key was exchanged.

    Verdicts, with r the retrieving layer, the first whose output at the query brings back at least
    ``threshold`` of the gap in the answer's probability:

    - induction: the association stands at the value before layer r (r >= 1);
    - direct early, direct late: layer r reads the key where it stands; early is r = 0;
    - convolution: a short convolution carries key and value to a place behind the value;
    - mixed: several layers or places do it together, none by itself;
    - undefined: nothing does, or the evidence contradicts itself.

    The whole rule, for any number of layers, stands in
    ``mecheval/metrics/intervention/mechanism_rule.py``. The value is the share of bootstrap
    resamples of pairs in which the rule says the same, for an undefined verdict as for any other;
    ``agree_*`` is the share of each verdict. Why a verdict is mixed or undefined stands in the
    warnings. Evidence: scalars ``enough_*`` (sufficiency) and ``needed_*`` (necessity) at the
    places that decide, profiles with all places and layers.

    Verdict and value are null if the task was not learned or has no gap of ``min_gap``, and for
    tasks that do not ask for what stands behind a token.

    Attributes:
        n_pairs: Pairs whose key is exchanged.
        threshold: Share of the gap that is enough.
        min_gap: Least difference in the answer's probability between the two runs.
    """

    n_pairs: Count = 128
    threshold: Share = 0.5
    min_gap: Amount = 0.1

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "mechanism of retrieval", subject.cut(self.n_pairs), (0.0, 1.0))]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange activations at the places that the rule is about, and judge."""
        pairs = subject.pairs(self.n_pairs, subject.length, kind=KINDS[1])
        return [_result(self, subject, self.outline(subject)[0], pairs)]


def evidence_of(
    found: Restored, weight_RP: np.ndarray, direction: Direction = "denoising"
) -> Evidence:
    """Return the attributions that the rule is about.

    Args:
        found: Probabilities with one activation exchanged.
        weight_RP: How often each resample holds each pair.
        direction: ``denoising`` for sufficiency, ``noising`` for necessity.
    """
    block_in_RLG, conv_out_RLG, block_out_RLG = (
        found.attribution(weight_RP, component, direction) for component in COMPONENTS
    )
    places = [ROLES.index(place) for place in PLACES]
    return Evidence(
        block_in_RLG[..., places], conv_out_RLG[..., places], block_out_RLG[..., places[-1]]
    )


def _result(metric: Mechanism, subject: Subject, layout: Layout, pairs: Pairs) -> MetricResult:
    found = restored(subject, pairs, (), kind=KINDS[1])
    key_P, value_P = (found.position_GP[ROLES.index(role)] for role in KINDS[::-1])
    in_order_P = (key_P >= 0) & (key_P < value_P)
    found = found.take(in_order_P)
    n_scored, threshold = len(found.clean_P), metric.threshold
    fields: dict[str, Any] = {
        "references": {
            "clean": found.clean_P.mean() if n_scored else None,
            "corrupted": found.corrupted_P.mean() if n_scored else None,
        },
        "scalars": {"gap": found.gap},
    }
    if reason := found.no_gap(metric.min_gap):
        return metric.result(layout, Estimate(None, reason=reason), n_scored, **fields)
    found = restored(subject, pairs, COMPONENTS, kind=KINDS[1]).take(in_order_P)
    plain_1P = np.ones((1, n_scored))
    weight_RP = resampling.weights(n_scored, subject.stream("bootstrap", "mechanism"))
    plain = judge(evidence_of(found, plain_1P), threshold=threshold)
    drawn = judge(evidence_of(found, weight_RP), threshold=threshold)
    case, chosen = CASES[int(plain.case_R[0])], int(plain.verdict_R[0])
    scalars = _evidence(found, plain)
    fields["scalars"] |= scalars | {
        f"agree_{name.replace(' ', '_')}": (drawn.verdict_R == index).mean()
        for index, name in enumerate(VERDICTS)
    }
    shown = found.only(first_named(found.position_GP))
    fields["profile"], necessity = (
        attribution_profile(shown, COMPONENTS, weight_RP, direction) for direction in DIRECTIONS
    )
    fields["profiles"] = {"necessity": necessity}
    fields["warnings"] = _warnings(case.verdict, case.why, scalars, threshold)
    agreement = Estimate(float((drawn.verdict_R == chosen).mean()))
    return metric.result(layout, agreement, n_scored, verdict=case.verdict, **fields)


def _evidence(found: Restored, plain: Judgement) -> dict[str, float]:
    """Return the attributions that decide, of the retrieving layer."""
    layer, scalars = int(plain.layer_R[0]), {}
    for word, direction in zip(("enough", "needed"), DIRECTIONS, strict=True):
        evidence = evidence_of(found, np.ones((1, len(found.clean_P))), direction)
        for name, at_RLS in (
            ("block_in", evidence.block_in_RLS), ("conv_out", evidence.conv_out_RLS)
        ):  # fmt: skip
            at_S = dict(zip(PLACES, at_RLS[0, layer], strict=True))
            places = {"key": at_S["key"], "value": at_S["value"]}
            places["behind"] = np.fmax(at_S["value+1"], at_S["value+2"])
            scalars |= {f"{word}_{name}_{place}": value for place, value in places.items()}
        scalars[f"{word}_block_out_query"] = evidence.block_out_RL[0, layer]
    return {"retrieving_layer": layer, "added_at_query": plain.added_R[0], **scalars}


def _warnings(verdict: str, why: str, scalars: dict[str, float], threshold: float) -> list[str]:
    notes = [f"{verdict}: {why}"] if verdict in _WITHOUT_WHY else []
    decisive = _DECISIVE.get(verdict, "")
    if verdict == "convolution" and not scalars[f"enough_{decisive}"] >= threshold:
        decisive = "block_in_behind"  # an earlier layer's convolution
    if decisive and scalars[f"needed_{decisive}"] < threshold:
        notes.append(
            f"what decides ({decisive} of layer {scalars['retrieving_layer']:.0f}) is enough but "
            f"not needed: without it {scalars[f'needed_{decisive}']:.2f} of the gap is lost, so "
            "there is another way beside it"
        )
    return notes
