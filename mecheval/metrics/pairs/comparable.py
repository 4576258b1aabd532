"""When what two dictionaries share may be put between a null and a skyline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.pairs.coding import Coded
    from mecheval.metrics.pairs.subject import PairSubject

MOST_APART = 0.05
"""Dictionaries are hard to compare whose fractions of variance explained differ by more, or whose
firings at a place do by more than this share of the larger number."""


def fve_apart(own: Sequence[tuple[Coded, Coded]]) -> float | None:
    """Return how far apart fractions of variance explained are: a mean over depths."""
    return _mean([None if None in (a.fve, b.fve) else abs(a.fve - b.fve) for a, b in own])  # type: ignore[operator]


def l0_apart(own: Sequence[tuple[Coded, Coded]]) -> float | None:
    """Return by which share of the larger number firings at a place differ: a mean over depths."""
    shares = []
    for a, b in own:
        known = a.l0 is not None and b.l0 is not None and max(a.l0, b.l0) > 0
        shares.append(abs(a.l0 - b.l0) / max(a.l0, b.l0) if known else None)  # type: ignore[operator,type-var]
    return _mean(shares)


def why_no_place(subject: PairSubject, own: Sequence[tuple[Coded, Coded]]) -> str:
    """Return why dictionaries of two networks have no place; empty where they may have one.

    Args:
        subject: The networks.
        own: Their dictionaries, depth by depth.
    """
    fresh = [side.title for side in subject.sides if side.untrained]
    if fresh:
        return (
            f"{' and '.join(fresh)}: freshly drawn weights, and what two dictionaries of those "
            "share is no skyline"
        )
    unequal = next(((a, b) for a, b in own if a.codes.shape[1] != b.codes.shape[1]), None)
    if unequal:
        n_a, n_b = (coded.codes.shape[1] for coded in unequal)
        return f"the dictionaries have {n_a} and {n_b} latents"
    explained, firings = fve_apart(own), l0_apart(own)
    if explained is None or explained > MOST_APART:
        said = "not known" if explained is None else f"{explained:.3f} apart"
        return f"the dictionaries explain fractions of variance that are {said}"
    if firings is None or firings > MOST_APART:
        said = "not known" if firings is None else f"{firings:.3f} of the larger number apart"
        return f"the dictionaries have latents that fire at a place, whose numbers are {said}"
    return ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
