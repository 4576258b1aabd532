"""What a layer writes and remembers at every position, as rows of numbers: read, and replaced.

The row of a position at ``write`` is what it writes, and at ``state`` the memory after it, without
the last inputs of a short convolution: one tensor behind the other, in the order in which the mixer
names them, each flattened with its last axis running fastest.

Shape suffixes: ``B`` runs, ``T`` positions, ``U`` some of them, ``D`` residual width, ``W`` numbers
of a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from mecheval.interventions.layer_streams import LayerStreams
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import State, Written

    Replace = Callable[[int, Tensor], Tensor]
    """Maps the first of some positions, and their rows ``(B, U, W)``, to other rows."""

Memory = Literal["write", "state"]
"""Sites of memory whose rows have one width at every position."""

_N_TRIED = 3  # positions, after which a memory that grows has grown


@dataclass(frozen=True)
class MemorySite:
    """What a layer writes, or what it remembers.

    Attributes:
        part: The layer.
        component: Which of the two.
        shapes: Of the tensors of one position.
        dtypes: Their types.
    """

    part: Layer
    component: Memory
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @property
    def width(self) -> int:
        """Return how many numbers a row has."""
        return sum(map(math.prod, self.shapes))

    def rows(self, stream_BTD: Tensor, tokens_BT: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Give the first of some positions and their rows ``(B, U, W)``, until all were given.

        Args:
            stream_BTD: The stream before the layer.
            tokens_BT: The tokens of the runs.
        """
        mixing = self.part.mixing
        normed_BTD = self.part.entered(stream_BTD, self.part.given(tokens_BT))
        if self.component == "write":
            yield 0, _row(mixing.written(mixing.project(normed_BTD, ()), ()))
            return
        state: State = ()
        for position in range(normed_BTD.shape[1]):
            state = self._advanced(normed_BTD[:, position : position + 1], state)
            yield position, _row([part_BX[:, None] for part_BX in state[mixing.n_recent :]])

    def stream(self, stream_BTD: Tensor, tokens_BT: Tensor, replace: Replace) -> Tensor:
        """Return the stream behind the layer if the rows were other ones, ``(B, T, D)``.

        At ``write`` every position writes another row, and everything else that the mixer makes of
        its input stays. At ``state`` every position reads another memory than the one that the
        position before it left, which itself goes on from what it was.

        Args:
            stream_BTD: The stream before the layer.
            tokens_BT: The tokens of the runs.
            replace: Returns other rows; of the last position's memory none is read.
        """
        normed_BTD = self.part.entered(stream_BTD, self.part.given(tokens_BT))
        mix = self._rewritten if self.component == "write" else self._remembering
        return self.part.handed_on(self.part.leave(stream_BTD, mix(normed_BTD, replace)))

    def _rewritten(self, normed_BTD: Tensor, replace: Replace) -> Tensor:
        mixing = self.part.mixing
        signals = mixing.project(normed_BTD, ())
        row_BTW = replace(0, _row(mixing.written(signals, ())))
        return mixing.reread(signals, self._tensors(row_BTW), ())

    def _remembering(self, normed_BTD: Tensor, replace: Replace) -> Tensor:
        mixing, n_recent = self.part.mixing, self.part.mixing.n_recent
        outputs: list[Tensor] = []
        own: State = ()
        read: State = ()
        for position in range(normed_BTD.shape[1]):
            here_B1D = normed_BTD[:, position : position + 1]
            outputs.append(mixing.output_from(here_B1D, read))
            if position + 1 == normed_BTD.shape[1]:
                break
            own = self._advanced(here_B1D, own)
            row_B1W = replace(position, _row([part_BX[:, None] for part_BX in own[n_recent:]]))
            read = *own[:n_recent], *(part_B1X[:, 0] for part_B1X in self._tensors(row_B1W))
        return torch.cat(outputs, 1)

    def _advanced(self, here_B1D: Tensor, state: State) -> State:
        mixing = self.part.mixing
        return mixing.advance(mixing.project(here_B1D, state), state)

    def _tensors(self, row_BUW: Tensor) -> Written:
        parts = row_BUW.split([math.prod(shape) for shape in self.shapes], dim=-1)
        return tuple(
            part_BUX.unflatten(-1, shape).to(dtype) if shape else part_BUX[..., 0].to(dtype)
            for part_BUX, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        )


@torch.inference_mode()
def memory_site(model: SequenceModel, layer: int, component: Memory) -> MemorySite | Refusal:
    """Return what a layer writes or remembers as rows of one width, or why there is no such thing.

    Args:
        model: The model.
        layer: The layer, from 0.
        component: Which of the two.
    """
    decomposition = model.decomposition()
    if isinstance(decomposition, Refusal):
        return Refusal(f"memory cannot be told from the rest: {decomposition.reason}")
    part = decomposition.layers[layer]
    mixing, where = part.mixing, f"layer {layer}"
    if mixing.opaque or mixing.from_start:
        return Refusal(f"nothing is known of what {where} remembers but its output")
    if component == "write" and not mixing.writes:
        return Refusal(f"what a position writes into the memory of {where} is not defined")
    tokens_1T = torch.zeros((1, _N_TRIED), dtype=torch.long, device=model.device)
    stream_1TD = LayerStreams(model, tokens_1T, batch_size=1).at(layer)
    normed_1TD = part.entered(stream_1TD, part.given(tokens_1T))
    if component == "write":
        tensors = mixing.written(mixing.project(normed_1TD, ()), ())
        return _site(part, component, [(each.shape[2:], each.dtype) for each in tensors])
    states = [mixing.advance(mixing.project(normed_1TD[:, :n], ()), ()) for n in (1, _N_TRIED)]
    before, after = (
        [(each.shape[1:], each.dtype) for each in state[mixing.n_recent :]] for state in states
    )
    if before != after:
        return Refusal(f"what {where} remembers grows with every position, as attention's does")
    if not after:
        return Refusal(f"{where} remembers no more than the last inputs of a short convolution")
    return _site(part, component, after)


def _site(
    part: Layer, component: Memory, found: list[tuple[torch.Size, torch.dtype]]
) -> MemorySite:
    shapes, dtypes = zip(*found, strict=True)
    return MemorySite(part, component, tuple(map(tuple, shapes)), dtypes)


def _row(tensors: Written | list[Tensor]) -> Tensor:
    """Return tensors ``(B, U, ...)`` as rows ``(B, U, W)``."""
    return torch.cat([part_BUX.flatten(2) if part_BUX.dim() > 2 else part_BUX[..., None]
                      for part_BUX in tensors], -1)  # fmt: skip
