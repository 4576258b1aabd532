"""Training a sparse autoencoder on anyone's activations.

With a row ``x``, statistics that are fixed before (``mean``, of the row's group where there are
groups, and ``scale``) and a batch of rows::

    z  = (x - mean) / scale
    z^ = W_d' ReLU(choose(W_e (z - b_d) + b_e)) + b_d          |W_d[i]| = 1
    loss = sum |z - z^|^2 / sum |z - mean z|^2 + weight min(1, dead / (d / 2)) aux

where ``aux`` is the share of the residual ``z - z^`` that the ``d / 2`` largest dead latents of
each row leave unexplained (Gao et al. 2024, arXiv:2406.04093). The dictionary that is returned has
the statistics in its weights.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``M`` latents, ``B`` rows of a batch, ``E`` chosen
latents, ``J`` dead latents, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.dictionaries.active import Explained, Pattern, largest_of_batch, largest_of_rows
from mecheval.dictionaries.dictionary import Dictionary
from mecheval.dictionaries.recipe import DictionaryRecipe
from mecheval.dictionaries.rows import Rows
from mecheval.dictionaries.statistics import Statistics
from mecheval.errors import UsageError
from mecheval.seeding import Draws, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

ENCODER_NORM = 0.58
"""Norm of the encoder's rows at first: with 1 what is explained grows more slowly."""

_CLIP = 1.0
_BATCHES_OF_THRESHOLD = 16
_SPARE = 4
"""How many times as many latents of one batch as on average can lie above the threshold."""


