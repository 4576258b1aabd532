"""An autoencoder in training: its loss, its steps, and the dictionary that it becomes.

With ``z`` a row that the statistics have been taken off and a batch of such rows::

    z^ = W_d' ReLU(choose(W_e (z - b_d) + b_e)) + b_d          |W_d[i]| = 1
    loss = sum |z - z^|^2 / sum |z - mean z|^2 + weight min(1, dead / (d / 2)) aux

where ``aux`` is the share of the residual ``z - z^`` that the ``d / 2`` largest dead latents of
each row leave unexplained (Gao et al. 2024, arXiv:2406.04093).

Shape suffixes: ``D`` dimensions, ``M`` latents, ``B`` rows of a batch, ``E`` chosen latents, ``J``
dead latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.dictionaries.active import Explained, Pattern, largest_of_batch, largest_of_rows
from mecheval.dictionaries.dictionary import Dictionary
from mecheval.errors import UsageError
from mecheval.seeding import Draws

if TYPE_CHECKING:
    from mecheval.dictionaries.recipe import DictionaryRecipe
    from mecheval.dictionaries.statistics import Statistics

ENCODER_NORM = 0.58
"""Norm of the encoder's rows at first: with 1 what is explained grows more slowly."""

_CLIP = 1.0
_SPARE = 4
"""How many times as many latents of one batch as on average can lie above the threshold."""


