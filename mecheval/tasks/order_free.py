"""What is known of a product without its order: the best guess from which letters there were.

All orders of independent letters are equally likely. Of every bag of a few letters the share of its
orders that multiply to each element is worked out exactly, a letter at a time; of a larger bag only
what no order changes is used, the coset of the commutators. The identity is in no bag.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols of a sequence, ``G``
elements of the group, ``M`` bags of one size, ``K`` letters of a bag, ``V`` values of a target.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval.tasks.groups import commutators, cosets

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER_FREE = "order_free"
"""The name of the rule; it is reported beside the floors, and corrects nothing."""

LARGEST_BAG = 16
"""Most letters of a bag whose orders are gone through; fewer where there are too many such bags."""

_MOST_CELLS = 1 << 22  # bags of one size times elements


def best_guesses(
    table_GG: np.ndarray, elements_BS: np.ndarray, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Guess values of the running product from the elements so far, whatever their order.

    Args:
        table_GG: ``table_GG[a, b]`` is a followed by b; element 0 is the identity.
        elements_BS: Words of independent elements.
        values: What is to be guessed, as a value of every element ``(G,)``, by name.

    Returns:
        By name the likeliest value ``(B, T)``, without those that no order changes.
    """
    coset_G = cosets(table_GG, commutators(table_GG))
    first_C = np.unique(coset_G, return_index=True)[1]
    open_ = {name: v for name, v in values.items() if (v != v[first_C[coset_G]]).any()}
    if not open_:
        return {}
    letter_G = np.full(len(table_GG), len(table_GG))
    used = np.setdiff1d(np.unique(elements_BS), [0])
    letter_G[used] = np.arange(len(used))
    n, length = elements_BS.shape
    bags = _bags(table_GG.tobytes(), tuple(used.tolist()), length)
    likeliest = {name: [_mode(p_MG, v) for p_MG in bags] for name, v in open_.items()}

    guess = {name: np.full((n, length + 1), v[0]) for name, v in open_.items()}
    coset_B, size_B = np.zeros(n, np.int64), np.zeros(n, np.int64)
    bag_BK = np.full((n, len(bags)), len(table_GG))
    for position in range(length):
        element_B = elements_BS[:, position]
        coset_B = coset_G[table_GG[first_C[coset_B], element_B]]
        size_B += element_B != 0
        # A letter more than the largest bag holds is lost, and its size says so.
        bag_BK = np.sort(np.c_[bag_BK, letter_G[element_B]], axis=1)[:, : len(bags)]
        for name, value_G in open_.items():
            guess[name][:, position + 1] = value_G[first_C[coset_B]]
        for size in range(len(bags)):
            rows_N = np.flatnonzero(size_B == size)
            rank_N = _rank(bag_BK[rows_N, :size])
            for name, by_size in likeliest.items():
                guess[name][rows_N, position + 1] = by_size[size][rank_N]
    return guess


def _mode(share_MG: np.ndarray, value_G: np.ndarray) -> np.ndarray:
    """Return the likeliest value of every bag, ``(M,)``."""
    of_value_GV = value_G[:, None] == np.arange(value_G.max() + 1)
    return (share_MG @ of_value_GV).argmax(1)


@lru_cache(maxsize=4)
def _bags(table: bytes, used: tuple[int, ...], longest: int) -> list[np.ndarray]:
    """Return by size the share of orders of every bag that multiply to each element, ``(M, G)``.

    Bags of one size stand in the order of their largest letter, then of the next one, and so on.
    """
    n_elements = math.isqrt(len(table) // 8)
    table_GG = np.frombuffer(table, np.int64).reshape(n_elements, n_elements)
    inverse_G = (table_GG == 0).argmax(1)
    bag_MK, share_MG = np.zeros((1, 0), np.int64), np.eye(1, n_elements)
    shares = [share_MG]
    for size in range(1, min(longest, LARGEST_BAG) + 1):
        if math.comb(len(used) + size - 1, size) * n_elements > _MOST_CELLS:
            break
        # The bags that hold no letter beyond this one come first.
        smaller = [math.comb(letter + size - 1, size - 1) for letter in range(len(used))]
        bag_MK = np.concatenate(
            [np.c_[bag_MK[:n], np.full(n, letter)] for letter, n in enumerate(smaller)]
        )
        next_MG = np.zeros((len(bag_MK), n_elements))
        for last in range(size):
            rest_M = _rank(np.delete(bag_MK, last, axis=1))
            before_MG = table_GG[:, inverse_G[np.array(used)[bag_MK[:, last]]]].T
            next_MG += np.take_along_axis(share_MG[rest_M], before_MG, axis=1) / size
        share_MG = next_MG
        shares.append(share_MG)
    return shares


def _rank(bag_MK: np.ndarray) -> np.ndarray:
    """Return the place of sorted bags among those of their size, ``(M,)``."""
    rank_M = np.zeros(len(bag_MK), np.int64)
    for place in range(bag_MK.shape[1]):
        highest = int(bag_MK[:, place].max(initial=0))
        count_L = np.array([math.comb(a + place, place + 1) for a in range(highest + 1)])
        rank_M += count_L[bag_MK[:, place]]
    return rank_M
