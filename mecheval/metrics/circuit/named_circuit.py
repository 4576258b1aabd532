"""Which units a circuit is made of: one path if it carries enough, else the few that do together.

Heads that do the same share an effect, and of heads that each bring one part of a key none has any
by itself: whoever matches the other part still finds it. So all first and all last units are
exchanged at once; and where no single path carries about as much, whatever can be left out without
loss is left out, so that all that remains is needed.

Shape suffixes: ``P`` pairs, ``F`` first units, ``U`` last units, ``R`` resamples, ``V`` paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.metrics.results import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.metrics.circuit.gap import Gap
    from mecheval.metrics.circuit.held_layers import Unit

    Ends = tuple[Sequence[Unit], Sequence[Unit]]
    Together = Callable[[Sequence[Unit], Sequence[Unit]], np.ndarray]

CARRIED = 0.5
"""Least share of the gap for which a circuit is named, unless another one is asked for."""

KEPT = 0.9
"""Share of what all units carry together that those must carry which are named."""

UNNAMED = "none"
AT_MOST = 4  # units of one end that are written out


@dataclass(frozen=True)
class Named:
    """A circuit, and how sure it is.

    Attributes:
        verdict: Its units by name, or ``none``.
        estimate: Share of the gap that it carries; that all units carry together where it is none.
        agreement: Share of resamples that come to the same verdict.
        single: What the largest single path carries.
        pooled: What all units carry together.
        unwritten: Names of its first and last units where the verdict has no room for them.
    """

    verdict: str
    estimate: Estimate
    agreement: float
    single: float
    pooled: float
    unwritten: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shares:
    """Shares of the gap in every resample; the plain ones in a first row."""

    gap: Gap
    weight_RP: np.ndarray

    def __call__(self, patched_VP: np.ndarray) -> np.ndarray:
        """Return the shares ``(1 + R, V)`` of patched readouts ``(V, P)``."""
        plain_V = self.gap.lost(patched_VP)
        return np.concatenate([plain_V[None], self.gap.lost(patched_VP, self.weight_RP)])


def named_circuit(
    gap: Gap,
    weight_RP: np.ndarray,
    units: Ends,
    patched_FUP: np.ndarray,
    doubtful: Ends,
    together: Together,
    *,
    least: float = CARRIED,
) -> Named:
    """Name the circuit that carries what all units carry together, if that is enough of the gap.

    Args:
        gap: Readouts of the clean and the corrupted runs.
        weight_RP: How often each resample holds each pair.
        units: First and last units.
        patched_FUP: Readouts with every single path exchanged.
        doubtful: The same units, those first that are least likely to be part of it.
        together: Returns the readouts ``(P,)`` with all paths between some of them exchanged.
        least: What is enough.
    """
    shares = _Shares(gap, weight_RP)
    single_RV = np.nan_to_num(shares(patched_FUP.reshape(-1, patched_FUP.shape[-1])), nan=-np.inf)
    pooled_R = shares(together(*units)[None])[:, 0]
    # Units may counteract each other, so that one carries more than all.
    all_R = np.maximum(pooled_R, single_RV.max(1))
    enough_R, alone_R = all_R >= least, single_RV.max(1) >= KEPT * all_R
    best_R = single_RV.argmax(1)
    unwritten: dict[str, list[str]] = {}
    if not enough_R[0]:
        verdict, value_R, same_R = UNNAMED, all_R, ~enough_R
    elif alone_R[0]:
        i, j = np.unravel_index(int(best_R[0]), patched_FUP.shape[:2])
        verdict, value_R = f"{units[0][int(i)]} -> {units[1][int(j)]}", single_RV[:, best_R[0]]
        same_R = enough_R & alone_R & (best_R == best_R[0])
    else:
        whole = KEPT * all_R[0]
        few = _needed(*doubtful, lambda f, u: float(gap.lost(together(f, u))) >= whole)
        if max(map(len, few)) > AT_MOST:
            unwritten = {
                name: [*map(str, end)] for name, end in zip(("from", "to"), few, strict=True)
            }
        verdict, value_R = " -> ".join(map(_names, few)), shares(together(*few)[None])[:, 0]
        same_R = enough_R & ~alone_R & (value_R >= KEPT * all_R)
    interval = stats.percentile_interval(value_R[1:], unit="pair")
    estimate = Estimate(float(value_R[0]), interval)
    single = float(single_RV[0].max())
    agreement, pooled = float(same_R[1:].mean()), float(pooled_R[0])
    return Named(verdict, estimate, agreement, single, pooled, unwritten)


def _needed(
    first: Sequence[Unit],
    last: Sequence[Unit],
    enough: Callable[[Sequence[Unit], Sequence[Unit]], bool],
) -> tuple[list[Unit], list[Unit]]:
    """Leave out what can be left out, one unit after the other; return what remains, in order."""
    kept_first, kept_last = list(first), list(last)
    for unit in first:
        rest = [other for other in kept_first if other != unit]
        if rest and enough(rest, kept_last):
            kept_first = rest
    for unit in last:
        rest = [other for other in kept_last if other != unit]
        if rest and enough(kept_first, rest):
            kept_last = rest
    return sorted(kept_first, key=_place), sorted(kept_last, key=_place)


def _place(unit: Unit) -> tuple[int, int]:
    return unit.layer, -1 if unit.head is None else unit.head


def _names(units: Sequence[Unit]) -> str:
    if len(units) <= AT_MOST:
        return " + ".join(map(str, units))
    return f"{len(units)} units of layers {units[0].layer} to {units[-1].layer}"
