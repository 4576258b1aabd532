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
    n, length = kind_BS.shape
    depth_BT = np.zeros((n, length + 1), np.int64)
    np.cumsum(np.sign(kind_BS), axis=1, out=depth_BT[:, 1:])
    if depth_BT.min() < 0 or depth_BT.max() > deepest:
        raise ValueError("Not a prefix of a word of this language: its depth is out of range.")
    opener_BTM = np.zeros((n, length + 1, deepest + 1), np.int64)
    for level in range(1, deepest + 1):
        opened_BS = np.where((kind_BS > 0) & (depth_BT[:, 1:] == level), np.arange(length), 0)
        np.maximum.accumulate(opened_BS, axis=1, out=opener_BTM[:, 1:, level])
    row_X, position_X = np.nonzero(kind_BS < 0)
    opened_X = opener_BTM[row_X, position_X, depth_BT[row_X, position_X]]
    if (kind_BS[row_X, opened_X] != -kind_BS[row_X, position_X]).any():
        raise ValueError("Not a prefix of a word of this language: a bracket closes another type.")
    row_B1, column_T = np.arange(n)[:, None], np.arange(length + 1)
    innermost_BT = opener_BTM[row_B1, column_T, depth_BT]
    kind_BT = np.where(depth_BT > 0, kind_BS[row_B1, innermost_BT], 0)
    return Nesting(opener_BTM, depth_BT, kind_BT, innermost_BT)
