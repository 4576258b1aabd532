"""How much of each latent groups of rows explain, such as those of one token: how simple it is.

In one sample the means of many groups explain something of any latent. So the means of one half of
the documents are held against those of the other: with c rows of a group in both halves together
and m, n its means in either,

    share = sum c (m - mean m) (n - mean n) / sum c / variance          over groups that are in both

which is 0 on average for groups that have nothing to do with a latent, however many they are.

Shape suffixes: ``N`` rows, ``M`` latents, ``G`` groups, ``H`` halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def share_explained(codes: Any, groups_N: ArrayLike, half_N: ArrayLike) -> np.ndarray:
    """Return the share of the variance of every latent that the means of groups explain.

    Args:
        codes: Codes ``(N, M)``, sparse by rows.
        groups_N: A whole number from 0 per row: its group.
        half_N: 0 or 1 per row: to which half of the documents it belongs.

    Returns:
        ``(M,)``; NaN for a latent that does not vary over the rows of groups that are in both
        halves, and for all where there are no such groups.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> group = np.arange(40) % 2
        >>> codes = sparse.csr_array(np.stack([group, np.arange(40) // 2 % 2], 1).astype(float))
        >>> share_explained(codes, group, np.arange(40) // 20).round(2).tolist()
        [1.0, 0.0]
    """
    _, group_N = np.unique(np.asarray(groups_N), return_inverse=True)
    half_N = np.asarray(half_N)
    count_HG = np.stack([np.bincount(group_N[half_N == h], minlength=group_N.max() + 1)
                         for h in (0, 1)])  # fmt: skip
    both_G = np.all(count_HG > 0, axis=0)
    kept_N = both_G[group_N]
    if not kept_N.any():
        return np.full(codes.shape[1], np.nan)
    number_G = np.cumsum(both_G) - 1
    group_N, half_N, count_HG = number_G[group_N[kept_N]], half_N[kept_N], count_HG[:, both_G]
    values: Any = sparse.csr_array(codes)[np.flatnonzero(kept_N)].astype(np.float64)
    weight_G = count_HG.sum(0) / count_HG.sum()
    means = [_means(values[half_N == h], group_N[half_N == h], count_HG[h]) for h in (0, 1)]
    centre = [np.asarray(mean.T @ weight_G) for mean in means]
    together_M = np.asarray(means[0].multiply(means[1]).T @ weight_G) - centre[0] * centre[1]
    mean_M = np.asarray(values.mean(0)).ravel()
    variance_M = np.asarray(values.multiply(values).mean(0)).ravel() - mean_M**2
    # What is left where nothing varies is rounding.
    variance_M = np.where(variance_M > _NOTHING * mean_M**2, variance_M, np.nan)
    return together_M / variance_M


_NOTHING = 1e-9


def _means(values: Any, group_N: np.ndarray, count_G: np.ndarray) -> Any:
    """Return the mean of every latent over the rows of each group, ``(G, M)``, sparse by rows."""
    share_N = 1.0 / count_G[group_N]
    places = (share_N, (group_N, np.arange(len(group_N))))
    members: Any = sparse.csr_array(places, shape=(len(count_G), len(group_N)))
    return (members @ values).tocsr()
