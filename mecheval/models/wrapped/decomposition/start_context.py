"""What modules are given in a run from the start, for any number of positions and examples.

Shape suffixes: ``B`` examples, ``T`` positions (``N`` where any run is meant), ``D`` width of the
stream, ``E`` width of what is given of the tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mecheval.models.hooks import unvisited
from mecheval.models.wrapped.decomposition.given_context import GivenContext
from mecheval.models.wrapped.decomposition.head import no_logits
from mecheval.models.wrapped.discovery.structure import LENGTH, Structure
from mecheval.models.wrapped.recording.arguments import Arguments, receiving
from mecheval.models.wrapped.recording.calls import noise_like, run
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class StartContext(GivenContext):
    """Knows what modules are given beside the stream in runs from the start."""

    kept = 4  # a grid asks for one length

    def __init__(
        self, module: nn.Module, structure: Structure, modules: Mapping[int, nn.Module]
    ) -> None:
        """Look what the modules are given; see :class:`GivenContext`.

        Raises:
            Inseparable: One of them is not called.
        """
        super().__init__(module, structure, modules)
        self._look(0, LENGTH)

    def given(self, number: int, beside_BTE: Tensor) -> Arguments:
        """Return what a block's module is given in a run.

        Args:
            number: The number of the block.
            beside_BTE: What it is given of the tokens, of no width if nothing.
        """
        return self._going(number, 0, beside_BTE)

    def _record(
        self, first: int, tokens_BN: Tensor, *, noisy: bool = False
    ) -> dict[int, Arguments]:
        numbers, found = list(self.modules), {}

        def see(number: int, given: Arguments, stream_BTD: Tensor) -> None:
            found[numbers[number]] = given

        def disturb(number: int, given: Arguments, stream_BTD: Tensor) -> Tensor | None:
            return noise_like(stream_BTD) if noisy else None

        # Inference mode is left, because what is kept must serve outside of it too.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            unvisited(),
            receiving(self.structure.blocks[:1], disturb),
            receiving(list(self.modules.values()), see),
            no_logits(self.structure.head, tokens_BN),
        ):
            run(self.module, tokens_BN)
        if set(found) != set(self.modules):
            raise Inseparable("its module is not called")
        return found
