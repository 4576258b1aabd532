"""Patching with plain forward hooks: one whole forward pass per cell, for any model.

This is what the faster engines are held against.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``J`` patched positions, ``R``
rows: the (position, run) cells of one site.
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
    from mecheval.interventions.work import Exchange, Work


def run_hooks(work: Work, budget: Budget) -> None:
    """Patch every cell in a forward pass of its own, ``batch_size`` cells at a time."""
    positions_J = torch.as_tensor(work.plan.positions, device=work.base_P.device)
    for k, i, site in work.present():
        exchange = work.exchanges[site]
        differs_JP = exchange.differs_PT()[:, positions_J].T & work.pending_KIJP[k, i]
        j_R, run_R = differs_JP.nonzero().unbind(1)

        def patched(rows: slice, exchange=exchange, j_R=j_R, run_R=run_R) -> Tensor:
            return patched_rows(work, exchange, run_R[rows], positions_J[j_R[rows]])

        for rows, value_R in fitting(len(run_R), work.plan.batch_size, patched, budget):
            work.store(k, i, j_R[rows], run_R[rows], value_R)
            work.keep()


def patched_rows(work: Work, exchange: Exchange, run_R: Tensor, position_R: Tensor) -> Tensor:
    """Return the readout ``(R,)`` of runs whose activation at one position is the donor's."""
    question = work.question
    tap = question.model.taps()[exchange.site]
    with visiting({tap: putting(exchange.donor_PTD[run_R, position_R], position_R)}):
        logits_RC = question.model.logits_at(question.tokens_PT[run_R], question.readout_P[run_R])
    return question.value(logits_RC, run_R)


def putting(donor_RD: Tensor, position_R: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a visit that replaces one position of every row."""
    row_R = torch.arange(len(position_R), device=position_R.device)

    def replace(value_RTD: Tensor) -> Tensor:
        value_RTD = value_RTD.clone()
        value_RTD[row_R, position_R] = donor_RD.to(value_RTD)
        return value_RTD

    return replace
