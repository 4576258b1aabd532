"""Rows of entries that are all different, drawn for many rows at once.

Shape suffixes: ``B`` rows, ``P`` entries of a row.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 64  # rounds, and 16 per entry, after which a row is drawn anew


def all_different(draw: Callable[[np.ndarray], np.ndarray], n: int) -> np.ndarray:
    """Draw ``n`` rows of entries, and draw those that repeat an earlier one of their row again.

    Where all entries are drawn alike, every row without repeats comes out equally often.

    Args:
        draw: Draws the rows of the given numbers.
        n: Number of rows.
    """
    entry_BP, left_B = draw(np.arange(n)), np.arange(n)
    patience = _PATIENCE + 16 * entry_BP.shape[1]
    for round_ in itertools.count(1):
        again_BP = _repeats(entry_BP[left_B])
        open_B = again_BP.any(1)
        left_B, again_BP = left_B[open_B], again_BP[open_B]
        if not len(left_B):
            break
        # The first entries of a row may have left nothing for the last one.
        again_BP |= round_ % patience == 0
        entry_BP[left_B] = np.where(again_BP, draw(left_B), entry_BP[left_B])
    return entry_BP


def _repeats(entry_BP: np.ndarray) -> np.ndarray:
    """Say which entries are equal to an earlier one of their row."""
    order_BP = entry_BP.argsort(1, kind="stable")
    ordered_BP = np.take_along_axis(entry_BP, order_BP, 1)
    same_BP = np.zeros(entry_BP.shape, bool)
    same_BP[:, 1:] = ordered_BP[:, 1:] == ordered_BP[:, :-1]
    again_BP = np.empty_like(same_BP)
    np.put_along_axis(again_BP, order_BP, same_BP, 1)
    return again_BP
