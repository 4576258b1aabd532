"""One walk over the products of two sides' codes, block by block, that keeps the best partners.

Shape suffixes: ``M`` latents of A or of B, ``L`` latents of B, ``C`` some latents of A, ``X``
candidates, ``B`` blocks of documents, ``N`` rows, ``W`` ways of leaving blocks out: none, either
half, each block; ``H`` the halves alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval.likeness.features.firings import Firings, Means, OverBlocks
from mecheval.likeness.features.match import HIGH, Match
from mecheval.likeness.jackknife import delete_group_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENTRIES = 2**25  # of products that are held at once, a quarter of a gigabyte
_ALL, _HALVES = 0, (1, 2)


@dataclass
class _Best:
    """The best partner of every latent of one side so far, under every way of leaving blocks out.

    Attributes:
        best_WM: The largest correlation.
        partner_WM: Who has it.
        held_WM: What the partner that either half chose has on the other half.
    """

    n: int
    n_ways: int
    best_WM: np.ndarray = field(init=False)
    partner_WM: np.ndarray = field(init=False)
    held_WM: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.best_WM = np.full((self.n_ways, self.n), -np.inf)
        self.partner_WM = np.full((self.n_ways, self.n), -1)
        self.held_WM = np.full((2, self.n), np.nan)

    def see(
        self,
        way: int,
        at: slice,
        first: int,
        rho_XC: np.ndarray,
        other_XC: np.ndarray | None = None,
    ) -> None:
        """Take notice of candidates.

        Args:
            way: Which blocks are left out.
            at: For which latents they are candidates.
            first: The number of the first candidate.
            rho_XC: Their correlations with these latents.
            other_XC: Of a half, the same on the other half.
        """
        every_C = np.arange(rho_XC.shape[1])
        here_C = rho_XC.argmax(0)
        value_C = rho_XC[here_C, every_C]
        better_C = value_C > self.best_WM[way, at]
        self.best_WM[way, at][better_C] = value_C[better_C]
        self.partner_WM[way, at][better_C] = here_C[better_C] + first
        if other_XC is not None:
            self.held_WM[way - 1, at][better_C] = other_XC[here_C, every_C][better_C]


class Walk:
    """One pass over the products of the codes, block by block of A's latents."""

    def __init__(
        self,
        sides: tuple[Firings, Firings],
        block_N: np.ndarray,
        groupings: Sequence[np.ndarray],
        min_firings: int,
        *,
        intervals: bool,
    ) -> None:
        """Add up what is needed beside the products.

        Args:
            sides: The codes of both, by blocks of documents.
            block_N: The block of each row; those of even numbers are one half.
            groupings: Groups of rows whose means are taken off, one after another.
            min_firings: Fewest rows in which a latent fires that counts.
            intervals: Whether every block is left out in turn.
        """
        self.sides, self.min_firings = sides, min_firings
        every_B = np.arange(int(block_N.max()) + 1)
        self.ways = [every_B, every_B[::2], every_B[1::2]]
        self.ways += [np.delete(every_B, b) for b in every_B] if intervals else []
        self.rows_B = np.bincount(block_N)
        self.means = [
            [[means.over(way) for way in self.ways] for means in pair]
            for group_N in groupings
            for pair in [[Means.of(side, group_N, block_N) for side in sides]]
        ]
        self.best = [[_Best(side.n_latents, len(self.ways)) for side in sides] for _ in groupings]

    def matches(self) -> list[tuple[Match, Match]]:
        """Return the matches of both sides, for each grouping."""
        for latents, products_BCL in self._products():
            totals = [products_BCL[way].sum(0) for way in self.ways[:3]]
            for (of_a, of_b), best in zip(self.means, self.best, strict=True):
                rho = [
                    self._rho(total, a, b, latents)
                    for total, a, b in zip(totals, of_a, of_b, strict=False)
                ]
                for way, rho_CL in enumerate(rho):
                    self._see(best, way, latents, rho_CL, rho)
                for way, left_out in enumerate(range(len(self.ways) - 3), 3):
                    total_CL = totals[_ALL] - products_BCL[left_out]
                    rho_CL = self._rho(total_CL, of_a[way], of_b[way], latents)
                    self._see(best, way, latents, rho_CL, rho)
        return [
            (self._match(best[0], 0, of_a), self._match(best[1], 1, of_b))
            for (of_a, of_b), best in zip(self.means, self.best, strict=True)
        ]

    def _products(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the products of some latents of A with all of B, over each block of documents."""
        a, b = self.sides
        n_blocks = len(self.rows_B)
        size = max(1, _ENTRIES // (n_blocks * b.n_latents))
        for first in range(0, a.n_latents, size):
            latents = slice(first, min(first + size, a.n_latents))
            yield (
                latents,
                np.stack(
                    [
                        (turned[latents] @ part).toarray()
                        for turned, part in zip(a.turned, b.by_block, strict=True)
                    ]
                ),
            )

    def _rho(
        self, total_CL: np.ndarray, a: OverBlocks, b: OverBlocks, latents: slice
    ) -> np.ndarray:
        """Return correlations; minus infinity where one has none, or fires too seldom."""
        rho_CL = total_CL - a.explained_with(b, latents)
        norm_C = np.where(self._frequent(0)[latents], a.norm_M[latents], np.nan)
        norm_L = np.where(self._frequent(1), b.norm_M, np.nan)
        rho_CL /= norm_C[:, None]
        rho_CL /= norm_L
        return np.nan_to_num(rho_CL, copy=False, nan=-np.inf)

    def _frequent(self, side: int) -> np.ndarray:
        return self.sides[side].n_firings_M >= self.min_firings

    def _see(
        self,
        best: Sequence[_Best],
        way: int,
        latents: slice,
        rho_CL: np.ndarray,
        halves: Sequence[np.ndarray],
    ) -> None:
        """Take notice of some latents of A, from both sides."""
        other_CL = halves[3 - way] if way in _HALVES else None
        other_LC = None if other_CL is None else other_CL.T
        best[0].see(way, latents, 0, rho_CL.T, other_LC)
        best[1].see(way, slice(None), latents.start, rho_CL, other_CL)

    def _match(self, best: _Best, side: int, means: Sequence[OverBlocks]) -> Match:
        value_M = best.best_WM[_ALL]
        counted_M = np.isfinite(value_M)
        n, firings_M = int(counted_M.sum()), self.sides[side].n_firings_M
        n_left_out = len(value_M) - n
        if n == 0:
            return Match(None, n_left_out=n_left_out, reason=self._why_none(means))
        kept_M, weight_M = value_M[counted_M], firings_M[counted_M]
        partner_M = np.where(counted_M, best.partner_WM[_ALL], -1)
        chosen_HM, held_HM = (
            np.where(np.isfinite(of) & counted_M, of, np.nan)
            for of in (best.best_WM[list(_HALVES)], best.held_WM)
        )
        held = np.nanmean(held_HM) if np.isfinite(held_HM).any() else np.nan
        without_B = np.array([row[np.isfinite(row)].mean() for row in best.best_WM[3:]])
        interval = None
        if len(without_B):
            interval = delete_group_interval(
                float(kept_M.mean()), without_B, self.rows_B, unit="block of documents",
                bounds=(-1.0, 1.0),
            )  # fmt: skip
        return Match(
            value=float(kept_M.mean()),
            held_out=None if np.isnan(held) else float(held),
            median=float(np.median(kept_M)),
            share_high=float((kept_M > HIGH).mean()),
            weighted=float(np.average(kept_M, weights=weight_M)),
            distinct=len(np.unique(partner_M[counted_M])) / n,
            n=n,
            n_left_out=n_left_out,
            interval=interval,
            best_M=np.where(counted_M, value_M, np.nan),
            partner_M=partner_M,
            chosen_HM=chosen_HM,
            held_HM=held_HM,
        )

    def _why_none(self, means: Sequence[OverBlocks]) -> str:
        if not all(self._frequent(side).any() for side in (0, 1)):
            return f"no latent of one side fires in {self.min_firings} rows or more"
        if not np.isfinite(means[_ALL].norm_M).any():
            return "the groups explain all latents: no variance is left beyond them"
        return "no latent of the other side is left to be a partner"
