"""The fast engine: only layers and positions that a patch can reach, many cells in one pass.

A cell is taken up at its patched layer and position. What lies before is the base run's: the
stream, the signals of earlier positions, and the memory. In the patched layer the positions behind
the patch have the base run's signals, but for those in reach of a short convolution; from the next
layer on whole tails are run, the cells of all layers side by side. In the last layer only the
readout is wanted. All of this is exact for a causal model.

Shape suffixes: ``P`` base runs, ``T`` positions, ``R`` rows (cells), ``N`` positions of a tail,
``D`` width of the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engines.patched_layer import PatchedLayers
from mecheval.interventions.engines.tail_cells import Base, CellFinder, CellGroup
from mecheval.interventions.engines.tail_states import TailStates
from mecheval.models.mixing import LAST, Only, at
from mecheval.models.sites import Site
from mecheval.own_code.explaining import is_out_of_memory

if TYPE_CHECKING:
    from mecheval.interventions.budget import Budget
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.plan import Plan
    from mecheval.models.decomposition import Decomposition


def run_tails(decomposition: Decomposition, chunk: Chunk, budget: Budget) -> None:
    """Patch every cell, position by position.

    Raises:
        RuntimeError: The device is out of memory even for one row.
        UsageError: The plan asks for what positions write, or for memory without recent inputs, and
            no mixer says what that is.
    """
    _check_written(decomposition, chunk.plan)
    _check_told(decomposition, chunk.plan)
    tails = Tails(decomposition, chunk)
    _settle(decomposition, chunk)
    for j, position in sorted(enumerate(chunk.plan.positions), key=lambda pair: pair[1]):
        tails.advance(position)
        row_bytes = tails.row_bytes(chunk.base_runs.n_positions - position)
        waiting = _packs(tails.finder.groups(j, position), budget.rows(row_bytes))[::-1]
        while waiting:
            pack = waiting.pop()
            sizes = [len(group.run_R) for group in pack]
            try:
                value_R = tails.run(position, pack)
            except (RuntimeError, MemoryError) as error:
                if sum(sizes) == 1 or not is_out_of_memory(error):
                    raise
                budget.halve(sum(sizes) * row_bytes)
                waiting.extend(_packs(pack, sum(sizes) // 2)[::-1])
                continue
            budget.note(sum(sizes))
            for group, part_R in zip(pack, value_R.split(sizes), strict=True):
                chunk.store(*group.place, j, group.run_R, part_R)
        chunk.keep()


class Tails:
    """The base runs of one chunk of a grid, and the passes over tails."""

    def __init__(self, decomposition: Decomposition, chunk: Chunk) -> None:
        """Compute what the positions of the base runs signal in every layer."""
        self.decomposition, self.chunk, self.base_runs = decomposition, chunk, chunk.base_runs
        self.bases = []
        for index, layer in enumerate(decomposition.layers):
            stream_PTD = chunk.base[Site(index, "block_in")]
            mlp_out_PTD = chunk.base.get(Site(index, "mlp_out"))
            beside_PTE = layer.given(chunk.base_runs.tokens_PT)
            self.bases.append(Base.of(layer, stream_PTD, mlp_out_PTD, beside_PTE=beside_PTE))
        self.states = TailStates(decomposition, [base.signals for base in self.bases])
        self.donors = _donor_states(decomposition, chunk) if chunk.donor_streams else self.states
        self.finder = CellFinder(chunk, self.bases, self.states, self.donors)
        first_readout = int(chunk.base_runs.readout_P.min())
        self.patched_layers = PatchedLayers(self.bases, self.states, first_readout)

    def advance(self, position: int) -> None:
        """Go on to a later position."""
        self.states.advance(position)
        self.donors.advance(position)

    def row_bytes(self, n_positions: int) -> int:
        """Return roughly what one row takes while tails of that length are run."""
        per_token = max(_token_bytes(base) for base in self.bases)
        logits = self.base_runs.logits_bytes if self.base_runs.kind == "log_prob" else 0
        return n_positions * per_token + self.states.row_bytes() + logits

    def run(self, position: int, groups: list[CellGroup]) -> Tensor:
        """Return the readout of the groups' rows, in their order; they are sorted by layer."""
        n_layers, stream_RND = len(self.bases), None
        run_R = groups[0].run_R[:0]
        # Going up, rows of lower patches are joined in each layer by those that are patched there:
        # above its patch a cell is a tail like any other, so they all share one product.
        for index in range(groups[0].layer, n_layers):
            new = [group for group in groups if group.layer == index]
            parts = [
                self.patched_layers.run(group, position, self._only(index, position, group.run_R))
                for group in new
            ]
            if stream_RND is not None:
                parts = [self._whole(index, position, stream_RND, run_R), *parts]
            joined_RND = torch.cat(parts) if len(parts) > 1 else parts[0]
            stream_RND = self.bases[index].layer.handed_on(joined_RND)
            run_R = torch.cat([run_R, *(group.run_R for group in new)])
        streams = [] if stream_RND is None else [stream_RND[:, 0]]
        for group in groups:
            if group.layer == n_layers and group.value_RSD is not None:
                here_R = self.base_runs.readout_P[group.run_R] - position
                streams.append(at(group.value_RSD, here_R)[:, 0])
                run_R = torch.cat([run_R, group.run_R])
        return self._read(torch.cat(streams), run_R)

    def _read(self, stream_RD: Tensor, run_R: Tensor) -> Tensor:
        if self.base_runs.kind == "log_prob":
            readout = self.decomposition.readout
            return self.base_runs.read(lambda rows_RD: readout(rows_RD, None), stream_RD, run_R)
        logits_RA = self.decomposition.readout(stream_RD, self.base_runs.columns(run_R))
        return self.base_runs.from_columns(logits_RA)

    def _whole(self, index: int, position: int, stream_RND: Tensor, run_R: Tensor) -> Tensor:
        """Run one layer on tails all of whose positions differ from the base runs'."""
        base, only = self.bases[index], self._only(index, position, run_R)
        mixing, state = base.layer.mixing, self.states.rows(index, run_R)
        normed_RND = base.entered(stream_RND, run_R, position)
        if self.chunk.plan.frozen:
            # The patched run asks (its own signals), but of what the base run had written.
            signals = mixing.project(normed_RND, state)
            written = mixing.written(base.tail(run_R, position), state)
            mixed_RND = at(mixing.reread(signals, written, state), only)
        else:
            mixed_RND = mixing.output_from(normed_RND, state, only=only)
        return base.layer.leave(at(stream_RND, only), mixed_RND)

    def _only(self, index: int, position: int, run_R: Tensor) -> Only:
        if index < len(self.bases) - 1:
            return None
        if self.base_runs.read_last:
            return LAST
        return self.base_runs.readout_P[run_R] - position


