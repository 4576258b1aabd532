"""How good a dictionary is: what it explains, how sparsely, and how much of that groups explain.

Shape suffixes: ``N`` rows, ``M`` latents, ``A`` latents that fire often enough, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from mecheval.dictionaries.statistics import Sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.dictionaries.codes import SparseCodes
    from mecheval.dictionaries.dictionary import Dictionary
    from mecheval.dictionaries.rows import Rows

FEWEST = 25
"""A latent that fires in fewer rows says nothing."""


@dataclass(frozen=True)
class Quality:
    """Numbers of one dictionary on one set of rows; what is undefined is None.

    Attributes:
        fve: Fraction of variance explained, ``1 - sum |x - x^|^2 / sum |x - mean|^2``, of sums over
            all rows; of what is left without means of groups where the dictionary takes them off.
        l0: Latents that fire in a row, on average.
        alive: Share of latents that fire in 25 rows or more.
        group_share: Share of the variance of the rows themselves that means of groups explain. It
            is taken from the rows that it is measured on: groups of few rows raise it.
        latent_group_share: The same of latents that are alive, their median.
        n_rows: Rows that count.
        n_left_out: Rows whose norm is above the dictionary's limit.
        reasons: Why a number is None, by its name.
    """

    fve: float | None
    l0: float | None
    alive: float | None
    group_share: float | None
    latent_group_share: float | None
    n_rows: int
    n_left_out: int
    reasons: Mapping[str, str] = field(default_factory=dict)


def measured(dictionary: Dictionary, rows: Rows, codes: SparseCodes) -> Quality:
    """Measure a dictionary on rows and their codes; sums are in float64."""
    kept_N, missed, spread = _errors(dictionary, rows, codes)
    n_rows = int(kept_N.sum())
    found: dict[str, float | None] = dict.fromkeys(
        ("fve", "l0", "alive", "group_share", "latent_group_share")
    )
    if not n_rows:
        why = f"the norms of all {len(kept_N)} rows are above {dictionary.norm_limit:g}"
        return Quality(**found, n_rows=0, n_left_out=len(kept_N), reasons=dict.fromkeys(found, why))
    reasons = {}
    alive_M = codes.firings() >= FEWEST
    found |= {"l0": codes.csr.nnz / n_rows, "alive": float(alive_M.mean())}
    if spread > 0:
        found["fve"] = 1 - missed / spread
    else:
        reasons["fve"] = "the rows are all the same"
    if rows.groups_N is None:
        reasons |= dict.fromkeys(("group_share", "latent_group_share"), "no groups are given")
    else:
        shares = _group_shares(dictionary, rows, codes, kept_N)
        found |= {name: value for name, (value, _) in shares.items()}
        reasons |= {name: why for name, (value, why) in shares.items() if value is None}
    return Quality(**found, n_rows=n_rows, n_left_out=len(kept_N) - n_rows, reasons=reasons)


def _errors(
    dictionary: Dictionary, rows: Rows, codes: SparseCodes
) -> tuple[np.ndarray, float, float]:
    """Return which rows count, what is missed of them and what there is, as sums of squares."""
    kept, missed, squares, sum_D = [], 0.0, 0.0, 0.0
    for where, block_BD in rows.blocks(dictionary.device):
        kept_B = block_BD.norm(dim=1) <= dictionary.norm_limit
        rest_BD = dictionary.without_means(block_BD, rows.groups_N, where)[kept_B]
        found_BD = dictionary.explained(codes, where)[kept_B]
        missed += float((rest_BD - found_BD).double().square().sum())
        squares += float(rest_BD.double().square().sum())
        sum_D = sum_D + rest_BD.double().sum(0).cpu().numpy()
        kept.append(kept_B.cpu().numpy())
    kept_N = np.concatenate(kept)
    spread = squares - float(np.square(sum_D).sum()) / max(1, int(kept_N.sum()))
    return kept_N, missed, spread if spread > 1e-12 * squares else 0.0


def _group_shares(
    dictionary: Dictionary, rows: Rows, codes: SparseCodes, kept_N: np.ndarray
) -> dict[str, tuple[float | None, str]]:
    """Return the shares of variance that groups explain, or why there are none."""
    sums = Sums.of(rows, dictionary.norm_limit, dictionary.device)
    total = sums.squares - sums.squares_of_mean
    between = sums.squares_of_groups - sums.squares_of_mean
    share = between / total if total > 1e-12 * sums.squares else None
    latents_A = latent_group_shares(codes.select(kept_N), _kept_groups(rows, kept_N))
    median = float(np.median(latents_A)) if len(latents_A) else None
    return {
        "group_share": (share, "the rows are all the same"),
        "latent_group_share": (median, f"no latent varies and fires in {FEWEST} rows"),
    }


def _kept_groups(rows: Rows, kept_N: np.ndarray) -> np.ndarray:
    if rows.groups_N is None:
        return np.zeros(int(kept_N.sum()), np.int64)
    return rows.groups_N[kept_N]


def latent_group_shares(codes: SparseCodes, groups_N: np.ndarray) -> np.ndarray:
    """Return which share of the variance of each latent groups explain, float64 ``(A,)``.

    Args:
        codes: Codes of N rows.
        groups_N: The group of each row, whole numbers from 0.

    Returns:
        The shares of the latents that fire in 25 rows or more and are not the same in all.
    """
    n_rows = len(groups_N)
    counts_G = np.bincount(groups_N)
    places = np.ones(n_rows), (groups_N, np.arange(n_rows))
    members_GN = sparse.csr_array(places, shape=(len(counts_G), n_rows))
    sums_GM = sparse.coo_array(members_GN @ codes.csr.astype(np.float64))
    weights_E = sums_GM.data**2 / counts_G[sums_GM.row]
    of_mean_M = codes.sums() ** 2 / max(1, n_rows)
    between_M = np.bincount(sums_GM.col, weights_E, codes.shape[1]) - of_mean_M
    squares_M = codes.squares()
    total_M = squares_M - of_mean_M
    usable_M = (codes.firings() >= FEWEST) & (total_M > 1e-12 * squares_M)
    return between_M[usable_M] / total_M[usable_M]
