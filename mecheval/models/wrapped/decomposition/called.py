"""A module that is called as it is: nothing is known of it but what it is given and returns.

Its signals are its input, and its sites are shown to an edit by hooks.

Shape suffixes: ``B`` examples, ``T`` positions, ``M`` all positions of a call, ``N`` those of them
that are shown, ``D`` width of the stream, ``X`` of a site.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from mecheval.models.mixing import Edit, Mixing, Signals, State, unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from mecheval.models.contract import Tap
    from mecheval.models.wrapped.decomposition.given_context import GivenContext


class CalledModule(Mixing):
    """A module whose input is all that its positions signal."""

    output_of_both = Mixing.output_at_once
    module: nn.Module

    def __init__(
        self, context: GivenContext, number: int, *, stream_BTD: Tensor, taps: Mapping[str, Tap]
    ) -> None:
        """Take the module.

        Args:
            context: Knows what it is given.
            number: The number of its block.
            stream_BTD: A stream that it was given.
            taps: The sites inside the module.
        """
        self.number, self.module, self.taps = number, context.modules[number], taps
        self.width, self.dtype = stream_BTD.shape[-1], stream_BTD.dtype
        self.inner = self.late = tuple(taps)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the input."""
        return {"input": normed_BTD}

    def shown(self, edit: Edit, n_positions: int, n_behind: int = 0) -> dict[Tap, Callable]:
        """Return what shows an edit some positions of every site, and keeps those around them.

        Args:
            edit: The edit.
            n_positions: How many positions it is shown.
            n_behind: How many there are behind them.
        """
        if edit is unchanged:
            return {}

        def visit(name: str, value_BMX: Tensor) -> Tensor:
            # A convolution runs over its last inputs in the cache, too, which come first.
            last = value_BMX.shape[1] - n_behind
            earlier = last - n_positions
            edited_BNX = edit(name, value_BMX[:, earlier:last])
            if n_positions == value_BMX.shape[1]:
                return edited_BNX
            return torch.cat([value_BMX[:, :earlier], edited_BNX, value_BMX[:, last:]], 1)

        return {tap: partial(visit, name) for name, tap in self.taps.items()}
