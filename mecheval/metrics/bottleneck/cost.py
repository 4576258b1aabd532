"""What erasing a variable at a layer costs beyond its null, on arrays, and which layers count.

Shape suffixes: ``L`` layers 0 to n, ``B`` sequences, ``T`` positions, ``R`` resamples, ``J`` draws
of the null.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.bottleneck.information import (
    NOT_ASKED,
    Cells,
    lost,
    share_lost,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

REMOVED = 0.1
"""Largest share of what a probe read that a refitted one may read where a variable is removed."""


@dataclass(frozen=True)
class NullCells:
    """Answers under the draws of a null, and without them on the same sequences.

    Attributes:
        clean: Without erasure; counts of all sequences of a draw, then those of the next.
        erased: Under the draws, likewise.
        n_draws: Number of draws J.
    """

    clean: Cells
    erased: Cells
    n_draws: int

    @classmethod
    def of(cls, target_BT: np.ndarray, clean_BT: np.ndarray, null_JBT: np.ndarray) -> NullCells:
        """Count answers; clean ones are not asked where a draw was not tried."""
        target_JBT = np.broadcast_to(target_BT, null_JBT.shape)
        tried_JBT = np.where(null_JBT == NOT_ASKED, NOT_ASKED, clean_BT)
        flat = (len(null_JBT) * len(target_BT), target_BT.shape[1])
        clean, erased = (
            Cells.of(target_JBT.reshape(flat), answer_JBT.reshape(flat))
            for answer_JBT in (tried_JBT, null_JBT)
        )
        return cls(clean, erased, len(null_JBT))

    def costs(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the share of the information that every draw takes, ``(R, J)``."""
        shape = len(weight_RB), self.n_draws
        row_N, draw_N = np.divmod(np.arange(shape[0] * shape[1]), self.n_draws)
        return self.of_draws(weight_RB[row_N], draw_N).reshape(shape)

    def of_draws(self, weight_RB: np.ndarray, draw_R: np.ndarray) -> np.ndarray:
        """Return the share that one draw takes in every resample, ``(R,)``."""
        return share_lost(*(self._told(c, weight_RB, draw_R) for c in (self.clean, self.erased)))

    def _told(self, cells: Cells, weight_RB: np.ndarray, draw_R: np.ndarray) -> np.ndarray:
        count_JBP = cells.count_BP.reshape(self.n_draws, weight_RB.shape[1], -1)
        joint_RP = np.empty((len(weight_RB), count_JBP.shape[-1]))
        for draw, count_BP in enumerate(count_JBP):
            joint_RP[draw_R == draw] = weight_RB[draw_R == draw] @ count_BP
        return told(cells, joint_RP)


