"""Exchanging the whole memory of one layer in runs token by token: it needs nothing but a cache.

The engine for models that cannot be taken apart, and a check on those that can: the memory of a
layer after some position, all that later positions see of it, becomes the donor's, and the run goes
on as the model itself goes on.

Shape suffixes: ``P`` runs, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mecheval.interventions.donors import Interchange

if TYPE_CHECKING:
    from mecheval.interventions.work import Work

COMPONENTS = ("state", "cache")
"""What this engine can exchange, as far as the model does."""


def run_steps(work: Work) -> None:
    """Exchange the memory of every cell, and step on to the last readout."""
    if not isinstance(work.donor, Interchange):
        raise TypeError("Memory can only be exchanged with that of other runs.")
    model, own_PT = work.question.model, work.question.tokens_PT
    donor_PT = work.donor.tokens_PT[:, : own_PT.shape[1]]
    own, donor = (model.start(len(own_PT)) for _ in range(2))
    places = {position: j for j, position in enumerate(work.plan.positions)}
    for position in range(max(places) + 1):
        _, own = model.step(own_PT[:, position], own)
        _, donor = model.step(donor_PT[:, position], donor)
        if position in places:
            _exchange(work, donor_PT, places[position], position, (own, donor))
            work.keep()


def _exchange(work: Work, donor_PT: Tensor, j: int, position: int, states: tuple[Any, Any]) -> None:
    """Find the readouts of all cells of a position."""
    question, read = work.question, slice(position + 1)
    # Nobody reads the memory after the last position; equal tokens leave equal memories.
    differs_P = (question.tokens_PT[:, read] != donor_PT[:, read]).any(1)
    changed_P = differs_P & (question.readout_P > position)
    for k, i, site in work.present():
        run_R = (changed_P & work.pending_KIJP[k, i, j]).nonzero()[:, 0]
        if len(run_R):
            state = question.model.exchanged(*states, *site)
            work.store(k, i, j, run_R, _stepped(work, position, state)[run_R])


def _stepped(work: Work, position: int, state: Any) -> Tensor:
    """Return the readouts ``(P,)`` of runs that go on behind a position."""
    question = work.question
    value_P = torch.full_like(work.base_P, torch.nan)
    for later in range(position + 1, int(question.readout_P.max()) + 1):
        logits_PC, state = question.model.step(question.tokens_PT[:, later], state)
        run_R = (question.readout_P == later).nonzero()[:, 0]
        value_P[run_R] = question.value(logits_PC[run_R], run_R)
    return value_P
