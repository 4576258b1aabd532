"""What erasing a variable at a layer costs, on arrays, and the layers where the cost counts.

Shape suffixes: ``L`` layers 0 to n, ``B`` sequences, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mecheval.metrics.resampling import mean_ignoring_nan


@dataclass(frozen=True)
class Answers:
    """Share of right answers per sequence.

    Attributes:
        clean_B: Without erasure.
        erased_LB: With the variable erased at a layer.
        random_LB: Mean over the random subspaces that were tried on the sequence; NaN where none.
    """

    clean_B: np.ndarray
    erased_LB: np.ndarray
    random_LB: np.ndarray

    def at(self, layer_B: np.ndarray) -> Answers:
        """Return the answers with one layer for every sequence, as if it were the only one."""
        row_B = np.arange(len(layer_B))
        return Answers(
            self.clean_B, self.erased_LB[layer_B, row_B][None], self.random_LB[layer_B, row_B][None]
        )

    def lost(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the accuracy that erasure takes beyond what random subspaces take, ``(R, L)``."""
        clean_B1 = self.clean_B[:, None]
        erased_RL = mean_ignoring_nan(weight_RB, clean_B1 - self.erased_LB.T)
        return erased_RL - mean_ignoring_nan(weight_RB, clean_B1 - self.random_LB.T)

    def lost_B(self) -> np.ndarray:
        """Return what every sequence adds to that mean, of the only layer, ``(B,)``."""
        at_random_B = self.clean_B - self.random_LB[0]
        tried_B = ~np.isnan(at_random_B)
        of_tried_B = np.where(tried_B, at_random_B, 0.0) / tried_B.mean()
        return self.clean_B - self.erased_LB[0] - of_tried_B


def cost(answers: Answers, weight_RB: np.ndarray, level: float) -> np.ndarray:
    """Return what erasure costs above random subspaces, as a share of what there is to lose.

    Cost_l = (Acc - Acc_l,erased - mean over random subspaces of (Acc - Acc_l,random))
    / (Acc - level) (formal_languages 5.2, where the level is chance).

    Args:
        answers: Right answers per sequence.
        weight_RB: Weights of the sequences; a row of ones gives the plain value.
        level: Accuracy of what needs no variable: the task's floor, or a uniform guess.

    Returns:
        Shape ``(R, L)``; NaN where the accuracy is not above the level.
    """
    room_R1 = mean_ignoring_nan(weight_RB, answers.clean_B[:, None]) - level
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room_R1 > 0, answers.lost(weight_RB) / room_R1, np.nan)


def refit_recovery(refit_L: np.ndarray, before_L: np.ndarray, chance: float) -> np.ndarray:
    """Return E = (A_refit - chance) / (A - chance): what a fresh probe still reads.

    Chance is the balanced accuracy of a constant guess, 1/S. The window floors are no
    measure here: they would let a probe pass that still reads what the last tokens say, which
    an eraser of the variable removes as well.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(before_L > chance, (refit_L - chance) / (before_L - chance), np.nan)


@dataclass(frozen=True)
class Validity:
    """Which layers can be the bottleneck.

    Attributes:
        readable_L: The variable is there: erasing what is not there removes whatever else the
            class means differ by, at an embedding the token itself.
        removed_L: A refitted probe does not recover it.
        kept_L: Random subspaces of the same dimension leave the answers intact.
        trivial_L: Only the final norm and the head follow, so that erasure must hurt.
    """

    readable_L: np.ndarray
    removed_L: np.ndarray
    kept_L: np.ndarray
    trivial_L: np.ndarray

    @property
    def valid_L(self) -> np.ndarray:
        """Return the layers that pass all checks and are not trivial."""
        return self.readable_L & self.removed_L & self.kept_L & ~self.trivial_L

    def objection(self, refit_L: np.ndarray) -> str | None:
        """Say why no layer is valid, None if one is.

        Args:
            refit_L: Refit recovery, which the message quotes.
        """
        if self.valid_L.any():
            return None
        inner_L = self.readable_L & ~self.trivial_L
        if not inner_L.any():
            return "the variable is readable at no layer before the last block's output"
        if not (inner_L & self.removed_L).any():
            layer = np.flatnonzero(inner_L)[refit_L[inner_L].argmin()]
            return (
                "the refitted probe recovers the variable at every layer where it is readable: by "
                f"{refit_L[layer]:.2f} of what there was at layer {layer}, where it does least"
            )
        return "random subspaces of the same dimension break the answers at every valid layer"
