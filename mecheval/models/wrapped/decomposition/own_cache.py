"""A module that remembers by the model's own cache: taken up at any position by calling it.

Whatever it does inside, a module of transformers that is given the cache goes on from it. Nothing
is known of what its positions signal, so that the signals are its input; what it remembers is what
it changes in the cache. It serves for mixers that are no others, and for whole blocks.

Shape suffixes: ``B`` examples, ``T`` positions, ``N`` those that go on, ``D`` width of the stream,
with what the module is given of the tokens behind it where there is such a thing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.hooks import stream_output, visiting
from mecheval.models.layouts import ChannelsFirst
from mecheval.models.mixing import Edit, Only, Signals, State, at, unchanged
from mecheval.models.wrapped.decomposition.cache_context import CACHE, CacheContext, dense
from mecheval.models.wrapped.decomposition.called import CalledModule
from mecheval.models.wrapped.decomposition.varying import SIZES
from mecheval.models.wrapped.recording.cache_tensors import (
    Path,
    changed_paths,
    copies,
    is_recent,
    tensors,
    with_tensors,
)
from mecheval.models.wrapped.recording.calls import noise_like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.models.contract import Tap

POSITIONS = 5
"""How many are run to see what a module remembers."""


class OwnCache(CalledModule):
    """A module that goes on from the cache.

    The state is a counter of the positions so far, ``(B, 1)``, then the last inputs of short
    convolutions, then all else that the module keeps.
    """

    def __init__(
        self, context: CacheContext, number: int, *, stream_BTD: Tensor, taps: Mapping[str, Tap]
    ) -> None:
        """Look what the module keeps; see :class:`CalledModule`.

        Raises:
            Inseparable: It keeps something that is not one row per example.
        """
        super().__init__(context, number, stream_BTD=stream_BTD, taps=taps)
        self.context = context
        self.paths = self._kept()
        self.remembers = ("positions", *(".".join(map(str, path)) for path in self.paths))
        self.n_recent = 1 + sum(is_recent(path) for path in self.paths)
        # A module that keeps nothing works on each position alone, or it would not pass the check.
        self.opaque = bool(self.paths)
        self.writes = None if self.opaque else ()

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Call the module with a cache that holds the state."""
        return self._called(signals["input"], state)

    def output(
        self, signals: Signals, state: State, *, only: Only = None, edit: Edit = unchanged
    ) -> Tensor:
        """Call the module, with hooks on its sites where something is edited."""
        input_BND = signals["input"]
        n_positions = input_BND.shape[1]
        visits = self.shown(edit, n_positions)
        if n_positions == 1 and state:
            visits = {_unpadded(tap): visit for tap, visit in visits.items()}
        with visiting(visits):
            return at(self._called(input_BND, state)[0], only)

    def _called(self, input_BND: Tensor, state: State) -> tuple[Tensor, State]:
        n_examples, n_positions, _ = input_BND.shape
        first = int(state[0][0, 0]) if state else 0
        output_BND, memory = self.run(input_BND, first, state[1:])
        counter_B1 = torch.full((n_examples, 1), first + n_positions, device=input_BND.device)
        return output_BND, (counter_B1, *memory)

    def run(self, input_BND: Tensor, first: int, memory: State) -> tuple[Tensor, State]:
        """Call the module on the positions from one on; return its output, and its memory then.

        Args:
            input_BND: Its input there.
            first: The first position.
            memory: What it keeps of those before; ``()`` where there are none.
        """
        n_examples = len(input_BND)
        stream_BND, beside_BNE = input_BND[..., : self.width], input_BND[..., self.width :]
        given, cache = self.context.going(self.number, first, beside_BNE)
        if memory:
            # Copies, because modules write into some of the tensors that they keep.
            own = (part.clone() for part in memory)
            cache = with_tensors(cache, dict(zip(self.paths, own, strict=True)))
        else:
            cache = dense(cache, n_examples)
        # A copy, because a module may write into its input, which can be a base run's.
        own_BND = stream_BND.clone(memory_format=torch.contiguous_format).to(self.dtype)
        output = given.swapped(CACHE, cache).call(self.module, own_BND)
        kept = tensors(cache)
        return stream_output(output), tuple(kept[path] for path in self.paths)

    def _kept(self) -> list[Path]:
        """Return the paths of what the module changes, recent inputs first."""
        parameter = next(self.context.module.parameters())
        input_BND = noise_like(parameter.new_zeros(SIZES[1], POSITIONS, self.width))
        tokens_BN = self.context.alike(POSITIONS, SIZES[1])
        of_tokens = self.context.beside(self.number)
        beside_BNE = input_BND[..., :0] if of_tokens is None else of_tokens(tokens_BN)
        given, cache = self.context.going(self.number, 0, beside_BNE)
        cache = dense(cache, SIZES[1])
        before = copies(cache)
        given.swapped(CACHE, cache).call(self.module, input_BND)
        return changed_paths(before, tensors(cache), SIZES[1])


def _unpadded(tap: Tap) -> Tap:
    """Return where a convolution's output is when it is given no more than it sees."""
    return replace(tap, layout=ChannelsFirst()) if tap.side == "function" else tap
