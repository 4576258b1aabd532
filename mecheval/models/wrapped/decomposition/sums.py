"""How a block adds what its mixer and its feed-forward part return to the stream.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import Layer
from mecheval.models.tolerance import ROUNDING
from mecheval.models.wrapped.discovery.mixer_sites import factors
from mecheval.models.wrapped.recording.chains import Chain, find_chain, only_input
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.models.mixing import Mixing
    from mecheval.models.wrapped.recording.calls import Call


@dataclass(frozen=True)
class Sum:
    """Adds what some modules make of a part's output to the stream.

    Attributes:
        behind: The modules between the part and the sum.
        dtype: The type that the stream is brought to, where that is not its own.
        factor: What the part's output is multiplied by.
        after: The modules that the sum passes through.
    """

    behind: Chain = field(default_factory=Chain)
    dtype: torch.dtype | None = None
    factor: float = 1.0
    after: Chain = field(default_factory=Chain)

    def __call__(self, stream_BTD: Tensor, part_BTD: Tensor) -> Tensor:
        """Return the stream behind the sum."""
        stream_BTD = stream_BTD if self.dtype is None else stream_BTD.to(self.dtype)
        added_BTD = self.behind(part_BTD)
        sum_BTD = stream_BTD + (added_BTD if self.factor == 1 else added_BTD * self.factor)
        return self.after(sum_BTD)


class Sums:
    """The sums of one block of a recorded run."""

    def __init__(self, block: Call, mixer: Call, mlp: nn.Module | None) -> None:
        """Take the recorded calls.

        Args:
            block: The block.
            mixer: The mixer in it.
            mlp: The end of the feed-forward part, where it is known.
        """
        self.call, self.mixer, self.mlp = block, mixer, mlp
        self.stream_BTD = cast("Tensor", block.stream_BTD)

    def layer(self, mixing: Mixing) -> Layer:
        """Return the block in parts around its mixer.

        Raises:
            Inseparable: It has no such parts.
        """
        mixer = self.mixer
        before = [call for call in self.call.descendants() if call.order < mixer.order]
        enter = find_chain(before, self.stream_BTD, cast("Tensor", mixer.stream_BTD))
        if enter is None:
            raise Inseparable("modules in a row do not lead from the stream to its mixer")
        _check_not_zero(mixer.output)
        ways = product(self._behind(mixer.output), (None, torch.float32), factors(self.call.module))
        for way in ways:
            layer = self._layer(mixing, enter, Sum(*way))
            if layer is not None:
                return layer
        raise Inseparable("what it returns is not the sum of its parts and the stream")

    def _layer(self, mixing: Mixing, enter: Chain, join: Sum) -> Layer | None:
        """Return the layer if the block adds the mixer's output in this way."""
        sum_BTD = join(self.stream_BTD, self.mixer.output)
        for resid_mid_BTD, after in ((sum_BTD, Chain()), *self._normed(sum_BTD)):
            layer = self._closed(mixing, enter, replace(join, after=after), resid_mid_BTD)
            if layer is not None:
                return layer
        return None

    def _closed(
        self, mixing: Mixing, enter: Chain, join: Sum, resid_mid_BTD: Tensor
    ) -> Layer | None:
        """Return the layer if the block goes on from a stream behind its mixer to its end."""
        calls = self._beside_mixer()
        if self.mlp is None and _close(resid_mid_BTD, self.call.output):
            return Layer(mixing, enter, join)
        ends = ((self.call.output, Chain()), *self._norms())
        for call, (sum_BTD, after) in product(calls, ends):
            part = call.output
            fits = isinstance(part, Tensor) and part.numel() == sum_BTD.numel()
            made_BTD = resid_mid_BTD + part.reshape(sum_BTD.shape) * join.factor if fits else None
            if made_BTD is None or not _close(made_BTD, sum_BTD):
                continue
            end = part if self.mlp is None else _output(calls, self.mlp)
            _check_not_zero(end)
            behind = find_chain(calls, end, part)
            for start_BTD, parallel in ((resid_mid_BTD, False), (self.stream_BTD, True)):
                feed = find_chain(calls, start_BTD, end)
                if feed is not None and feed.modules and behind is not None:
                    close = Sum(behind, factor=join.factor, after=after)
                    return Layer(mixing, enter, join, feed, close, parallel)
        return None

    def _beside_mixer(self) -> list[Call]:
        mixers = {self.mixer, *self.mixer.descendants()}
        return [call for call in self.call.descendants() if call not in mixers]

    def _normed(self, sum_BTD: Tensor) -> Iterator[tuple[Tensor, Chain]]:
        """Yield what single modules make of a sum that they were given."""
        for call in self._beside_mixer():
            given = only_input(call)
            if given is not None and _is_like(call, sum_BTD) and torch.equal(given, sum_BTD):
                yield call.output, Chain((call.module,), (None,))

    def _norms(self) -> Iterator[tuple[Tensor, Chain]]:
        """Yield what single modules were given that returned the block's output."""
        for call in self._beside_mixer():
            given, like = only_input(call), _is_like(call, self.call.output)
            if given is not None and like and torch.equal(call.output, self.call.output):
                yield given, Chain((call.module,), (None,))

    def _behind(self, part_BTD: Tensor) -> Iterator[Chain]:
        """Yield the chains of modules that a part's output runs through, the empty one first."""
        calls = list(self.call.descendants())
        yield Chain()
        for call in calls:
            chain = find_chain(calls, part_BTD, call.output) if _is_like(call, part_BTD) else None
            if chain is not None and chain.modules:
                yield chain


def _is_like(call: Call, part_BTD: Tensor) -> bool:
    return isinstance(call.output, Tensor) and call.output.shape == part_BTD.shape


def _check_not_zero(part_BTD: Tensor) -> None:
    if not part_BTD.any():
        raise Inseparable("a part returns zeros, whose way to the stream cannot be seen")


def _output(calls: list[Call], module: nn.Module) -> Tensor:
    return {call.module: call.output for call in calls}[module]


def _close(made_BTD: Tensor, wanted_BTD: Tensor) -> bool:
    """Say whether two sums differ by rounding only."""
    limit = ROUNDING * torch.finfo(wanted_BTD.dtype).eps * float(wanted_BTD.abs().max())
    return float((made_BTD - wanted_BTD).abs().max()) <= limit