def _check_written(decomposition: Decomposition, plan: Plan) -> None:
    unsaid = [n for n, layer in enumerate(decomposition.layers) if layer.mixing.writes is None]
    if not unsaid or not (plan.frozen or "write" in plan.components):
        return
    if plan.frozen or len(unsaid) == len(decomposition.layers):
        what = "frozen=True" if plan.frozen else "'write'"
        raise UsageError(
            f"{what} needs to know what every position writes into memory, and the mixer of layer "
            f"{unsaid[0]} does not say: it is called as a whole. Leave it out, or exchange the "
            "memory after a position: components=['state', 'cache']."
        )


def _check_told(decomposition: Decomposition, plan: Plan) -> None:
    told = any(layer.mixing.tells_recent for layer in decomposition.layers)
    if "state" in plan.components and not told:
        raise UsageError(
            "'state' needs to know what a layer remembers beside the last inputs of a convolution, "
            "and no mixer of this model says it: they are called as a whole. Exchange all that "
            "they remember: components=['cache']."
        )


def _settle(decomposition: Decomposition, chunk: Chunk) -> None:
    """Store the donors' own readouts where a patch turns the run into theirs.

    If the stream before or behind some block differs from the donor's where it is patched alone,
    then it is all the donor's, and so is everything that follows from it.
    So it is at the first layer where prompts differ in one token; further up the difference has
    spread to later positions. Not with frozen memory, of which the upper layers keep the base
    run's; only where the donor is a run, whose readout is known; and only where no later mixer is
    given something of the tokens beside the stream, which stays that of the base run.
    """
    if chunk.plan.frozen or not isinstance(chunk.donor, Interchange):
        return
    for k, i, site in chunk.present():
        later = decomposition.layers[site.layer + (site.component == "block_out") :]
        sees_tokens = any(layer.beside is not None for layer in later)
        if site.component not in ("block_in", "block_out") or sees_tokens:
            continue
        differs_PT = chunk.site_patches[site].differs_PT()
        n_P = differs_PT.sum(1)
        for j, position in enumerate(chunk.plan.positions):
            here_P = differs_PT[:, position : position + chunk.plan.span].sum(1)
            settled_P = (here_P > 0) & (here_P == n_P) & chunk.pending_KIJP[k, i, j]
            run_R = settled_P.nonzero()[:, 0]
            chunk.store(k, i, j, run_R, chunk.donor_P[run_R])


def _packs(groups: list[CellGroup], rows: int) -> list[list[CellGroup]]:
    """Fill passes with groups in order, none with more rows than fit."""
    packs: list[list[CellGroup]] = []
    free = 0
    for part in (part for group in groups for part in group.split(rows)):
        if len(part.run_R) > free:
            packs.append([])
            free = rows
        packs[-1].append(part)
        free -= len(part.run_R)
    return packs


def _donor_states(decomposition: Decomposition, chunk: Chunk) -> TailStates:
    """Return the memory of the runs that donate it."""
    tokens_PT, signals = cast("Interchange", chunk.donor).tokens_PT, []
    for layer, stream_PTD in zip(decomposition.layers, chunk.donor_streams, strict=True):
        entered_PTX = layer.entered(stream_PTD, layer.given(tokens_PT))
        signals.append(layer.mixing.project(entered_PTX, ()))
    return TailStates(decomposition, signals)


def _token_bytes(base: Base) -> int:
    """Return roughly what one position of one row takes while a layer is run on it.

    Its signals and a copy of them; of the stream's width, the stream before and behind, a
    feed-forward part of four times that with its copy, and what norms and sums hold on the way.
    """
    signals = sum(value_PTX[0, 0].nbytes for value_PTX in base.signals.values())
    return 2 * signals + 16 * base.stream_PTD[0, 0].nbytes
