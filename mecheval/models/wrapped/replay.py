"""Running a wrapped model's real blocks again, one by one, with the arguments of a recorded run.

Shape suffixes: ``P`` recorded runs, ``R`` rows, ``T`` positions, ``D`` residual width, ``C``
vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.hooks import stream_output
from mecheval.models.wrapped.calls import evaluating, run
from mecheval.models.wrapped.given import Given, growing_axes, receiving
from mecheval.models.wrapped.reasons import FAILURES, Inseparable
from mecheval.models.wrapped.rest import Rest
from mecheval.models.wrapped.structure import probe_tokens
from mecheval.models.wrapped.verification import check_same

if TYPE_CHECKING:
    from mecheval.models.wrapped.structure import Structure

SIZES = (2, 3)
"""Two numbers of examples to tell axes of examples from others."""


@dataclass(frozen=True)
class RealBlocks:
    """The blocks of one run, to be called again on other streams.

    Attributes:
        replayer: What is known of the model.
        given: What every block was given beside the stream.
        stream_PTD: The stream before the first block.
    """

    replayer: Replayer
    given: list[Given]
    stream_PTD: Tensor

    def run(self, layer: int, stream_RTD: Tensor, run_R: Tensor) -> Tensor:
        """Return the stream ``(R, T, D)`` after a block; ``run_R`` says which run each row is."""
        axes, n_runs = self.replayer.axes[layer], len(self.stream_PTD)

        def rows(number: int, tensor: Tensor) -> Tensor:
            for axis in axes[number]:  # examples, or examples with heads behind them
                split = tensor.unflatten(axis, (n_runs, -1))
                chosen = split.index_select(axis, run_R.to(tensor.device))
                tensor = chosen.flatten(axis, axis + 1)
            return tensor

        block = self.replayer.structure.blocks[layer]
        return stream_output(self.given[layer].changed(rows).call(block, stream_RTD.contiguous()))

    def readout(self, stream_RD: Tensor) -> Tensor:
        """Return all logits ``(R, C)`` of streams after the last block."""
        return self.replayer.rest(stream_RD)


class Replayer:
    """Records runs of a model whose blocks need nothing of each other but the stream."""

    @torch.no_grad()
    def __init__(self, module: nn.Module, structure: Structure) -> None:
        """Check that the blocks can be called one by one.

        Raises:
            Inseparable: They cannot.
        """
        self.module, self.structure = module, structure
        with evaluating(module):
            try:
                self._examine(probe_tokens(module))
            except FAILURES as error:
                raise Inseparable(
                    f"a block alone fails ({type(error).__name__}: {error})"
                ) from error

    def record(self, tokens_PT: Tensor) -> RealBlocks:
        """Run tokens once and keep what every block is given."""
        return self._record(tokens_PT)[0]

    def _examine(self, tokens_BT: Tensor) -> None:
        base, logits_BTC = self._record(tokens_BT)
        more, _ = self._record(torch.cat([tokens_BT, tokens_BT[:1]]))
        noisy, _ = self._record(tokens_BT, noisy=True)
        self.axes = [
            growing_axes(*pair, SIZES) for pair in zip(base.given, more.given, strict=True)
        ]
        for given, other in zip(base.given, noisy.given, strict=True):
            pairs = zip(given.tensors, other.tensors, strict=True)
            if not all(torch.equal(*pair) for pair in pairs):
                raise Inseparable(
                    "blocks are given more than the stream that earlier blocks return"
                )
        self.rest = Rest(self.module, self.structure)
        swapped_B = torch.arange(len(tokens_BT), device=tokens_BT.device).flip(0)
        stream_BTD = base.stream_PTD[swapped_B]
        for layer in range(len(self.structure.blocks)):
            stream_BTD = base.run(layer, stream_BTD, swapped_B)
        logits_RC = self.rest(stream_BTD.flatten(0, 1))
        wanted_RC = logits_BTC[swapped_B].flatten(0, 1)
        dtype = next(self.module.parameters()).dtype
        check_same(logits_RC, wanted_RC, dtype=dtype, what="its blocks one by one")

    def _record(self, tokens_PT: Tensor, *, noisy: bool = False) -> tuple[RealBlocks, Tensor]:
        found: dict[int, Given] = {}
        streams: list[Tensor] = []

        def receive(number: int, given: Given, stream_PTD: Tensor) -> Tensor | None:
            found[number] = given
            if number:
                return None
            streams.append(stream_PTD.clone())
            noise = torch.Generator(stream_PTD.device).manual_seed(0)
            return torch.empty_like(stream_PTD).normal_(generator=noise) if noisy else None

        with receiving(self.structure.blocks, receive):
            logits_PTC = run(self.module, tokens_PT)
        given = [found[number] for number in range(len(self.structure.blocks))]
        return RealBlocks(self, given, streams[0]), logits_PTC
