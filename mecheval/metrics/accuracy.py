"""Token, last-position and sequence accuracy of predicted answers, on arrays.

A target of -100 is not scored; a sequence without a scored position is left out.
Shape suffixes: ``B`` sequences, ``T`` positions.
"""

from __future__ import annotations

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks.batch import UNSCORED


def token_counts(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> np.ndarray:
    """Return right answers and scored positions per sequence, shape ``(2, B)``.

    Raises:
        UsageError: No position is scored.
    """
    scored_BT = targets_BT != UNSCORED
    if not scored_BT.any():
        raise UsageError(
            f"No position is scored: every reference is {UNSCORED}. Give at least one answer."
        )
    right_BT = (predictions_BT == targets_BT) & scored_BT
    return np.stack([right_BT.sum(1), scored_BT.sum(1)]).astype(np.float64)


def token_accuracy(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> float:
    """Return the share of scored positions that are right.

    Raises:
        UsageError: No position is scored.
    """
    right_B, scored_B = token_counts(predictions_BT, targets_BT)
    return float(right_B.sum() / scored_B.sum())


def last_right(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> np.ndarray:
    """Say of every sequence with a scored position whether the last one is right, as 0 and 1.

    Raises:
        UsageError: No position is scored.
    """
    _, scored_B = token_counts(predictions_BT, targets_BT)
    last_B = targets_BT.shape[1] - 1 - (targets_BT != UNSCORED)[:, ::-1].argmax(1)
    row_B = np.arange(len(targets_BT))
    right_B = predictions_BT[row_B, last_B] == targets_BT[row_B, last_B]
    return right_B[scored_B > 0].astype(np.float64)


def last_accuracy(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> float:
    """Return the share of sequences whose last scored position is right.

    Raises:
        UsageError: No position is scored.
    """
    return float(last_right(predictions_BT, targets_BT).mean())


def sequence_right(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> np.ndarray:
    """Say of every sequence with a scored position whether all of them are right, as 0 and 1.

    Raises:
        UsageError: No position is scored.
    """
    right_B, scored_B = token_counts(predictions_BT, targets_BT)
    return (right_B == scored_B)[scored_B > 0].astype(np.float64)


def sequence_accuracy(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> float:
    """Return the share of sequences whose scored positions are all right.

    Raises:
        UsageError: No position is scored.
    """
    return float(sequence_right(predictions_BT, targets_BT).mean())
