"""What answers tell of the right ones: I(answer; target) / H(target), from counts.

Answers that are turned round tell as much as right ones; accuracy calls them wrong. Shape suffixes:
``B`` sequences, ``T`` positions, ``N`` cells (scored positions), ``P`` pairs of a target and an
answer that occur, ``R`` resamples, ``V`` values that are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOT_ASKED = -1
"""Target or answer at a position that does not count."""


@dataclass(frozen=True)
class Cells:
    """Which answers stand beside which targets, counted for every sequence.

    Attributes:
        count_BP: How often a sequence has each pair.
        target_P: Index of the target of each pair.
        answer_P: Index of its answer.
    """

    count_BP: np.ndarray
    target_P: np.ndarray
    answer_P: np.ndarray

    @classmethod
    def of(cls, target_BT: np.ndarray, answer_BT: np.ndarray) -> Cells:
        """Count pairs at the positions where neither is :data:`NOT_ASKED`.

        Args:
            target_BT: Indices of targets.
            answer_BT: Indices of answers.
        """
        row_N, position_N = np.nonzero((target_BT != NOT_ASKED) & (answer_BT != NOT_ASKED))
        target_N, answer_N = (x_BT[row_N, position_N] for x_BT in (target_BT, answer_BT))
        width = int(answer_N.max(initial=0)) + 1
        code_P, place_N = np.unique(target_N * width + answer_N, return_inverse=True)
        shape = len(target_BT), len(code_P)
        counted = np.bincount(row_N * len(code_P) + place_N, minlength=shape[0] * shape[1])
        return cls(counted.reshape(shape).astype(np.float64), code_P // width, code_P % width)


def informed(cells: Cells, weight_RB: np.ndarray) -> np.ndarray:
    """Return the share of what there is to know of the targets that the answers tell, ``(R,)``.

    U = I(answer; target) / H(target), Theil's uncertainty coefficient, over all cells together: 1
    where answers settle the targets, 0 where they say nothing. Entropies are those of the observed
    shares with the correction of Miller 1955 (Note on the bias of information estimates), + (m - 1)
    / (2 N) nats for m values that occur among N cells; so that of the information is
    (m_target + m_answer - m_both - 1) / (2 N) (Roulston 1999, Physica D 125, 285). It
    leaves an error of order 1 / N^2, and takes cells for independent draws. U is cut to [0, 1].

    Args:
        cells: The counts.
        weight_RB: How often every resample holds each sequence; ones give the plain value.

    Returns:
        Shares; NaN where a resample has no cell, or a single target.
    """
    return told(cells, weight_RB @ cells.count_BP)


def told(cells: Cells, joint_RP: np.ndarray) -> np.ndarray:
    """Return the same of other counts of the pairs."""
    of_target_R, of_answer_R = (
        _entropy(joint_RP @ (of_P[:, None] == np.unique(of_P)).astype(np.float64))
        for of_P in (cells.target_P, cells.answer_P)
    )
    of_both_R = _entropy(joint_RP)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_R = (of_target_R + of_answer_R - of_both_R) / of_target_R
    return np.where(of_target_R > 0, np.clip(share_R, 0.0, 1.0), np.nan)


def lost(clean: Cells, erased: Cells, weight_RB: np.ndarray) -> np.ndarray:
    """Return the share of the information in clean answers that erased ones lack, ``(R,)``."""
    return share_lost(informed(clean, weight_RB), informed(erased, weight_RB))


def share_lost(clean_R: np.ndarray, erased_R: np.ndarray) -> np.ndarray:
    """Return 1 - U_erased / U_clean of what clean and erased answers tell.

    It is at most 1, where erased answers tell nothing; NaN where clean ones tell nothing.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(clean_R > 0, 1.0 - erased_R / clean_R, np.nan)


def _entropy(count_RV: np.ndarray) -> np.ndarray:
    """Return the corrected entropy of counts in nats, ``(R,)``; NaN without any, 0 of one value."""
    total_R, occur_R = count_RV.sum(1), (count_RV > 0).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_RV = np.log(np.where(count_RV > 0, count_RV, 1.0))
        plain_R = np.log(total_R) - (count_RV * log_RV).sum(1) / total_R
        return np.where(total_R > 0, plain_R + (occur_R - 1) / (2 * total_R), np.nan)
