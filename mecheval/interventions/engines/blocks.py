"""The middle engine: whole blocks from the patched layer on, for models that only run in blocks.

Shape suffixes: ``P`` base runs, ``T`` positions, ``R`` rows (cells), ``S`` positions that a patch
spans, ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.budget import fitting
from mecheval.interventions.engines.hooks import putting
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from mecheval.interventions.budget import Budget
    from mecheval.interventions.chunk import Chunk
    from mecheval.models.decomposition import Replay


@dataclass(frozen=True)
class _Cells:
    """Cells that need a pass, sorted by layer, one row each; they begin at a common position."""

    layer_R: Tensor
    place_R2: Tensor
    j_R: Tensor
    run_R: Tensor

    def take(self, rows_R: Tensor | slice) -> _Cells:
        """Return some of the cells."""
        return _Cells(*(value[rows_R] for value in vars(self).values()))


def run_blocks(replay: Replay, chunk: Chunk, budget: Budget) -> None:
    """Patch every cell; cells of all layers share passes.

    Where the blocks can go on from the model's own cache at a position, the cells of that position
    share passes that begin there; all others share passes that begin at the first position.

    Raises:
        RuntimeError: The device is out of memory even for one row.
    """
    cells = _cells(chunk)
    left_R = torch.ones_like(cells.j_R, dtype=torch.bool)
    # Behind a cache a convolution runs over its last inputs too: its outputs are not those of the
    # positions at hand.
    aligned_K = torch.tensor(
        [component != "conv_out" for component in chunk.plan.components], device=left_R.device
    )
    for j, position in enumerate(chunk.plan.positions):
        here_R = (cells.j_R == j) & aligned_K[cells.place_R2[:, 0]]
        blocks = replay.behind(position) if position and here_R.any() else None
        if blocks is not None:
            _run_cells(blocks, chunk, cells.take(here_R), budget, first=position)
            left_R &= ~here_R
    if left_R.any():
        _run_cells(replay, chunk, cells.take(left_R), budget, first=0)


def _run_cells(blocks: Replay, chunk: Chunk, cells: _Cells, budget: Budget, *, first: int) -> None:
    def patched(rows: slice) -> Tensor:
        return _pass(blocks, chunk, cells.take(rows), first)

    for rows, value_R in fitting(len(cells.run_R), chunk.plan.batch_size, patched, budget):
        part = cells.take(rows)
        k_R, i_R = part.place_R2.unbind(1)
        chunk.store(k_R, i_R, part.j_R, part.run_R, value_R)
        chunk.keep()


def _cells(chunk: Chunk) -> _Cells:
    positions_J = torch.as_tensor(chunk.plan.positions, device=chunk.base_P.device)
    layers, places, js, runs = [], [], [], []
    for k, i, site in chunk.present():
        differs_PJ = chunk.site_patches[site].differs_PT(chunk.plan.span)[:, positions_J]
        j_R, run_R = (differs_PJ.T & chunk.pending_KIJP[k, i]).nonzero().unbind(1)
        layers.append(torch.full_like(j_R, site.layer))
        places.append(j_R.new_tensor([k, i]).expand(len(j_R), 2))
        js.append(j_R)
        runs.append(run_R)
    if not layers:
        none_R = positions_J[:0]
        return _Cells(none_R, none_R.new_empty(0, 2), none_R, none_R)
    order_R = torch.cat(layers).argsort(stable=True)
    return _Cells(*(torch.cat(values)[order_R] for values in (layers, places, js, runs)))


def _pass(blocks: Replay, chunk: Chunk, cells: _Cells, first: int) -> Tensor:
    """Return the readout of some cells, run from position ``first`` on."""
    run_R, layer_R = cells.run_R, cells.layer_R
    stream_RTD = chunk.base[Site(0, "block_in")][run_R[:0], first:]
    for layer in range(int(layer_R.min()), chunk.base_runs.model.n_layers):
        below_R = run_R[layer_R < layer]
        parts = [blocks.run(layer, stream_RTD, below_R)] if len(below_R) else []
        for place in cells.place_R2[layer_R == layer].unique(dim=0).tolist():
            here_R = ((cells.place_R2 == run_R.new_tensor(place)).all(1)).nonzero()[:, 0]
            parts.append(_entering(blocks, chunk, cells.take(here_R), first))
        stream_RTD = torch.cat(parts)
    row_R = torch.arange(len(run_R), device=run_R.device)
    readout_RD = stream_RTD[row_R, chunk.base_runs.readout_P[run_R] - first]
    return chunk.base_runs.read(blocks.readout, readout_RD, run_R)


def _entering(blocks: Replay, chunk: Chunk, cells: _Cells, first: int) -> Tensor:
    """Run the patched block on the base runs' stream, with a hook on the site of these cells."""
    k, i = cells.place_R2[0].tolist()
    component, layer, run_R = chunk.plan.components[k], chunk.plan.layers[i], cells.run_R
    site_patch = chunk.site_patches[Site(layer, component)]
    position_R = torch.as_tensor(chunk.plan.positions, device=run_R.device)[cells.j_R]
    donor_RSD, place_RS = site_patch.put(run_R, position_R, chunk.plan.span)
    tap = chunk.base_runs.model.taps()[site_patch.site]
    with visiting({tap: putting(donor_RSD, place_RS - first)}):
        return blocks.run(layer, chunk.base[Site(layer, "block_in")][run_R, first:], run_R)
