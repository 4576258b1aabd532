"""What stands beside every result that is made of patched runs: how far its grid can be relied on.

The names of scalars, what they are, and how a reader is shown them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.reports.results import MetricResult

SPLIT_HALF, CORRECTED = "split_half", "split_half_corrected"
PATCH, READOUT = "patch", "readout"
PLACES = PATCH, READOUT
"""Behind the patched layer, where the patch is first seen; behind the last layer, where the answer
is read."""

NATURALNESS = "naturalness"
"""In a result's configuration: what ranks are among, or why there are none."""

HEADERS = (
    "Grid", "halves of the pairs agree", "corrected to all pairs",
    "distance rank at the patch", "distance rank at the readout",
)  # fmt: skip

CAPTION = (
    "How far can the grids behind these values be relied on? The pairs are dealt into two halves, "
    "and their mean effects correlated over the cells that are not known by construction: 1 if "
    "both halves show the same picture, 0 if they have nothing in common (mean of 200 random "
    "splits; corrected by Spearman-Brown to what as many pairs as there are would give). Distance "
    "rank: the share of natural runs whose residual stream is nearer to the natural mean at the "
    "same position than that of a patched run: 0.5 is as natural as any run, 1 further away than "
    "every natural run, 0 nearer than every one, as a mean put there is. In brackets the rank of "
    "the same runs unpatched, and the share of pairs in which the stream there is one of the two "
    "runs' own, so that its rank says nothing of the patch (by construction)."
)


def rank_at(place: str) -> str:
    """Return the name of the mean distance rank at a place."""
    return f"distance_rank_{place}"


def unpatched_rank_at(place: str) -> str:
    """Return the name of the same rank of the runs as they are."""
    return f"distance_rank_{place}_unpatched"


def ratio_at(place: str) -> str:
    """Return the name of the median distance over that of natural runs."""
    return f"distance_ratio_{place}"


def by_construction_at(place: str) -> str:
    """Return the name of the share of pairs that are as natural as one of their runs."""
    return f"own_stream_{place}"


def rows(results: Iterable[MetricResult]) -> list[list[str]]:
    """Return a row per result that says how far its grid can be relied on, under the headers."""
    return [_row(result) for result in results if SPLIT_HALF in result.scalars]


def _row(result: MetricResult) -> list[str]:
    scalars = result.scalars
    agreement, corrected = scalars[SPLIT_HALF], scalars.get(CORRECTED)
    first = result.config.get(SPLIT_HALF, "") if agreement is None else f"{agreement:.3f}"
    second = "" if corrected is None else f"{corrected:.3f}"
    return [result.id, str(first), second, *(_rank(result, place) for place in PLACES)]


def _rank(result: MetricResult, place: str) -> str:
    names = rank_at(place), unpatched_rank_at(place), by_construction_at(place)
    rank, unpatched, own = (result.scalars.get(name) for name in names)
    if rank is None:
        return str(result.config.get(NATURALNESS, "")) if place == PATCH else ""
    beside = [] if unpatched is None else [f"unpatched {unpatched:.2f}"]
    beside += [f"{own:.0%} by construction"] if own else []
    return f"{rank:.2f}" + (f" ({', '.join(beside)})" if beside else "")
