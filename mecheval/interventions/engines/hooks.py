"""Patching with plain forward hooks: one whole forward pass per cell, for any model.

This is what the faster engines are held against.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``J`` patched positions, ``R``
rows: the (position, run) cells of one site, ``S`` positions that a patch spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.budget import fitting
from mecheval.models.hooks import visiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.interventions.budget import Budget
    from mecheval.interventions.chunk import Chunk, SitePatch


def run_hooks(chunk: Chunk, budget: Budget) -> None:
    """Patch every cell in a forward pass of its own, ``batch_size`` cells at a time."""
    positions_J = torch.as_tensor(chunk.plan.positions, device=chunk.base_P.device)
    for k, i, site in chunk.present():
        site_patch = chunk.site_patches[site]
        differs_JP = site_patch.differs_PT(chunk.plan.span)[:, positions_J].T
        differs_JP = differs_JP & chunk.pending_KIJP[k, i]
        j_R, run_R = differs_JP.nonzero().unbind(1)

        def patched(rows: slice, site_patch=site_patch, j_R=j_R, run_R=run_R) -> Tensor:
            return patched_rows(chunk, site_patch, run_R[rows], positions_J[j_R[rows]])

        for rows, value_R in fitting(len(run_R), chunk.plan.batch_size, patched, budget):
            chunk.store(k, i, j_R[rows], run_R[rows], value_R)
            chunk.keep()


def patched_rows(chunk: Chunk, site_patch: SitePatch, run_R: Tensor, position_R: Tensor) -> Tensor:
    """Return the readout ``(R,)`` of runs whose activation where a patch is is the donor's."""
    base_runs = chunk.base_runs
    tap = base_runs.model.taps()[site_patch.site]
    with visiting({tap: putting(*site_patch.put(run_R, position_R, chunk.plan.span))}):
        logits_R1C = base_runs.model.logits_at(
            base_runs.tokens_PT[run_R], base_runs.readout_P[run_R, None]
        )
    return base_runs.value(logits_R1C[:, 0], run_R)


def putting(donor_RSD: Tensor, position_RS: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a visit that replaces some positions of every row."""
    row_R1 = torch.arange(len(position_RS), device=position_RS.device)[:, None]

    def replace(value_RTD: Tensor) -> Tensor:
        value_RTD = value_RTD.clone()
        value_RTD[row_R1, position_RS] = donor_RSD.to(value_RTD)
        return value_RTD

    return replace
