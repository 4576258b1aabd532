"""What is said to each question of a mechanism: a verdict, how sure, by which cells, against what.

Shape suffixes: ``R`` resamples, ``L`` layers, ``S`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.intervention.binding_rule import BINDING, MEANS, amounts, binding
from mecheval.metrics.intervention.mechanism_rule import (
    BEHIND,
    BOUND,
    KEY,
    PLACES,
    QUERY,
    RETRIEVAL,
    Evidence,
    Judgement,
    Rule,
    holds_between,
    retrieval,
    retrieving_layer,
    summed,
)
from mecheval.metrics.intervention.rivals import (
    Rival,
    binding_rivals,
    limits,
    retrieval_rivals,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.intervention.mechanism_evidence import Weighed
    from mecheval.reports.schema import Profile

CLOSE = 0.1  # a verdict that another threshold so near would change is a close call
_WITHOUT_WHY = ("mixed", "several", "undefined")  # do not say by themselves what was found


@dataclass(frozen=True)
class Answer:
    """What is said to one question.

    Attributes:
        verdict: The verdict.
        agreement: Share of resamples of pairs in which the rule says the same.
        scalars: The layer that decides, its cells, thresholds, the shares of all verdicts.
        rivals: What every other verdict would need, by the cell that has least of it; ``excluded``
            marks those that the evidence excludes.
        warnings: What a reader should know.
    """

    verdict: str
    agreement: float
    scalars: dict[str, float]
    rivals: Profile
    warnings: list[str]


def retrieval_answer(weighed: Weighed, threshold: float) -> Answer:
    """Say which layers retrieve, and from where.

    Args:
        weighed: Shares.
        threshold: What is enough.
    """
    enough, needed = weighed.enough, weighed.needed
    said = retrieval(enough, threshold)
    layer, retrieving = int(said.layer_R[0]), int(retrieving_layer(enough, threshold)[0])
    scalars: dict[str, float] = {"retrieving_layer": retrieving}
    warnings = []
    if enough.n_layers == 1:
        warnings.append("one layer: it retrieves directly and early, whatever it has learned")
    else:
        scalars |= _retrieval_cells({"sufficiency": enough, "necessity": needed}, layer, retrieving)
    if enough.n_layers > 1 and not scalars["sufficiency_mixer_out_query"] >= threshold:
        warnings.append(
            f"the retrieval is split over layers: the mixer of layer {retrieving} brings back "
            f"{scalars['sufficiency_mixer_out_query']:.2f} at the query by itself"
        )
    decisive = {"induction": BOUND, "direct early": QUERY, "direct late": KEY}
    verdict = RETRIEVAL.verdicts[int(said.verdict_R[0])]
    if layer and verdict in decisive:
        lost = float(summed(needed.block_in_RLS[0, layer, decisive[verdict]]))
        warnings += _not_needed(f"block_in of layer {layer}", lost, threshold)
    return _answer(
        RETRIEVAL, weighed, threshold, said=said, scalars=scalars,
        rivals=retrieval_rivals(enough, threshold), warnings=warnings,
    )  # fmt: skip


def _retrieval_cells(
    by_word: Mapping[str, Evidence], layer: int, retrieving: int
) -> dict[str, float]:
    """Name what stands before the layer that decides, and what the retrieving mixer adds."""
    cells: dict[str, float] = {"layer": layer}
    for word, evidence in by_word.items():
        at_S = evidence.block_in_RLS[0, layer]
        cells |= _named(f"{word}_block_in", at_S, ("key", "value", "query"))
        read = evidence.mixer_out_RLS[0, retrieving, PLACES.index("query")]
        cells[f"{word}_mixer_out_query"] = float(read)
    return cells


def binding_answer(weighed: Weighed, threshold: float) -> Answer:
    """Say what brings key and value together.

    Args:
        weighed: Shares.
        threshold: What is enough.
    """
    enough, needed = weighed.enough, weighed.needed
    said, found = binding(enough, threshold), amounts(enough, threshold)
    layer = int(said.layer_R[0])
    scalars: dict[str, float] = {"layer": layer}
    for name, amount in zip(MEANS, found.by_RA[0], strict=True):
        scalars[f"by_{name.replace(' ', '_')}"] = amount
    for word, evidence in (("sufficiency", enough), ("necessity", needed)):
        for component, at_RLS in (
            ("mixer_out", evidence.mixer_out_RLS), ("conv_out", evidence.conv_out_RLS)
        ):  # fmt: skip
            scalars |= _named(f"{word}_{component}", at_RLS[0, layer], ("value",))
        scalars[f"{word}_state_before_value"] = evidence.memory_RL[0, layer]
    warnings = []
    if weighed.no_memory is not None:
        warnings.append(
            "a layer's own mixer is not seen to bind, as its memory cannot be exchanged: "
            + weighed.no_memory
        )
    if enough.n_layers == 1 and not enough.convolves_L.any():
        warnings.append(
            "one layer without a convolution: its own mixer binds, whatever it has learned"
        )
    if BINDING.verdicts[int(said.verdict_R[0])] not in _WITHOUT_WHY:
        lost, cell = limits(needed, layer)[int(found.by_RA[0].argmax())][0]
        warnings += _not_needed(f"{cell} of layer {layer}", lost, threshold)
    return _answer(
        BINDING, weighed, threshold, said=said, scalars=scalars,
        rivals=binding_rivals(enough, threshold), warnings=warnings,
    )  # fmt: skip


def _answer(
    rule: Rule,
    weighed: Weighed,
    threshold: float,
    *,
    said: Judgement,
    scalars: dict[str, float],
    rivals: list[Rival],
    warnings: list[str],
) -> Answer:
    """Put an answer together, with what is the same for both questions."""
    case, chosen = rule.cases[int(said.case_R[0])], int(said.verdict_R[0])
    drawn_R = rule.judge(weighed.drawn, threshold).verdict_R
    low, high = holds_between(rule, weighed.enough, threshold)
    scalars = {
        "threshold": threshold, "threshold_low": low, "threshold_high": high, **scalars
    }  # fmt: skip
    for index, name in enumerate(rule.verdicts):
        scalars[f"agree_{name.replace(' ', '_')}"] = float((drawn_R == index).mean())
    first = [f"{case.verdict}: {case.why}"] if case.verdict in _WITHOUT_WHY else []
    if (low > 0.01 and threshold - low < CLOSE) or (high < 1 and high - threshold < CLOSE):
        first.append(f"a close call: it holds for thresholds from {low:.2f} to {high:.2f} alone")
    table = table_of([rival for rival in rivals if rival.verdict != case.verdict], threshold)
    agreement = float((drawn_R == chosen).mean())
    return Answer(case.verdict, agreement, scalars, table, first + warnings)


def _named(name: str, at_S: np.ndarray, places: Sequence[str]) -> dict[str, float]:
    """Name what stands at places of one layer, and the better of the two behind the value."""
    found = {f"{name}_{place}": float(at_S[PLACES.index(place)]) for place in places}
    return found | {f"{name}_behind": float(np.fmax.reduce(at_S[BEHIND]))}


def _not_needed(what: str, lost: float, threshold: float) -> list[str]:
    if lost >= threshold:
        return []
    return [
        f"what decides ({what}) is sufficient but not necessary: without it {lost:.2f} of the gap "
        "is lost, so there is another way beside it"
    ]
