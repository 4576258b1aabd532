"""A score of likeness, beside what it is for rows that do not belong together.

Shape suffixes: ``P`` permutations, ``B`` documents, or blocks of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval.likeness.jackknife import delete_group_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.stats import Interval

_LARGEST_NULL = 1 - 1e-6
MIN_BLOCKS = 8
"""Fewest documents, or blocks of them, behind an interval."""


@dataclass(frozen=True)
class Score:
    """How alike two sets of activations are by one measure.

    Attributes:
        value: The score, 1 where both are alike.
        null: Its mean where each row of X stands beside a row of Y of another document: what the
            number of rows and columns alone gives.
        calibrated: ``(value - null) / (1 - null)``: 0 for what is unrelated, 1 for what is alike.
        interval: Of ``value``, over documents; what it is of and how it was made stand in it.
        null_spread: Standard deviation of the null over permutations.
        n: Rows that the value is of.
        n_left_out: Rows among which these were chosen no more: without direction, or alone in
            their group.
        reasons: For every one of the first four that is None, why.
    """

    value: float | None
    null: float | None = None
    calibrated: float | None = None
    interval: Interval | None = None
    null_spread: float | None = None
    n: int = 0
    n_left_out: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def calibrated_interval(self) -> Interval | None:
        """Return the interval of ``calibrated``, the null held fixed."""
        if self.interval is None or self.null is None or self.calibrated is None:
            return None
        low, high = ((end - self.null) / (1 - self.null) for end in self.interval[:2])
        return self.interval._replace(low=low, high=high)


@dataclass(frozen=True)
class Found:
    """What one measure gives: the value, or why there is none, and what it is by chance.

    Attributes:
        value: The score; None where it is undefined.
        reason: Why it is.
        null_P: The score of permuted rows; NaN where undefined.
        without_B: The score without each block of documents; NaN where undefined.
        rows_B: Rows of each block.
        lowest: What the score can be at least.
        n: Rows that it is of.
        n_left_out: Rows that it cannot be of.
        no_null: Why no rows were permuted, if none were.
    """

    value: float | None
    reason: str = ""
    null_P: np.ndarray | None = None
    without_B: np.ndarray | None = None
    rows_B: np.ndarray | None = None
    lowest: float = 0.0
    n: int = 0
    n_left_out: int = 0
    no_null: str = ""


def score_of(found: Found, no_interval: str, unit: str) -> Score:
    """Put a value beside its null and its interval.

    Args:
        found: The value and what it is by chance.
        no_interval: Why there are no documents to leave out, if there are none.
        unit: What is left out, one at a time.
    """
    if found.value is None:
        reasons = dict.fromkeys(("value", "null", "calibrated", "interval"), found.reason)
        return Score(None, n=found.n, n_left_out=found.n_left_out, reasons=reasons)
    reasons: dict[str, str] = {}
    null = spread = calibrated = None
    null_P = _defined(found.null_P)
    if len(null_P):
        null, spread = float(null_P.mean()), float(null_P.std())
    else:
        reasons["null"] = found.no_null or "it is undefined for permuted rows"
    if null is None:
        reasons["calibrated"] = f"there is no null: {reasons['null']}"
    elif null > _LARGEST_NULL:
        reasons["calibrated"] = "permuted rows score 1 as well: nothing is left above the null"
    else:
        calibrated = (found.value - null) / (1 - null)
    interval = _interval(found, unit)
    if interval is None:
        reasons["interval"] = (
            no_interval or "it is undefined, or of too few documents, where one of them is left out"
        )
    return Score(
        found.value, null, calibrated, interval, spread, found.n, found.n_left_out, reasons
    )


def _defined(values_P: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if values_P is None else values_P[np.isfinite(values_P)]


def _interval(found: Found, unit: str) -> Interval | None:
    """Return the jackknife interval of the value, by what it is without each block of documents.

    A bootstrap would hold some documents several times, whose copies are alike: near the null it
    would come out several times too wide.
    """
    if found.value is None or found.without_B is None or found.rows_B is None:
        return None
    there_B = found.rows_B > 0
    without_B, rows_B = found.without_B[there_B], found.rows_B[there_B]
    if len(rows_B) < MIN_BLOCKS or not np.isfinite(without_B).all():
        return None
    bounds = found.lowest, 1.0
    return delete_group_interval(found.value, without_B, rows_B, unit=unit, bounds=bounds)
