"""At which offsets the writes around a token carry it, and in which layers it is stored.

With e(l, o) what exchanging the write of layer l at the offset o takes from the answer of a pair,
and D the pair's gap, both added up over pairs:

    c(l, o) = sum e(l, o) / sum D, over the pairs of the halves in which the offset counts
    carried(l) = sum over o of c(l, o)        mu(l) = sum over o of o c(l, o) / carried(l)

An offset counts for one half of the pairs if its effect is above zero by two standard errors in the
other half. What does nothing then adds nothing on average. Clipping at zero, max(E, 0), adds the
positive half of the noise at every offset instead, and draws mu to the middle one.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``R`` resamples, ``V`` layers x offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mecheval.metrics import resampling

FIRST = -1  # the first offset
BEYOND = 2.0  # standard errors above zero from which an effect counts
STORAGE = 0.75  # share of the gap (of what all layers carry, where that is less) that is enough
MIN_CARRIED = 0.1  # share of the gap from which a layer counts as a storage
APART = 0.5  # offsets of storage layers that differ by more have no common mean


class Storage(NamedTuple):
    """Where a token is stored: the last layers whose writes together carry enough.

    Attributes:
        stores_RL: Which layers these are.
        carried_R: Share of the gap that their writes carry.
        mean_R: Mean offset of their writes; NaN where they carry nothing.
        apart_R: Whether layers among them store it at different offsets.
    """

    stores_RL: np.ndarray
    carried_R: np.ndarray
    mean_R: np.ndarray
    apart_R: np.ndarray


@dataclass(frozen=True)
class Offsets:
    """What writes carry, in resamples of pairs.

    Attributes:
        share_RLO: c(l, o) at the offsets ``FIRST``, ``FIRST + 1``, ...
    """

    share_RLO: np.ndarray

    @property
    def offset_O(self) -> np.ndarray:
        """Return the offsets."""
        return FIRST + np.arange(self.share_RLO.shape[-1])

    @cached_property
    def carried_RL(self) -> np.ndarray:
        """Return the share of the gap that a layer's writes carry."""
        return self.share_RLO.sum(-1)

    @cached_property
    def mean_RL(self) -> np.ndarray:
        """Return the mean offset of every layer; NaN where its writes carry nothing."""
        return _over(self.share_RLO @ self.offset_O, self.carried_RL)

    @property
    def off_by_one_RL(self) -> np.ndarray:
        """Return the weight of the offset 1 less that of the offset 0, in [-1, 1]."""
        one_RL, zero_RL = (self.share_RLO[..., offset - FIRST] for offset in (1, 0))
        return _over(one_RL - zero_RL, self.carried_RL)

    @cached_property
    def storage(self) -> Storage:
        """Return where the token is stored.

        A layer that reads what earlier ones stored carries it once more, so that shares of layers
        add up to more than the gap where storages follow each other. The last one is wanted, and it
        may be spread over layers. A layer that carries hardly anything is none.
        """
        carried_RL = np.where(self.carried_RL >= MIN_CARRIED, self.carried_RL, 0.0)
        onwards_RL = carried_RL[:, ::-1].cumsum(1)[:, ::-1]
        enough_R1 = STORAGE * np.minimum(onwards_RL[:, :1], 1.0)
        n_behind_RL = np.cumsum(onwards_RL >= enough_R1, axis=1)
        # The last layer from which on there is enough, and those behind it.
        from_it_RL = n_behind_RL >= n_behind_RL[:, -1:]
        stores_RL = from_it_RL & (carried_RL > 0)
        moment_RL = (self.share_RLO @ self.offset_O) * stores_RL
        carried_R = (carried_RL * stores_RL).sum(1)
        highest_R = np.where(stores_RL, self.mean_RL, -np.inf).max(1)
        lowest_R = np.where(stores_RL, self.mean_RL, np.inf).min(1)
        mean_R = _over(moment_RL.sum(1), carried_R)
        return Storage(stores_RL, carried_R, mean_R, highest_R - lowest_R > APART)


def offsets_of(change_LOP: np.ndarray, gap_P: np.ndarray, weight_RP: np.ndarray) -> Offsets:
    """Summarise what writes carry.

    Args:
        change_LOP: What exchanging one write takes from the answer of a pair; NaN is no such site,
            and carries nothing.
        gap_P: What exchanging the whole input takes.
        weight_RP: Weights of the pairs; a row of ones gives the plain value.
    """
    flat_PV = _flat(change_LOP)
    total_RV = np.zeros((len(weight_RP), flat_PV.shape[1]))
    own_2P = resampling.halves(len(gap_P))
    for own_P, other_P in (own_2P, own_2P[::-1]):
        counts_RV = _above_zero(flat_PV, weight_RP * other_P)
        total_RV += np.where(counts_RV, (weight_RP * own_P) @ flat_PV, 0.0)
    share_RV = total_RV / (weight_RP @ gap_P)[:, None]
    return Offsets(share_RV.reshape(-1, *change_LOP.shape[:2]))


def pair_shares(change_LOP: np.ndarray) -> np.ndarray:
    """Return what of every pair's changes counts, ``(L, O, P)``; :func:`offsets_of` adds it up."""
    flat_PV = _flat(change_LOP)
    own_2P = resampling.halves(len(flat_PV))
    even_1V, odd_1V = (_above_zero(flat_PV, other_P[None]) for other_P in own_2P[::-1])
    counts_PV = np.where(own_2P[0][:, None] == 1, even_1V, odd_1V)
    return np.where(counts_PV, flat_PV, 0.0).T.reshape(change_LOP.shape)


def _flat(change_LOP: np.ndarray) -> np.ndarray:
    return np.nan_to_num(change_LOP).reshape(-1, change_LOP.shape[-1]).T


def _above_zero(flat_PV: np.ndarray, weight_RP: np.ndarray) -> np.ndarray:
    """Say which sums over pairs are above zero by enough of their standard errors."""
    n_R1 = weight_RP.sum(1, keepdims=True)
    total_RV, square_RV = weight_RP @ flat_PV, weight_RP @ flat_PV**2
    with np.errstate(invalid="ignore", divide="ignore"):
        scatter_RV = np.maximum(square_RV - total_RV**2 / n_R1, 0.0)
        return total_RV > BEYOND * np.sqrt(scatter_RV * n_R1 / (n_R1 - 1))


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)