@dataclass
class Coder:
    """An autoencoder in training.

    Attributes:
        weights: ``W_e`` (M, D), ``b_e`` (M,), ``W_d`` (M, D), ``b_d`` (D,).
        silent_M: Rows since each latent fired.
        room_BM: Where latents stand before the ReLU: memory that is asked for anew at every step
            costs a tenth of the product that fills it.
    """

    weights: tuple[Tensor, Tensor, Tensor, Tensor]
    silent_M: Tensor
    k: int
    recipe: DictionaryRecipe
    optimizer: torch.optim.Optimizer
    room_BM: Tensor | None = None

    @classmethod
    def new(
        cls,
        shape: tuple[int, int],
        k: int,
        recipe: DictionaryRecipe,
        names: tuple[str, int],
        device: torch.device,
    ) -> Coder:
        """Draw the first weights."""
        drawn_MD = Draws(names[1], "dictionary", names[0]).normal(shape)
        drawn_MD /= np.linalg.norm(drawn_MD, axis=1, keepdims=True)
        decoder_MD = torch.from_numpy(drawn_MD).to(device, torch.float32)
        zeros_M, zeros_D = decoder_MD.new_zeros(shape[0]), decoder_MD.new_zeros(shape[1])
        weights = ENCODER_NORM * decoder_MD, zeros_M, decoder_MD, zeros_D
        for weight in weights:
            weight.requires_grad_()
        silent_M = torch.zeros(shape[0], dtype=torch.int64, device=device)
        return cls(weights, silent_M, k, recipe, torch.optim.Adam(weights, fused=True))

    def step(self, rows_BD: Tensor, rate: float) -> None:
        """Take one step on a batch of ``z``."""
        before_BM = self._before(rows_BD)
        pattern, before_E = self._choose(before_BM)
        explained_BD = Explained.apply(rows_BD, pattern, before_E, *self.weights)
        with torch.no_grad():
            residual_BD = (rows_BD - explained_BD).sub_(self.weights[3])
            # What autograd would do in more passes over the batch: with z^, |z - z^|^2 grows by
            # -2 (z - z^), and z^ is what is explained plus b_d.
            gradient_BD = residual_BD * (-2 / _spread(rows_BD))
        self.optimizer.zero_grad()
        torch.autograd.backward(explained_BD, gradient_BD)
        if self.weights[3].grad is not None:
            self.weights[3].grad += gradient_BD.sum(0)
        aux = self._auxiliary(rows_BD, before_BM, residual_BD)
        if aux is not None:
            aux.backward()
        self._update(rate)
        fired_M = torch.bincount(pattern.latents_E, before_E > 0, len(self.silent_M)) > 0
        self.silent_M.add_(len(rows_BD)).masked_fill_(fired_M, 0)

    def threshold(self, batches: list[Tensor]) -> float:
        """Return what k latents of a row are above on average, at least 0."""
        n_rows, n_latents = sum(map(len, batches)), len(self.silent_M)
        largest = []
        for rows_BD in batches:
            n_most = min(_SPARE * self.k, n_latents) * len(rows_BD)
            largest.append(self._before(rows_BD).flatten().topk(n_most, sorted=False).values)
        joint = torch.cat(largest)
        return max(0.0, float(joint.topk(min(self.k * n_rows, len(joint))).values[-1]))

    def finished(
        self, statistics: Statistics, threshold: float | None, about: dict[str, object]
    ) -> Dictionary:
        """Return the dictionary of ``x``, with the statistics in its weights.

        Raises:
            UsageError: The weights are not finite.
        """
        encoder_MD, bias_M, decoder_MD, bias_D = (weight.detach() for weight in self.weights)
        if not all(bool(weight.isfinite().all()) for weight in self.weights):
            raise UsageError(
                "The dictionary's weights did not stay finite: give a lower learning_rate."
            )
        scale, grouped = statistics.scale, statistics.means_GD is not None
        return Dictionary(
            encoder_MD,
            scale * bias_M,
            decoder_MD,
            scale * bias_D if grouped else scale * bias_D + statistics.mean_D,
            k=self.k if threshold is None else None,
            threshold_M=None if threshold is None else torch.full_like(bias_M, scale * threshold),
            norm_limit=statistics.norm_limit,
            means_GD=statistics.means_GD,
            about=about,
        )

    @torch.no_grad()
    def _before(self, rows_BD: Tensor) -> Tensor:
        """Return latents before the ReLU, which the next call writes over."""
        encoder_MD, bias_M, _, decoder_bias_D = self.weights
        if self.room_BM is None or len(self.room_BM) < len(rows_BD):
            self.room_BM = rows_BD.new_empty(len(rows_BD), len(encoder_MD))
        offset_M, out_BM = bias_M - encoder_MD @ decoder_bias_D, self.room_BM[: len(rows_BD)]
        return torch.addmm(offset_M, rows_BD, encoder_MD.T, out=out_BM)

    def _choose(self, before_BM: Tensor) -> tuple[Pattern, Tensor]:
        if self.recipe.selection == "batchtopk":
            return largest_of_batch(before_BM, self.k)
        return largest_of_rows(before_BM, self.k)

    def _auxiliary(self, rows_BD: Tensor, before_BM: Tensor, residual_BD: Tensor) -> Tensor | None:
        """Return the weighted auxiliary loss; None where no latent is dead."""
        half = max(1, rows_BD.shape[1] // 2)
        dead_J = (self.silent_M >= self.recipe.dead_after).nonzero()[:, 0]
        if not len(dead_J) or not self.recipe.aux_weight:
            return None
        chosen, before_E = largest_of_rows(before_BM[:, dead_J], min(half, len(dead_J)))
        pattern = Pattern(dead_J[chosen.latents_E], chosen.ends_R, len(self.silent_M))
        explained_BD = Explained.apply(rows_BD, pattern, before_E, *self.weights)
        weight = self.recipe.aux_weight * min(1.0, len(dead_J) / half)
        whole = residual_BD.square().sum().clamp(min=torch.finfo(residual_BD.dtype).tiny)
        return weight * (residual_BD - explained_BD).square().sum() / whole

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        """Step, and keep the decoder's rows of norm 1."""
        decoder_MD = self.weights[2]
        gradient_MD = decoder_MD.grad
        if gradient_MD is not None:
            radial_M1 = (gradient_MD * decoder_MD).sum(1, keepdim=True)
            gradient_MD.addcmul_(radial_M1, decoder_MD, value=-1)
        torch.nn.utils.clip_grad_norm_(self.weights, _CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        decoder_MD /= decoder_MD.norm(dim=1, keepdim=True)


def _spread(rows_BD: Tensor) -> Tensor:
    """Return the sum of squares around the mean of rows that are near to zero on average."""
    around = rows_BD.norm().square() - len(rows_BD) * rows_BD.mean(0).square().sum()
    return around.clamp(min=torch.finfo(around.dtype).tiny)