@dataclass(frozen=True)
class AtLayer:
    """Answers under erasure at one layer, beside those without it.

    Attributes:
        clean: Without erasure.
        erased: With the variable erased.
        null: Under the draws of the null.
    """

    clean: Cells
    erased: Cells
    null: NullCells

    @classmethod
    def of(
        cls,
        target_BT: np.ndarray,
        clean_BT: np.ndarray,
        *,
        erased_BT: np.ndarray,
        null_JBT: np.ndarray,
    ) -> AtLayer:
        """Count answers; those of a draw of the null are not asked where it was not tried."""
        return cls(
            Cells.of(target_BT, clean_BT),
            Cells.of(target_BT, erased_BT),
            NullCells.of(target_BT, clean_BT, null_JBT),
        )

    def cost(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the share of the information in the answers that erasure takes, ``(R,)``."""
        return lost(self.clean, self.erased, weight_RB)


@dataclass(frozen=True)
class Costs:
    """Costs at the layers, beyond the mean of their null.

    Attributes:
        by_layer: The answers, None at layers where nothing was erased.
        weight_RB: Weights of resampled sequences.
        draw_R: The draw of the null that each resample is held against.
        null_LJ: Cost of every draw of the null; NaN where nothing was erased, or the draw's
            sequences have nothing to lose.
    """

    by_layer: Sequence[AtLayer | None]
    weight_RB: np.ndarray
    draw_R: np.ndarray
    null_LJ: np.ndarray

    @classmethod
    def of(cls, by_layer: Sequence[AtLayer | None], n: int, rng: np.random.Generator) -> Costs:
        """Draw resamples of the ``n`` sequences and of the null."""
        weight_RB = resampling.weights(n, rng)
        n_draws = next(at.null.n_draws for at in by_layer if at)
        once_1B, empty_J = np.ones((1, n)), np.full(n_draws, np.nan)
        null_LJ = np.stack([at.null.costs(once_1B)[0] if at else empty_J for at in by_layer])
        return cls(by_layer, weight_RB, rng.integers(n_draws, size=len(weight_RB)), null_LJ)

    @cached_property
    def resampled_RL(self) -> np.ndarray:
        """Return :meth:`resampled` at every layer."""
        return np.stack([self.resampled(layer) for layer in range(len(self.by_layer))], 1)

    @cached_property
    def _null_RL(self) -> np.ndarray:
        """Return the cost of one draw of the null in every resample."""
        nothing_R = np.full(len(self.weight_RB), np.nan)
        return np.stack(
            [
                at.null.of_draws(self.weight_RB, self.draw_R) if at else nothing_R
                for at in self.by_layer
            ],
            1,
        )

    @property
    def null_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the interval that holds most draws of the null, ``(L,)`` each."""
        return resampling.bounds(self.null_LJ.T)

    @property
    def null_L(self) -> np.ndarray:
        """Return the mean cost of the null."""
        once_1J = np.ones((1, self.null_LJ.shape[1]))
        return resampling.mean_ignoring_nan(once_1J, self.null_LJ.T)[0]

    def cost(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return what erasing costs, ``(R, L)``; NaN where nothing was erased."""
        nothing_R = np.full(len(weight_RB), np.nan)
        return np.stack([at.cost(weight_RB) if at else nothing_R for at in self.by_layer], 1)

    def beyond(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the cost beyond the null's mean, ``(R, L)``: never more than 1."""
        return np.minimum(self.cost(weight_RB) - self.null_L, 1.0)

    def beyond_at(self, layer: int, weight_RB: np.ndarray) -> np.ndarray:
        """Return the same at a layer where something was erased, ``(R,)``."""
        at = self.by_layer[layer]
        assert at is not None  # noqa: S101 - the layer was chosen among those
        return np.minimum(at.cost(weight_RB) - self.null_L[layer], 1.0)

    def resampled(self, layer: int, share_B: np.ndarray | None = None) -> np.ndarray:
        """Return the cost at a layer beyond that of one draw of the null, ``(R,)``.

        Its percentiles hold both kinds of chance, which sequences are asked and which labels the
        null was given: they are above 0 where the cost is above what the null can cost.

        Args:
            layer: The layer.
            share_B: Which sequences are asked, all if None; the null keeps all.
        """
        at = self.by_layer[layer]
        if at is None:
            return np.full(len(self.weight_RB), np.nan)
        weight_RB = self.weight_RB if share_B is None else self.weight_RB * share_B
        return np.minimum(at.cost(weight_RB) - self._null_RL[:, layer], 1.0)


@dataclass(frozen=True)
class HeldOut:
    """The cost at the best layer, chosen for either half of the sequences on the other half.

    Attributes:
        costs: Costs at all layers.
        layer_2: The layer of each half.
    """

    costs: Costs
    layer_2: np.ndarray

    @classmethod
    def among(cls, costs: Costs, layers: np.ndarray) -> HeldOut:
        """Choose among layers; the largest of several costs would be too large by noise."""
        halves_2B = resampling.halves(costs.weight_RB.shape[1])
        best_2 = layers[np.nan_to_num(costs.beyond(halves_2B)[:, layers], nan=-np.inf).argmax(1)]
        return cls(costs, best_2[::-1])

    @property
    def layers(self) -> np.ndarray:
        """Return the layers that were chosen, each once."""
        return np.unique(self.layer_2)

    def value(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the cost, ``(R,)``; the mean of both halves where they chose differently."""
        if len(self.layers) == 1:
            return self.costs.beyond_at(self.layer_2[0], weight_RB)
        halves_2B = resampling.halves(weight_RB.shape[1])
        of_halves = [
            self.costs.beyond_at(layer, weight_RB * half_B)
            for half_B, layer in zip(halves_2B, self.layer_2, strict=True)
        ]
        return np.mean(of_halves, axis=0)

    def resampled(self) -> np.ndarray:
        """Return it in resamples of the sequences and of the null, ``(R,)``."""
        if len(self.layers) == 1:
            return self.costs.resampled_RL[:, self.layer_2[0]]
        halves_2B = resampling.halves(self.costs.weight_RB.shape[1])
        of_halves = [
            self.costs.resampled(layer, half_B)
            for half_B, layer in zip(halves_2B, self.layer_2, strict=True)
        ]
        return np.mean(of_halves, axis=0)


def refit_recovery(refit_L: np.ndarray, before_L: np.ndarray, chance: float) -> np.ndarray:
    """Return E = (A_refit - chance) / (A - chance): what a fresh probe still reads.

    Chance is the balanced accuracy of a constant guess, 1/S. The window floors are no
    measure here: they would let a probe pass that still reads what the last tokens say, which
    an eraser of the variable removes as well.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(before_L > chance, (refit_L - chance) / (before_L - chance), np.nan)


@dataclass(frozen=True)
class Layers:
    """Which layers can be the bottleneck, and which of them count.

    Attributes:
        readable_L: The variable is there: erasing what is not there removes whatever else the
            class means differ by.
        token_L: The embedding, where what is erased is the token.
        trivial_L: Only the final norm and the head follow, so that erasure must hurt.
        beyond_null_L: The cost is above the null's interval, and by no less than counts.
        whole_L: The eraser leaves nothing of the stream, of whatever variable it is.
    """

    readable_L: np.ndarray
    token_L: np.ndarray
    trivial_L: np.ndarray
    beyond_null_L: np.ndarray
    whole_L: np.ndarray

    @property
    def askable_L(self) -> np.ndarray:
        """Return the layers at which an eraser of the variable alone could be held to a cost."""
        return self.readable_L & ~self.token_L & ~self.trivial_L

    @property
    def asked_L(self) -> np.ndarray:
        """Return the layers at which the cost is one of the variable."""
        return self.askable_L & ~self.whole_L

    @property
    def counts_L(self) -> np.ndarray:
        """Return those at which it leaves the null."""
        return self.asked_L & self.beyond_null_L
