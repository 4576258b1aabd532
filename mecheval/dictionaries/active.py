"""The products of a sparse autoencoder that touch only the latents that fire.

Which latents fire is a CSR pattern over a batch. With weights of ``M`` latents in ``D`` dimensions,
``B`` rows and ``k`` firings a row, encoding takes ``2 B M D`` operations; decoding, its gradients
and that of the encoder take ``2 B k D`` each, where dense ones would take ``2 B M D``.

Shape suffixes: ``B`` rows of a batch, ``M`` latents, ``D`` dimensions, ``E`` firings (entries of
the pattern), ``R`` one more than the rows (ends of their entries).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_GROUP = 8  # latents of which the largest is looked at first


@dataclass(frozen=True)
class Pattern:
    """Which latents may fire in which row.

    Attributes:
        latents_E: The latents, row after row.
        ends_R: Where each row begins, and at last how many entries there are.
        n_latents: How many there are.
    """

    latents_E: Tensor
    ends_R: Tensor
    n_latents: int

    def combined(self, values_E: Tensor, weights_MD: Tensor) -> Tensor:
        """Return for every row the weighted sum of its latents' weights, ``(B, D)``."""
        return _sums(self.latents_E, self.ends_R, values_E, weights_MD)

    def products(self, rows_BD: Tensor, weights_MD: Tensor) -> Tensor:
        """Return the scalar products of each row with its latents' weights, ``(E,)``."""
        shape = len(rows_BD), self.n_latents
        entries_E = rows_BD.new_zeros(len(self.latents_E))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            pattern_BM = torch.sparse_csr_tensor(
                self.ends_R, self.latents_E, entries_E, shape, check_invariants=False
            )
        found_BM = torch.sparse.sampled_addmm(pattern_BM, rows_BD, weights_MD.T, beta=0.0)
        return found_BM.values()

    @property
    def rows_E(self) -> Tensor:
        """Return the row of each entry."""
        counts_B = self.ends_R.diff()
        every_B = torch.arange(len(counts_B), device=counts_B.device)
        return torch.repeat_interleave(every_B, counts_B, output_size=len(self.latents_E))

    def transposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the order of entries by latent, the row of each, and the ends of latents."""
        order_E = torch.argsort(self.latents_E.int(), stable=True)
        counts_M = torch.bincount(self.latents_E, minlength=self.n_latents)
        ends = torch.cat([counts_M.new_zeros(1), counts_M.cumsum(0)])
        return order_E, self.rows_E.index_select(0, order_E), ends


def largest_of_rows(before_BM: Tensor, k: int) -> tuple[Pattern, Tensor]:
    """Choose the k largest latents of every row; return them with their values."""
    n_rows, n_latents = before_BM.shape
    latents_BK = _largest(before_BM, k)
    if before_BM.is_cuda:  # cuSPARSE wants the columns of a row in order
        latents_BK = latents_BK.sort(dim=1).values
    values_BK = before_BM.gather(1, latents_BK)
    ends_R = torch.arange(0, n_rows * k + 1, k, device=before_BM.device)
    return Pattern(latents_BK.flatten(), ends_R, n_latents), values_BK.flatten()


def largest_of_batch(before_BM: Tensor, k: int) -> tuple[Pattern, Tensor]:
    """Choose the k times B largest latents of a batch of B rows."""
    n_rows, n_latents = before_BM.shape
    flat_X = before_BM.flatten()
    places_E = _largest(flat_X[None], n_rows * k)[0].sort().values
    return _pattern(places_E, n_rows, n_latents), flat_X.index_select(0, places_E)


def _largest(values_BX: Tensor, k: int) -> Tensor:
    """Return where the k largest of every row are, ``(B, K)``, in any order.

    On a CPU in two steps, which leave out most of what cannot be among them: the k largest of a row
    are in the k groups of eight whose largest are the largest. This takes 0.4 of the time of
    ``topk``.
    """
    n_rows, n_values = values_BX.shape
    n_groups = n_values // _GROUP
    if values_BX.is_cuda:
        return values_BX.topk(k, dim=1, sorted=False).indices
    if n_values % _GROUP or n_groups < 2 * k:
        return _partitioned(values_BX, k)
    groups_BZG = values_BX.view(n_rows, _GROUP, n_groups)
    group_BK = _partitioned(groups_BZG.amax(1), k)
    few_BZK = groups_BZG.gather(2, group_BK[:, None].expand(-1, _GROUP, -1))
    place_BK = _partitioned(few_BZK.flatten(1), k)
    which_BK = torch.div(place_BK, k, rounding_mode="floor")
    return which_BK * n_groups + group_BK.gather(1, place_BK - which_BK * k)


def _partitioned(values_BX: Tensor, k: int) -> Tensor:
    """Do the same in one step, by NumPy's partition, which uses the vector unit."""
    n_rows, n_values = values_BX.shape
    array_BX = values_BX.numpy()
    least_B1 = np.partition(array_BX, n_values - k, axis=1)[:, n_values - k, None]
    places_E = np.flatnonzero(array_BX >= least_B1)
    if len(places_E) == n_rows * k:
        place_BK = places_E.reshape(n_rows, k) - np.arange(0, n_rows * n_values, n_values)[:, None]
        if place_BK[:, 0].min() >= 0 and place_BK[:, -1].max() < n_values:
            return torch.from_numpy(place_BK)
    # Not k of every row: numbers are equal at the edge, or NaN.
    found_BK = np.empty((n_rows, k), np.int64)
    rows_E = places_E // n_values
    right_B = np.bincount(rows_E, minlength=n_rows) == k
    found_BK[right_B] = (places_E % n_values)[right_B[rows_E]].reshape(-1, k)
    found_BK[~right_B] = values_BX[torch.from_numpy(~right_B)].topk(k, dim=1).indices.numpy()
    return torch.from_numpy(found_BK)


