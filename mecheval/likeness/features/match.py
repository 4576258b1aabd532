"""What is said of the best partners of latents, and where a score lies between its anchors.

Shape suffixes: ``M`` latents of the side that partners are sought for, ``H`` halves of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.stats import Interval

HIGH = 0.7
"""Correlation from which two features are often called the same (Wang et al. 2025)."""

_ERRORS = 3.0


@dataclass(frozen=True)
class Match:
    """How well the latents of one side are matched by their best partners of the other.

    Attributes:
        value: Mean over latents of the largest Pearson correlation with a latent of the other
            side, signed (MPPC); None where undefined.
        held_out: The same, with the partner chosen on one half of the documents and the
            correlation read on the other: without the winner's curse. Mean of both ways.
        median: Median over latents.
        share_high: Share of latents whose best correlation is above :data:`HIGH`.
        weighted: Mean over latents, weighted by how often they fire.
        distinct: Different partners, as a share of the latents.
        n: Latents that the value is of.
        n_left_out: Those that fire too seldom, or of which nothing is left to be matched.
        interval: Of the value, over blocks of documents; None without documents.
        reason: Why there is no value.
        best_M: The largest correlation of each latent; NaN where it was left out.
        partner_M: The latent of the other side that has it; -1 where it was left out.
        chosen_HM: The largest correlation of each latent on either half of the documents; NaN where
            it has none there.
        held_HM: What the partner that either half chose has on the other half.
    """

    value: float | None
    held_out: float | None = None
    median: float | None = None
    share_high: float | None = None
    weighted: float | None = None
    distinct: float | None = None
    n: int = 0
    n_left_out: int = 0
    interval: Interval | None = None
    reason: str = ""
    best_M: np.ndarray | None = field(default=None, repr=False)
    partner_M: np.ndarray | None = field(default=None, repr=False)
    chosen_HM: np.ndarray | None = field(default=None, repr=False)
    held_HM: np.ndarray | None = field(default=None, repr=False)

    @property
    def held_out_M(self) -> np.ndarray:
        """Return the held-out correlation of each latent, the mean of both ways; NaN without."""
        if self.held_HM is None:
            return np.empty(0)
        n_M = np.isfinite(self.held_HM).sum(0)
        return np.where(n_M > 0, np.nansum(self.held_HM, 0) / np.maximum(n_M, 1), np.nan)


@dataclass(frozen=True)
class Features:
    """How alike the features of two dictionaries are, each way.

    Attributes:
        a_to_b: Latents of A by their partners of B.
        b_to_a: Latents of B by their partners of A.
        beyond_a_to_b: The same without the means of the groups, such as the current token; None
            where no groups were given.
        beyond_b_to_a: Likewise.
        floors_a: For each kind of label, the mean of A's latents' best correlations with a single
            label: what a table of labels would be called alike.
        floors_b: The same of B.
        cautions: What makes the numbers hard to compare, a sentence each.
    """

    a_to_b: Match
    b_to_a: Match
    beyond_a_to_b: Match | None = None
    beyond_b_to_a: Match | None = None
    floors_a: Mapping[str, float | None] = field(default_factory=dict)
    floors_b: Mapping[str, float | None] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


def place_between(
    value: float | None, null: float | None, skyline: float | None, standard_error: float = 0.0
) -> tuple[float | None, str]:
    """Return where a score lies between its null (0) and its skyline (1), or why nowhere.

    Args:
        value: The score of a pair.
        null: That of a pair with an untrained network.
        skyline: That of two networks, or dictionaries, that differ in the seed alone.
        standard_error: Of skyline less null.

    Returns:
        ``(value - null) / (skyline - null)``, and the reason where it is None.
    """
    if value is None or null is None or skyline is None:
        return None, "the score, its null or its skyline is undefined"
    apart = skyline - null
    if apart <= _ERRORS * standard_error or apart <= 0:
        return None, (
            f"the skyline is {skyline:.3f} and the null {null:.3f}: they are less than "
            f"{_ERRORS:g} standard errors apart"
        )
    return (value - null) / apart, ""
