"""What every verdict on a mechanism would need, and by which cell the evidence excludes it.

A cell is named ``L1.block_in@value``; a sum of cells is named by its places, as ``@key+query``.

Shape suffixes: ``R`` resamples, ``L`` layers, ``A`` things that bind, ``S`` places, ``V`` rivals,
``X`` cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.metrics.intervention.binding_rule import MEANS, amounts
from mecheval.metrics.intervention.mechanism_rule import (
    BEHIND,
    BOUND,
    KEY,
    VALUE,
    Evidence,
    cuts,
    summed,
)
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.schema import Profile

_DIGITS = 6
"""Amounts that differ by less are ties, which go to the first: rounding must not choose."""


class Rival(NamedTuple):
    """What a verdict would need.

    Attributes:
        verdict: The verdict.
        cell: The cell that it lacks most.
        amount: What there is for it; less than the threshold excludes it.
    """

    verdict: str
    cell: str
    amount: float


class Limit(NamedTuple):
    """What something that binds can bring at most, and the cell that says so."""

    amount: float
    cell: str


def retrieval_rivals(evidence: Evidence, threshold: float) -> list[Rival]:
    """Return what each way to retrieve would need; nothing where there is one layer."""
    if evidence.n_layers == 1:
        return []
    cut = cuts(evidence, threshold)
    clearest, apart = int(cut.clearest_R[0]), int(cut.ends_RC[0].argmin())
    ends = Limit(float(cut.ends_RC[0, apart]), f"L{apart + 1}.block_in@key+query")
    early = Limit(float(cut.query_RC[0, 0]), "L1.block_in@query")
    late = Limit(float(cut.key_RC[0, 0]), "L1.block_in@key")
    bound = Limit(float(cut.bound_RC[0, clearest]), f"L{clearest + 1}.block_in@value+behind")
    least = {
        "induction": bound, "direct early": min(early, ends), "direct late": min(late, ends),
    }  # fmt: skip
    return [Rival(verdict, limit.cell, limit.amount) for verdict, limit in least.items()]


def binding_rivals(evidence: Evidence, threshold: float) -> list[Rival]:
    """Return what each thing that can bind brings, and what limits it in its best layer."""
    by_AL = amounts(evidence, threshold).by_RAL[0]
    limits_L = [limits(evidence, layer) for layer in range(evidence.n_layers)]

    def near(layer: int, kind: int) -> tuple[float, float]:
        nearest = sum(limit.amount for limit in limits_L[layer][kind])
        return round(float(by_AL[kind, layer]), _DIGITS), round(nearest, _DIGITS)

    rivals = []
    for kind, name in enumerate(MEANS):
        layer = max(range(evidence.n_layers), key=lambda layer, kind=kind: near(layer, kind))
        cell = min(limits_L[layer][kind], key=lambda limit: round(limit.amount, _DIGITS)).cell
        rivals.append(Rival(name, f"L{layer}.{cell}", float(by_AL[kind].sum())))
    return rivals


def limits(evidence: Evidence, layer: int) -> list[list[Limit]]:
    """Return what limits each of :data:`MEANS` in one layer; its own cell comes first."""
    conv_S, mixer_S = evidence.conv_out_RLS[0, layer], evidence.mixer_out_RLS[0, layer]
    conv, value, behind = (float(summed(conv_S[places])) for places in (BOUND, VALUE, BEHIND))
    mixer, memory = float(summed(mixer_S[BOUND])), float(summed(evidence.memory_RL[:1, layer]))
    through = min(conv, mixer)
    key = Limit(float(summed(evidence.block_in_RLS[0, layer, KEY])), "block_in@key")
    # What comes out of the mixer again is bound by then, and what conv_out explains is not the rest
    # of the mixer's.
    out, shown = "mixer_out@value+behind", "conv_out@value+behind"
    own = [key, Limit(conv - through, out)]
    return [
        [Limit(mixer, out), Limit(mixer - through, shown)],
        [Limit(conv, shown), Limit(mixer, out)],
        [Limit(value, "conv_out@value"), *own],
        [Limit(behind, "conv_out@behind"), *own],
        [Limit(memory, "state@value-1"), key, Limit(memory - (mixer - through), out)],
    ]


def table_of(rivals: Sequence[Rival], threshold: float) -> Profile:
    """Lay out rivals by the cells that they lack; names have no spaces, as paths have none."""
    cells = list(dict.fromkeys(rival.cell for rival in rivals))
    amount_VX = np.full((len(rivals), len(cells)), np.nan)
    for row, rival in enumerate(rivals):
        amount_VX[row, cells.index(rival.cell)] = rival.amount
    names = [rival.verdict.replace(" ", "_") for rival in rivals]
    return profile(
        {"rival": names, "cell": cells}, amount_VX, marks={"excluded": amount_VX < threshold}
    )
