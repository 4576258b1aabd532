"""Two dictionaries, latent by latent: how well each is matched, and which ones are matched best.

Shape suffixes: ``M`` latents of a dictionary or of several, ``N`` places, ``X`` bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.likeness.features import Match
    from mecheval.metrics.pairs.coding import Coded
    from mecheval.metrics.pairs.places import Of, Places
    from mecheval.metrics.pairs.shared import Shared

N_BINS = 20
"""Bins of correlations from 0 to 1; what is below 0 has one of its own."""


@dataclass(frozen=True)
class Matched:
    """Two dictionaries side by side; numbers are NaN where undefined.

    Attributes:
        held_out: Mean correlation of best partners, held out, of both directions.
        plain: The same of partners that are chosen and read on all sequences.
        symbol: Best correlations with one symbol's indicator, of the latents of either.
        reason: Why the first is undefined.
        ways: The matches from the one to the other, and back.
    """

    held_out: float
    plain: float
    symbol: tuple[float, float]
    reason: str
    ways: Sequence[Match]


def matched(
    x: Coded, y: Coded, places: Shared, *, beyond: bool, with_floors: bool = False
) -> Matched:
    """Compare two dictionaries.

    Args:
        x: Codes of the one.
        y: Codes of the other, at the same places.
        places: The places.
        beyond: Whether they are compared beyond the symbol.
        with_floors: Whether their latents are held against single symbols, too.
    """
    return matched_arrays(x.codes, y.codes, places, beyond=beyond, with_floors=with_floors)


def matched_arrays(
    x: object, y: object, places: Shared, *, beyond: bool, with_floors: bool = False
) -> Matched:
    """Compare what two networks hold at the same places, ``(N, M)`` each; see :func:`matched`."""
    from mecheval.likeness.features import compare_features  # imports torch

    groups_N = places.group_N if beyond or with_floors else None
    found = compare_features(x, y, groups_N, places.row_N, n_blocks=2)
    ways = (found.beyond_a_to_b, found.beyond_b_to_a) if beyond else (found.a_to_b, found.b_to_a)
    matches = [match for match in ways if match is not None]
    floors = [found.floors_a.get("group"), found.floors_b.get("group")]
    return Matched(
        float(np.mean([or_nan(match.held_out) for match in matches])),
        float(np.mean([or_nan(match.value) for match in (found.a_to_b, found.b_to_a)])),
        (or_nan(floors[0]), or_nan(floors[1])),
        next((match.reason for match in matches if match.held_out is None), ""),
        matches,
    )


def or_nan(value: float | None) -> float:
    """Return a number, NaN for none."""
    return np.nan if value is None else value


def bins() -> list[str]:
    """Return the labels of :func:`spread`."""
    edges = np.arange(N_BINS + 1) / N_BINS
    edges = [i / N_BINS for i in range(N_BINS + 1)]
    return ["below 0", *(f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges))]


def spread(found: Sequence[Matched]) -> np.ndarray:
    """Return which share of all latents, of either direction, has a correlation in each bin."""
    held_M = np.concatenate([match.held_out_M for each in found for match in each.ways] or [[]])
    held_M = held_M[np.isfinite(held_M)]
    bin_M = np.where(held_M < 0, 0, 1 + np.clip((held_M * N_BINS).astype(int), 0, N_BINS - 1))
    count_X = np.bincount(bin_M, minlength=N_BINS + 1)
    return count_X / count_X.sum() if len(held_M) else np.full(N_BINS + 1, np.nan)


def simple(coded: Coded, places: Places, of: Of) -> np.ndarray:
    """Return for each latent which share of it the fewest symbols explain that can, ``(M,)``.

    Of a stream that is the current symbol. Of what a stream holds beyond it, the current symbol
    and the one before it.
    """
    from mecheval.likeness.features import share_explained  # imports torch

    group_N = places.symbol_N
    if of == "context":
        before_N = places.symbols_BT[places.row_N, places.position_N - 1]
        group_N = group_N + before_N * (int(places.symbols_BT.max()) + 1)
    return share_explained(coded.codes.csr, group_N, places.row_N % 2)


def frequent(coded: Coded) -> np.ndarray:
    """Return at how many places each latent fires, ``(M,)``."""
    return np.asarray(coded.codes.firings(), float)


def ranked(of_latents: Sequence[np.ndarray], found: Matched) -> float:
    """Return the rank correlation of a number of latents with how well they are matched.

    Args:
        of_latents: The number, ``(M,)``, of the latents of the one and of the other.
        found: How well they are matched.

    Returns:
        The mean of both directions; NaN where one has none.
    """
    correlations = []
    for number_M, match in zip(of_latents, found.ways, strict=True):
        held_M = match.held_out_M
        both_M = np.isfinite(held_M) & np.isfinite(number_M) if len(held_M) else np.empty(0, bool)
        number_M = number_M[both_M] if len(both_M) else both_M
        correlations.append(or_nan(stats.rank_correlation(number_M, held_M[both_M])))
    return float(np.mean(correlations))
