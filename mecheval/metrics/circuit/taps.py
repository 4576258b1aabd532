"""The taps of short convolutions: setting them to zero, and what reaches an answer through each.

Shape suffixes: ``P`` pairs, ``T`` positions, ``E`` channels, ``K`` taps, the last the present;
``L`` layers, ``O`` offsets, ``C`` lags.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions import Added, ablation_grid
from mecheval.interventions.activations import activations
from mecheval.models.short_convolutions import COMPONENT
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Pairs


@contextmanager
def rewritten(weight_E1K: Tensor, changed_E1K: Tensor) -> Iterator[None]:
    """Give a convolution other weights while the context is open, and its own again behind it."""
    kept_E1K = weight_E1K.detach().clone()
    try:
        with torch.no_grad():
            weight_E1K.copy_(changed_E1K)
        yield
    finally:
        with torch.no_grad():
            weight_E1K.copy_(kept_E1K)


def without(weight_E1K: Tensor, lags: Iterable[int]) -> Tensor:
    """Return a copy of the weights with the taps of some lags set to zero."""
    changed_E1K = weight_E1K.detach().clone()
    for lag in lags:
        changed_E1K[..., changed_E1K.shape[-1] - 1 - lag] = 0.0
    return changed_E1K


def tap_effects(
    subject: Subject, pairs: Pairs, weights: Mapping[int, Tensor], *, max_offset: int
) -> np.ndarray:
    """Read the answer of clean runs in which one tap at one position sees the corrupted input.

    A convolution is linear, so that a lag c alone changes its output at s + o by

        w_c (input_corrupted - input_clean)[s + o - c]

    with s the exchanged position and o the offset. That is added to the clean output at s + o, and
    nowhere else, and the rest of the run is computed anew. Lags do not add up: each is patched into
    a run of its own.

    Args:
        subject: The model on its task.
        pairs: Clean and corrupted runs that differ at one position s.
        weights: The convolutions, as :func:`convolutions` returns them.
        max_offset: The largest offset; the smallest is 0.

    Returns:
        The readout logit(answer) - logit(foil) of every patched run, ``(L, O, C, P)``; NaN where a
        layer has no such tap, and where the position is outside.
    """
    n_lags, n_pairs = max(weight.shape[-1] for weight in weights.values()), len(pairs)
    place_PO = pairs.source_P[:, None] + np.arange(max_offset + 1)
    inside_PO = place_PO <= pairs.readout_P[:, None]
    positions = np.unique(place_PO[inside_PO])
    # The lags stand side by side, as further runs of one grid.
    repeated = [np.tile(v, n_lags) for v in (pairs.answers_P, pairs.foils_P, pairs.readout_P)]
    grid = ablation_grid(
        subject.model, np.tile(pairs.clean.tokens_BT, (n_lags, 1)), *repeated,
        donor=Added(_added(subject, pairs, weights, place_PO)), components=(COMPONENT,),
        layers=list(weights), positions=positions.tolist(), batch_size=subject.batch_size,
    )  # fmt: skip
    read_LJCP = grid.component(COMPONENT).reshape(len(weights), len(positions), n_lags, n_pairs)
    index_PO = np.searchsorted(positions, np.where(inside_PO, place_PO, positions[0]))
    # Pairs and offsets that pick a position come first, whatever lies between them.
    own_POLC = read_LJCP[:, index_PO, :, np.arange(n_pairs)[:, None]]
    own_POLC = np.where(inside_PO[..., None, None], own_POLC, np.nan)
    patched_LOCP = np.full((subject.model.n_layers, max_offset + 1, n_lags, n_pairs), np.nan)
    for i, (layer, weight_E1K) in enumerate(weights.items()):
        taps = weight_E1K.shape[-1]
        patched_LOCP[layer, :, :taps] = own_POLC[:, :, i, :taps].transpose(1, 2, 0)
    return patched_LOCP


@torch.inference_mode()
def _added(
    subject: Subject, pairs: Pairs, weights: Mapping[int, Tensor], place_PO: np.ndarray
) -> dict[Site, Tensor]:
    """Return what every lag in turn adds to the outputs, ``(C P, T, E)``.

    It is zero at all positions but the wanted ones, and for lags that a convolution does not have.
    """
    n_lags = max(weight.shape[-1] for weight in weights.values())
    wanted_PT = (place_PO[..., None] == np.arange(pairs.clean.n_positions)).any(1)
    found: dict[Site, Tensor] = {}
    for layer, weight_E1K in weights.items():
        change_PTE = _input_change(subject, pairs, layer, weight_E1K)
        wanted_PT1 = torch.as_tensor(wanted_PT[..., None]).to(change_PTE)
        taps, n_positions = weight_E1K.shape[-1], change_PTE.shape[1]
        parts = [torch.zeros_like(change_PTE) for _ in range(n_lags)]
        for lag, part_PTE in enumerate(parts[:taps]):
            part_PTE[:, lag:] = change_PTE[:, : n_positions - lag]
            part_PTE *= weight_E1K[:, 0, taps - 1 - lag] * wanted_PT1
        found[Site(layer, COMPONENT)] = torch.cat(parts)
    return found


def _input_change(subject: Subject, pairs: Pairs, layer: int, weight_E1K: Tensor) -> Tensor:
    """Return by how much the input of a convolution differs between the runs, ``(P, T, E)``.

    With a weight of one at the present, and zero elsewhere, the output is the input and the bias.
    """
    site, model = Site(layer, COMPONENT), subject.model
    both_BT = np.concatenate([pairs.corrupted.tokens_BT, pairs.clean.tokens_BT])
    tokens_BT = torch.as_tensor(both_BT, device=model.device)
    shown_E1K = torch.zeros_like(weight_E1K)
    shown_E1K[..., -1] = 1.0
    with rewritten(weight_E1K, shown_E1K):
        found = activations(model, tokens_BT, [site], batch_size=subject.batch_size)
    corrupted_PTE, clean_PTE = found[site].chunk(2)
    return corrupted_PTE - clean_PTE
