"""Two circuits as vectors: what every place of a network does for the answer, held side by side.

A place is a component at a role of the sequence, such as what a mixer writes out at the query; its
number is the share of an answer that moves with its activation. Networks of different depths meet
at shares of their depth: a layer of a network of ``L`` covers ``1 / L`` of it.

Shape suffixes: ``C`` components, ``L`` layers, ``R`` roles, ``D`` depths, ``N`` places that two
networks share, ``J`` permutations, ``O`` offsets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEWEST = 4
"""Fewest places of a correlation."""


class Null(NamedTuple):
    """What a number is when places are permuted.

    Attributes:
        mean: Its mean over permutations.
        low: Where 95 % of them begin.
        high: Where these end.
    """

    mean: float
    low: float
    high: float


class Likeness(NamedTuple):
    """How alike two vectors of shares are.

    Attributes:
        correlation: Pearson's; None where fewer than four places are shared, or one of the networks
            has the same number at all of them.
        closeness: 1 minus the mean absolute difference: 1 for equal vectors.
        correlation_null: The correlation of one vector with permutations of the other; None where
            there is no correlation, or no permutation changes anything.
        closeness_null: The same of the closeness.
        n: Places that both have.
    """

    correlation: float | None
    closeness: float | None
    correlation_null: Null | None
    closeness_null: Null | None
    n: int


def by_depth(value_CLR: np.ndarray, n_depths: int) -> np.ndarray:
    """Return the mean over the layers that lie in each of ``n_depths`` equal parts of the depth.

    Args:
        value_CLR: A number per component, layer and role; NaN where there is none.
        n_depths: Number of parts.

    Returns:
        Shape ``(C, D, R)``: layers weigh by how much of them lies in a part; NaN where no layer of
        a part has a number.

    Examples:
        >>> import numpy as np
        >>> by_depth(np.array([[[0.0], [1.0]]]), 4)[0, :, 0]
        array([0., 0., 1., 1.])
    """
    n_layers = value_CLR.shape[1]
    edge_D, edge_L = np.arange(n_depths) / n_depths, np.arange(n_layers) / n_layers
    overlap_DL = np.minimum(edge_D[:, None] + 1 / n_depths, edge_L + 1 / n_layers)
    overlap_DL = np.maximum(overlap_DL - np.maximum(edge_D[:, None], edge_L), 0)
    overlap_DL[overlap_DL < 1e-9] = 0  # what rounding leaves of layers that only touch
    known_CLR = np.isfinite(value_CLR)
    weight_CDR = np.einsum("dl,clr->cdr", overlap_DL, known_CLR.astype(float))
    total_CDR = np.einsum("dl,clr->cdr", overlap_DL, np.where(known_CLR, value_CLR, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight_CDR > 0, total_CDR / weight_CDR, np.nan)


def likeness(
    a_N: np.ndarray,
    b_N: np.ndarray,
    rng: np.random.Generator,
    *,
    groups_N: np.ndarray | None = None,
    n_permutations: int = 1000,
) -> Likeness:
    """Compare two vectors of shares, clipped to 0 to 1, at the places where both have a number.

    The correlation does not see how strong effects are on the whole; the closeness does. The null
    is one vector with its places permuted within groups, such as a component's layers and roles:
    that keeps how strong its effects are, and how much of them every group has. Without groups any
    place may take any other's.

    Args:
        a_N: One vector; NaN where there is no number.
        b_N: The other one, of the same places.
        rng: Source of the permutations.
        groups_N: The group of every place, as whole numbers; all are of one by default.
        n_permutations: Their number.

    Examples:
        >>> import numpy as np
        >>> shares_N = np.array([0.0, 0.1, 0.9, 1.0, 0.5])
        >>> round(likeness(shares_N, shares_N / 2, np.random.default_rng(0)).correlation, 6)
        1.0
    """
    shared_N = np.isfinite(a_N) & np.isfinite(b_N)
    a_N, b_N = np.clip(a_N[shared_N], 0, 1), np.clip(b_N[shared_N], 0, 1)
    if not len(a_N):
        return Likeness(None, None, None, None, 0)
    closeness = 1 - float(np.abs(a_N - b_N).mean())
    if len(a_N) < FEWEST or not (np.ptp(a_N) > 1e-9 and np.ptp(b_N) > 1e-9):
        return Likeness(None, closeness, None, None, len(a_N))
    groups_N = np.zeros(len(a_N), int) if groups_N is None else groups_N[shared_N]
    order_JN = _permutations(groups_N, n_permutations, rng)
    standard_a_N, standard_b_N = ((x_N - x_N.mean()) / x_N.std() for x_N in (a_N, b_N))
    return Likeness(
        float(standard_a_N @ standard_b_N / len(a_N)),
        closeness,
        _null(standard_b_N[order_JN] @ standard_a_N / len(a_N)),
        _null(1 - np.abs(b_N[order_JN] - a_N).mean(1)),
        len(a_N),
    )


def _permutations(groups_N: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return permutations in which every place takes one of its own group's."""
    order_JN = np.empty((n, len(groups_N)), int)
    place_N = np.argsort(groups_N, kind="stable")
    order_JN[:, place_N] = np.argsort(groups_N + rng.random((n, len(groups_N))), axis=1)
    return order_JN


def _null(value_J: np.ndarray) -> Null | None:
    """Return where values over permutations lie; None where all are the same."""
    if not np.ptp(value_J) > 1e-9:
        return None
    low, high = np.quantile(value_J, [0.025, 0.975])
    return Null(float(value_J.mean()), float(low), float(high))


def movers_distance(a_O: np.ndarray, b_O: np.ndarray) -> float | None:
    """Return the earth mover's distance between two profiles over the same offsets, in positions.

    Effects below zero count as none. A network whose memory takes a token up one position later
    than another one's is at a distance of 1, however alike the two are in all that can be read.

    Returns:
        The distance; None where one of the profiles has no effect at all.

    Examples:
        >>> import numpy as np
        >>> movers_distance(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.8]))
        1.0
    """
    a_O, b_O = (np.clip(np.nan_to_num(x_O), 0, None) for x_O in (a_O, b_O))
    if not (a_O.sum() > 0 and b_O.sum() > 0):
        return None
    gap_O = np.cumsum(a_O / a_O.sum()) - np.cumsum(b_O / b_O.sum())
    return float(np.abs(gap_O).sum())  # offsets are one position apart
