"""The middle engine: whole blocks from the patched layer on, for models that only run in blocks.

Shape suffixes: ``P`` base runs, ``T`` positions, ``R`` rows (cells), ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.budget import fitting
from mecheval.interventions.hooked import putting
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from mecheval.interventions.budget import Budget
    from mecheval.interventions.work import Work
    from mecheval.models.apart import Replay


@dataclass(frozen=True)
class _Cells:
    """All cells of a chunk that need a pass, sorted by layer, one row each."""

    layer_R: Tensor
    place_R2: Tensor
    j_R: Tensor
    run_R: Tensor


def run_blocks(replay: Replay, work: Work, budget: Budget) -> None:
    """Patch every cell; cells of all layers and positions share passes.

    Raises:
        RuntimeError: The device is out of memory even for one row.
    """
    cells = _cells(work)

    def patched(rows: slice) -> Tensor:
        return _pass(replay, work, cells, rows)

    for rows, value_R in fitting(len(cells.run_R), work.plan.batch_size, patched, budget):
        k_R, i_R = cells.place_R2[rows].unbind(1)
        work.patched_KIJP[k_R, i_R, cells.j_R[rows], cells.run_R[rows]] = value_R
        work.pending_KIJP[k_R, i_R, cells.j_R[rows], cells.run_R[rows]] = False
        work.keep()


def _cells(work: Work) -> _Cells:
    positions_J = torch.as_tensor(work.plan.positions, device=work.base_P.device)
    layers, places, js, runs = [], [], [], []
    for k, i, site in work.present():
        differs_PJ = work.exchanges[site].differs_PT()[:, positions_J]
        j_R, run_R = (differs_PJ.T & work.pending_KIJP[k, i]).nonzero().unbind(1)
        layers.append(torch.full_like(j_R, site.layer))
        places.append(j_R.new_tensor([k, i]).expand(len(j_R), 2))
        js.append(j_R)
        runs.append(run_R)
    order_R = torch.cat(layers).argsort(stable=True)
    return _Cells(*(torch.cat(values)[order_R] for values in (layers, places, js, runs)))


def _pass(replay: Replay, work: Work, cells: _Cells, rows: slice) -> Tensor:
    """Return the readout of some cells."""
    run_R, layer_R = cells.run_R[rows], cells.layer_R[rows]
    stream_RTD = work.base[Site(0, "block_in")][run_R[:0]]
    for layer in range(int(layer_R.min()), work.question.model.n_layers):
        below_R = run_R[layer_R < layer]
        parts = [replay.run(layer, stream_RTD, below_R)] if len(below_R) else []
        for place in cells.place_R2[rows][layer_R == layer].unique(dim=0).tolist():
            here_R = ((cells.place_R2[rows] == run_R.new_tensor(place)).all(1)).nonzero()[:, 0]
            parts.append(_entering(replay, work, place, run_R[here_R], cells.j_R[rows][here_R]))
        stream_RTD = torch.cat(parts)
    row_R = torch.arange(len(run_R), device=run_R.device)
    readout_RD = stream_RTD[row_R, work.question.readout_P[run_R]]
    return work.question.value(replay.readout(readout_RD), run_R)


def _entering(replay: Replay, work: Work, place: list[int], run_R: Tensor, j_R: Tensor) -> Tensor:
    """Run the patched block on the base runs' stream, with a hook on the site."""
    component, layer = work.plan.components[place[0]], work.plan.layers[place[1]]
    exchange = work.exchanges[Site(layer, component)]
    position_R = torch.as_tensor(work.plan.positions, device=run_R.device)[j_R]
    donor_RD = exchange.donor_PTD[run_R, position_R]
    tap = work.question.model.taps()[exchange.site]
    with visiting({tap: putting(donor_RD, position_R)}):
        return replay.run(layer, work.base[Site(layer, "block_in")][run_R], run_R)