def all_above(before_BM: Tensor, threshold_M: Tensor) -> tuple[Pattern, Tensor]:
    """Choose all latents above their thresholds."""
    n_rows, n_latents = before_BM.shape
    places_E = (before_BM > threshold_M).flatten().nonzero()[:, 0]
    return _pattern(places_E, n_rows, n_latents), before_BM.flatten()[places_E]


def _pattern(places_E: Tensor, n_rows: int, n_latents: int) -> Pattern:
    """Return the pattern of places in a flattened ``(B, M)``, which are in order."""
    counts_B = torch.bincount(places_E // n_latents, minlength=n_rows)
    ends_R = torch.cat([counts_B.new_zeros(1), counts_B.cumsum(0)])
    return Pattern(places_E % n_latents, ends_R, n_latents)


def _sums(items_E: Tensor, ends_R: Tensor, values_E: Tensor, table_XD: Tensor) -> Tensor:
    return embedding_bag(
        items_E, table_XD, ends_R, mode="sum", per_sample_weights=values_E,
        include_last_offset=True,
    )  # fmt: skip


class Explained(torch.autograd.Function):
    """What chosen latents explain of rows: ``W_d' ReLU(choose(W_e (z - b_d) + b_e))``.

    ``b_d`` is not added. The gradients are those of the formula with the choice held fixed; ``z``
    has none.
    """

    @staticmethod
    def forward(
        ctx: Any, rows_BD: Tensor, pattern: Pattern, before_E: Tensor, *weights: Tensor
    ) -> Tensor:
        """Return the explained part ``(B, D)``.

        Args:
            ctx: Torch's.
            rows_BD: What was encoded, ``z``.
            pattern: The choice.
            before_E: Values of the chosen latents before the ReLU.
            weights: ``W_e`` (M, D), ``b_e`` (M,), ``W_d`` (M, D), ``b_d`` (D,).
        """
        values_E = before_E.clamp(min=0.0)
        ctx.pattern = pattern
        ctx.save_for_backward(rows_BD, values_E, *weights)
        return pattern.combined(values_E, weights[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the four weights."""
        rows_BD, values_E, encoder_MD, _, decoder_MD, decoder_bias_D = ctx.saved_tensors
        pattern: Pattern = ctx.pattern
        out_BD = gradients[0].contiguous()
        hidden_E = pattern.products(out_BD, decoder_MD) * (values_E > 0)
        order_E, rows_E, ends = pattern.transposed()
        d_decoder_MD = _sums(rows_E, ends, values_E.index_select(0, order_E), out_BD)
        hidden_E = hidden_E.index_select(0, order_E)
        d_encoder_MD = _sums(rows_E, ends, hidden_E, rows_BD)
        # Not index_add, whose order of adding is left open on a GPU.
        d_bias_M = _sums(rows_E, ends, hidden_E, rows_BD.new_ones(len(rows_BD), 1))[:, 0]
        # The encoder sees z - b_d: the part of b_d is the same in all rows, and is taken off once.
        d_encoder_MD.addr_(d_bias_M, decoder_bias_D, alpha=-1.0)
        return None, None, None, d_encoder_MD, d_bias_M, d_decoder_MD, -(d_bias_M @ encoder_MD)
