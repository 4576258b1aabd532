"""What is said to each question of a mechanism: a verdict, how sure, by which cells, against what.

Shape suffixes: ``P`` pairs, ``R`` resamples, ``L`` layers, ``S`` places, ``A`` things that bind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.metrics.intervention import binding_rule, mechanism_rule
from mecheval.metrics.intervention.mechanism_rule import (
    BEHIND,
    BOUND,
    KEY,
    PLACES,
    QUERY,
    VALUE,
    Evidence,
    Judgement,
    cuts,
    holds_between,
    retrieving_layer,
    summed,
)
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.metrics.intervention.mechanism_evidence import Measured
    from mecheval.metrics.intervention.mechanism_rule import Case
    from mecheval.reports.schema import Profile

CLOSE = 0.1  # a verdict that another threshold so near would change is a close call
_WITHOUT_WHY = ("mixed", "several", "undefined")  # do not say by themselves what was found


class Rival(NamedTuple):
    """What a verdict would need.

    Attributes:
        verdict: The verdict.
        cell: The least of the cells, or sums of cells, that it needs.
        amount: What that brings back; less than the threshold excludes it.
    """

    verdict: str
    cell: str
    amount: float


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


def retrieval_answer(measured: Measured, weight_RP: np.ndarray, threshold: float) -> Answer:
    """Say which layers retrieve, and from where.

    Args:
        measured: Attributions.
        weight_RP: How often each resample holds each pair.
        threshold: What is enough.
    """
    enough, needed = measured.plainly(), measured.plainly("noising")
    said = mechanism_rule.retrieval(enough, threshold)
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
    verdict = mechanism_rule.VERDICTS[int(said.verdict_R[0])]
    if layer and verdict in decisive:
        lost = float(summed(needed.block_in_RLS[0, layer, decisive[verdict]]))
        warnings += _not_needed(f"block_in of layer {layer}", lost, threshold)
    return _answer(
        measured, weight_RP, threshold, rule=mechanism_rule.retrieval, said=said,
        cases=mechanism_rule.CASES, verdicts=mechanism_rule.VERDICTS, scalars=scalars,
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


def binding_answer(measured: Measured, weight_RP: np.ndarray, threshold: float) -> Answer:
    """Say what brings key and value together.

    Args:
        measured: Attributions.
        weight_RP: How often each resample holds each pair.
        threshold: What is enough.
    """
    enough, needed = measured.plainly(), measured.plainly("noising")
    said, found = binding_rule.binding(enough, threshold), binding_rule.amounts(enough, threshold)
    layer = int(said.layer_R[0])
    scalars: dict[str, float] = {"layer": layer}
    for name, amount in zip(binding_rule.MEANS, found.by_RA[0], strict=True):
        scalars[f"by_{name.replace(' ', '_')}"] = amount
    for word, evidence in (("sufficiency", enough), ("necessity", needed)):
        for component, at_RLS in (
            ("mixer_out", evidence.mixer_out_RLS), ("conv_out", evidence.conv_out_RLS)
        ):  # fmt: skip
            scalars |= _named(f"{word}_{component}", at_RLS[0, layer], ("value",))
        scalars[f"{word}_state_before_value"] = evidence.memory_RL[0, layer]
    warnings = []
    if measured.no_memory is not None:
        warnings.append(
            "a layer's own mixer is not seen to bind, as its memory cannot be exchanged: "
            + measured.no_memory
        )
    if enough.n_layers == 1 and not enough.convolves_L.any():
        warnings.append(
            "one layer without a convolution: its own mixer binds, whatever it has learned"
        )
    if binding_rule.VERDICTS[int(said.verdict_R[0])] not in _WITHOUT_WHY:
        lost, cell = _limits(needed, layer)[int(found.by_RA[0].argmax())][0]
        warnings += _not_needed(f"{cell} of layer {layer}", lost, threshold)
    return _answer(
        measured, weight_RP, threshold, rule=binding_rule.binding, said=said,
        cases=binding_rule.CASES, verdicts=binding_rule.VERDICTS, scalars=scalars,
        rivals=binding_rivals(enough, threshold), warnings=warnings,
    )  # fmt: skip


def retrieval_rivals(evidence: Evidence, threshold: float) -> list[Rival]:
    """Return what each way to retrieve would need; nothing where there is one layer."""
    if evidence.n_layers == 1:
        return []
    cut = cuts(evidence, threshold)
    clearest, apart = int(cut.clearest_R[0]) + 1, int(cut.ends_RC[0].argmin()) + 1
    ends = (float(cut.ends_RC[0].min()), f"L{apart}.block_in@key+query")
    direct = [
        ("direct early", (float(cut.query_RC[0, 0]), "L1.block_in@query")),
        ("direct late", (float(cut.key_RC[0, 0]), "L1.block_in@key")),
    ]
    bound = float(cut.bound_RC[0, clearest - 1])
    found = [Rival("induction", f"L{clearest}.block_in@value+behind", bound)]
    for verdict, first in direct:
        amount, cell = min(first, ends)
        found.append(Rival(verdict, cell, amount))
    return found


def binding_rivals(evidence: Evidence, threshold: float) -> list[Rival]:
    """Return what each thing that can bind brings, and which cell of its best layer limits it."""
    by_AL = binding_rule.amounts(evidence, threshold).by_RAL[0]
    limits = [_limits(evidence, layer) for layer in range(evidence.n_layers)]

    def near(kind: int, layer: int) -> tuple[float, float]:
        return by_AL[kind, layer], sum(amount for amount, _ in limits[layer][kind])

    rivals = []
    for kind, name in enumerate(binding_rule.MEANS):
        layer = max(range(evidence.n_layers), key=lambda layer, kind=kind: near(kind, layer))
        _, cell = min(limits[layer][kind], key=lambda limit: limit[0])
        rivals.append(Rival(name, f"L{layer}.{cell}", float(by_AL[kind].sum())))
    return rivals


def _limits(evidence: Evidence, layer: int) -> list[list[tuple[float, str]]]:
    """Return what limits each thing that can bind, in one layer, with the cell that it is from."""
    conv_S, mixer_S = evidence.conv_out_RLS[0, layer], evidence.mixer_out_RLS[0, layer]
    conv, value, behind = (float(summed(conv_S[places])) for places in (BOUND, VALUE, BEHIND))
    mixer, memory = float(summed(mixer_S[BOUND])), float(summed(evidence.memory_RL[:1, layer]))
    through = min(conv, mixer)
    key = (float(summed(evidence.block_in_RLS[0, layer, KEY])), "block_in@key")
    out = "mixer_out@value+behind"  # what comes out of the mixer again is bound by then
    own = [key, (conv - through, out)]
    return [
        [(mixer, out)],
        [(conv, "conv_out@value+behind"), (mixer, out)],
        [(value, "conv_out@value"), *own],
        [(behind, "conv_out@behind"), *own],
        [(memory, "state@value-1"), key, (memory - (mixer - through), out)],
    ]


def _answer(
    measured: Measured,
    weight_RP: np.ndarray,
    threshold: float,
    *,
    rule: Callable[..., Judgement],
    said: Judgement,
    cases: Sequence[Case],
    verdicts: Sequence[str],
    scalars: dict[str, float],
    rivals: list[Rival],
    warnings: list[str],
) -> Answer:
    """Put an answer together, with what is the same for both questions."""
    case, chosen = cases[int(said.case_R[0])], int(said.verdict_R[0])
    drawn_R = rule(measured.evidence(weight_RP), threshold).verdict_R
    low, high = holds_between(rule, measured.plainly(), threshold)
    scalars = {"threshold_low": low, "threshold_high": high, **scalars}
    for index, name in enumerate(verdicts):
        scalars[f"agree_{name.replace(' ', '_')}"] = float((drawn_R == index).mean())
    first = [f"{case.verdict}: {case.why}"] if case.verdict in _WITHOUT_WHY else []
    if (low > 0.01 and threshold - low < CLOSE) or (high < 1 and high - threshold < CLOSE):
        first.append(f"a close call: it holds for thresholds from {low:.2f} to {high:.2f} alone")
    table = _table([rival for rival in rivals if rival.verdict != case.verdict], threshold)
    agreement = float((drawn_R == chosen).mean())
    return Answer(case.verdict, agreement, scalars, table, first + warnings)


def _table(rivals: Sequence[Rival], threshold: float) -> Profile:
    """Lay out rivals by the cells that they lack; names have no spaces, as paths have none."""
    cells = list(dict.fromkeys(rival.cell for rival in rivals))
    amount_VX = np.full((len(rivals), len(cells)), np.nan)
    for row, rival in enumerate(rivals):
        amount_VX[row, cells.index(rival.cell)] = rival.amount
    names = [rival.verdict.replace(" ", "_") for rival in rivals]
    return profile(
        {"rival": names, "cell": cells}, amount_VX, marks={"excluded": amount_VX < threshold}
    )


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
