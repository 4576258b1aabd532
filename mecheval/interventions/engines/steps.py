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
    from mecheval.interventions.chunk import Chunk

COMPONENTS = ("state", "cache")
"""What this engine can exchange, as far as the model does."""


def run_steps(chunk: Chunk) -> None:
    """Exchange the memory of every cell, and step on to the last readout."""
    if not isinstance(chunk.donor, Interchange):
        raise TypeError("Memory can only be exchanged with that of other runs.")
    model, own_PT = chunk.base_runs.model, chunk.base_runs.tokens_PT
    donor_PT = chunk.donor.tokens_PT[:, : own_PT.shape[1]]
    own, donor = (model.start(len(own_PT)) for _ in range(2))
    places = {position: j for j, position in enumerate(chunk.plan.positions)}
    for position in range(max(places) + 1):
        _, own = model.step(own_PT[:, position], own)
        _, donor = model.step(donor_PT[:, position], donor)
        if position in places:
            _exchange(chunk, donor_PT, places[position], position, (own, donor))
            chunk.keep()


def _exchange(
    chunk: Chunk, donor_PT: Tensor, j: int, position: int, states: tuple[Any, Any]
) -> None:
    """Find the readouts of all cells of a position."""
    base_runs, read = chunk.base_runs, slice(position + 1)
    # Nobody reads the memory after the last position; equal tokens leave equal memories.
    differs_P = (base_runs.tokens_PT[:, read] != donor_PT[:, read]).any(1)
    changed_P = differs_P & (base_runs.readout_P > position)
    for k, i, site in chunk.present():
        run_R = (changed_P & chunk.pending_KIJP[k, i, j]).nonzero()[:, 0]
        if len(run_R):
            state = base_runs.model.exchanged(*states, *site)
            chunk.store(k, i, j, run_R, _stepped(chunk, position, state)[run_R])


def _stepped(chunk: Chunk, position: int, state: Any) -> Tensor:
    """Return the readouts ``(P,)`` of runs that go on behind a position."""
    base_runs = chunk.base_runs
    value_P = torch.full_like(chunk.base_P, torch.nan)
    for later in range(position + 1, int(base_runs.readout_P.max()) + 1):
        logits_PC, state = base_runs.model.step(base_runs.tokens_PT[:, later], state)
        run_R = (base_runs.readout_P == later).nonzero()[:, 0]
        value_P[run_R] = base_runs.value(logits_PC[run_R], run_R)
    return value_P