def train_dictionary(
    X_ND: ArrayLike | Tensor,
    width: int = 8,
    k: int = 16,
    seed: int = 0,
    *,
    groups_N: ArrayLike | Tensor | None = None,
    recipe: DictionaryRecipe | None = None,
    name: str | None = None,
    device: str | torch.device = "cpu",
) -> Dictionary:
    """Train a sparse autoencoder on activations.

    The dictionary depends on the rows, their order, and the arguments; on one CPU and one number of
    threads it is the same to the bit.

    Args:
        X_ND: Activations, any real numbers of NumPy or torch; an array that is mapped into memory
            is read a batch at a time. Rows whose norm is above ten medians are left out.
        width: Latents for every dimension.
        k: Latents that may fire in a row; on average, with ``batchtopk``.
        seed: Seed of the first weights and of the order of rows.
        groups_N: A whole number from 0 for each row, such as its token. The dictionary is then of
            what is left of rows without the mean of their group.
        recipe: How it is trained.
        name: What the rows are of, such as a model and a site. Dictionaries of one seed begin with
            other weights where names differ: two that begin alike stay alike. A hash of the rows
            where there is none.
        device: Where it is trained; the dictionary stays there.

    Returns:
        The dictionary; ``about`` tells how it was made.

    Raises:
        UsageError: The rows are no finite matrix, or do not vary; an argument is not allowed; or
            the weights did not stay finite.

    Example:
        >>> import numpy as np
        >>> import mecheval
        >>> on_NF = np.random.default_rng(0).random((2000, 8)) < 0.2
        >>> x_ND = on_NF @ np.random.default_rng(1).standard_normal((8, 8))
        >>> recipe = mecheval.DictionaryRecipe(n_rows=40_000, batch_size=500)
        >>> dictionary = mecheval.train_dictionary(x_ND, width=2, k=2, recipe=recipe)
        >>> dictionary.n_latents, dictionary.encode(x_ND).shape
        (16, (2000, 16))
    """
    recipe, place = recipe or DictionaryRecipe(), torch.device(device)
    rows = Rows.of(X_ND, groups_N)
    n_latents = _n_latents(rows, width, k)
    statistics = Statistics.of(rows, place)
    name = rows.digest() if name is None else name
    names = (name, seed)
    coder = _Coder.new((n_latents, rows.n_dimensions), k, recipe, names, place)
    batches = _batches(rows, statistics, recipe, names, place)
    n_batch = min(recipe.batch_size, len(statistics.kept_U))
    n_steps = max(1, round(recipe.n_rows / n_batch))
    for step in range(n_steps):
        coder.step(next(batches), recipe.rate(n_latents, step, n_steps))
    threshold = None
    if recipe.selection == "batchtopk":
        n_batches = min(_BATCHES_OF_THRESHOLD, max(1, len(statistics.kept_U) // n_batch))
        threshold = coder.threshold([next(batches) for _ in range(n_batches)])
    about = {
        **asdict(recipe), "k": k, "seed": seed, "name": name, "trained_on": n_steps * n_batch,
        "n_left_out": len(rows) - len(statistics.kept_U),
    }  # fmt: skip
    return coder.finished(statistics, threshold, about)


def _n_latents(rows: Rows, width: int, k: int) -> int:
    """Return how many latents there are to be.

    Raises:
        UsageError: These are no whole numbers that fit the rows.
    """
    if not (isinstance(width, int) and width >= 1):
        raise UsageError(f"width is how many latents there are per dimension, from 1; got {width}.")
    n_latents = width * rows.n_dimensions
    if not (isinstance(k, int) and 1 <= k <= n_latents):
        raise UsageError(
            f"k is how many of {n_latents} latents ({width} for each of {rows.n_dimensions} "
            f"dimensions) may fire in a row; got {k}."
        )
    return n_latents


def _batches(
    rows: Rows,
    statistics: Statistics,
    recipe: DictionaryRecipe,
    names: tuple[str, int],
    device: torch.device,
) -> Iterator[Tensor]:
    """Yield batches of ``z`` without end; every pass over the rows has another order."""
    n_kept = len(statistics.kept_U)
    length = min(recipe.batch_size, n_kept)
    epoch = 0
    while True:
        order_U = stream(names[1], "dictionary_order", names[0], epoch).permutation(n_kept)
        for start in range(0, n_kept - length + 1, length):
            # In order, as a disk is read; all the same to a batch.
            chosen_B = np.sort(statistics.kept_U[order_U[start : start + length]])
            mean_BD = statistics.mean_D
            if statistics.means_GD is not None and rows.groups_N is not None:
                mean_BD = statistics.means_GD[torch.from_numpy(rows.groups_N[chosen_B]).to(device)]
            yield (rows.at(chosen_B, device) - mean_BD) / statistics.scale
        epoch += 1


@dataclass
class _Coder:
    """An autoencoder in training.

    Attributes:
        weights: ``W_e`` (M, D), ``b_e`` (M,), ``W_d`` (M, D), ``b_d`` (D,).
        silent_M: Rows since each latent fired.
    """

    weights: tuple[Tensor, Tensor, Tensor, Tensor]
    silent_M: Tensor
    k: int
    recipe: DictionaryRecipe
    optimizer: torch.optim.Optimizer

    @classmethod
    def new(
        cls,
        shape: tuple[int, int],
        k: int,
        recipe: DictionaryRecipe,
        names: tuple[str, int],
        device: torch.device,
    ) -> _Coder:
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
        residual_BD = rows_BD - explained_BD - self.weights[3]
        loss = _share(residual_BD, rows_BD - rows_BD.mean(0))
        aux = self._auxiliary(rows_BD, before_BM, residual_BD.detach())
        self.optimizer.zero_grad()
        (loss if aux is None else loss + aux).backward()
        self._update(rate)
        self.silent_M += len(rows_BD)
        self.silent_M[pattern.latents_E[before_E > 0]] = 0

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
        encoder_MD, bias_M, _, decoder_bias_D = self.weights
        return torch.addmm(bias_M - encoder_MD @ decoder_bias_D, rows_BD, encoder_MD.T)

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
        return weight * _share(residual_BD - explained_BD, residual_BD)

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


def _share(part_BD: Tensor, whole_BD: Tensor) -> Tensor:
    """Return the sum of squares of one as a share of that of the other."""
    whole = whole_BD.square().sum()
    return part_BD.square().sum() / whole.clamp(min=torch.finfo(whole.dtype).tiny)
