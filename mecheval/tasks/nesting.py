"""Where the brackets stand that are open, at every position of sequences of them.

Shape suffixes: ``B`` sequences, ``S`` symbols, ``T`` positions (BOS included), ``M`` depths.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Nesting(NamedTuple):
    """What is open at every position.

    Attributes:
        opener_BTM: Index of the symbol that opened every depth, 0 where nothing did yet.
        depth_BT: How many brackets are open.
        kind_BT: Kind of the innermost open one, 0 where none is open.
        innermost_BT: Index of the symbol that opened it, 0 where none is open.
    """

    opener_BTM: np.ndarray
    depth_BT: np.ndarray
    kind_BT: np.ndarray
    innermost_BT: np.ndarray


def nesting(kind_BS: np.ndarray, deepest: int) -> Nesting:
    """Match the brackets of sequences that begin with none open.

    Args:
        kind_BS: The kind of a bracket from 1 on where one opens, its negative where one closes, 0
            elsewhere.
        deepest: Greatest depth M - 1.

    Raises:
        ValueError: A sequence closes what is not open, or nests too deep.
    """
    found = nested(np.sign(kind_BS), kind_BS, deepest)
    # A bracket closes what was innermost before it.
    if ((kind_BS < 0) & (found.kind_BT[:, :-1] != -kind_BS)).any():
        raise ValueError("Not a prefix of a word of this language: a bracket closes another type.")
    return found


def nested(step_BS: np.ndarray, kind_BS: np.ndarray, deepest: int) -> Nesting:
    """Do the same where brackets close whatever is innermost.

    Args:
        step_BS: 1 where a bracket opens, -1 where one closes, 0 elsewhere.
        kind_BS: The kinds of those that open.
        deepest: Greatest depth M - 1.

    Raises:
        ValueError: A sequence closes when nothing is open, or nests too deep.
    """
    n, length = step_BS.shape
    # Position by position: what runs along a sequence then runs over all of them at once.
    step_SB, kind_SB = (np.ascontiguousarray(x_BS.T) for x_BS in (step_BS, kind_BS))
    depth_TB = np.zeros((length + 1, n), np.int64)
    np.cumsum(step_SB, axis=0, out=depth_TB[1:])
    if depth_TB.min() < 0 or depth_TB.max() > deepest:
        raise ValueError("Not a prefix of a word of this language: its depth is out of range.")
    opener_MTB = np.zeros((deepest + 1, length + 1, n), np.int64)
    for level in range(1, deepest + 1):
        opened_SB = (step_SB > 0) & (depth_TB[1:] == level)
        index_SB = np.where(opened_SB, np.arange(length)[:, None], 0)
        np.maximum.accumulate(index_SB, axis=0, out=opener_MTB[level, 1:])
    innermost_TB = np.take_along_axis(opener_MTB, depth_TB[None], 0)[0]
    kind_TB = np.where(depth_TB > 0, np.take_along_axis(kind_SB, innermost_TB, 0), 0)
    by_sequence = (np.ascontiguousarray(x_TB.T) for x_TB in (depth_TB, kind_TB, innermost_TB))
    return Nesting(opener_MTB.T, *by_sequence)
