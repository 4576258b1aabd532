"""Taking a wrapped model apart: each block into its mixer, its feed-forward part, and two sums.

A block is ``stream + mixed`` and then ``+ fed``, with norms before and behind both parts. Which
modules those are shows in the tensors of a recorded run; that they make up the block is checked on
that run, from the start and from the middle.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import Decomposition, Layer
from mecheval.models.sites import Site
from mecheval.models.wrapped.decomposition.attention import HookedAttention
from mecheval.models.wrapped.decomposition.attention_context import AttentionContext
from mecheval.models.wrapped.decomposition.convolution_only import find_convolution
from mecheval.models.wrapped.decomposition.readout import RealReadout
from mecheval.models.wrapped.decomposition.state_space import Dual, Selective, find_state_space
from mecheval.models.wrapped.decomposition.verification import check_layer, check_readout
from mecheval.models.wrapped.discovery.mixer_sites import attention_of, factors
from mecheval.models.wrapped.discovery.structure import Structure, probe_tokens
from mecheval.models.wrapped.recording.arguments import receiving
from mecheval.models.wrapped.recording.calls import Attended, Call, evaluating, record
from mecheval.models.wrapped.recording.chains import Chain, find_chain
from mecheval.models.wrapped.recording.inseparable import FAILURES, Inseparable, pass_shortage
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mecheval.models.contract import Tap
    from mecheval.models.mixing import Mixing


_STRETCH = 1.0123456789012345
"""Put on the first stream, so that no narrower type holds it."""


@dataclass(frozen=True)
class Sum:
    """Adds what some modules make of a part's output to the stream.

    Attributes:
        behind: The modules between the part and the sum.
        dtype: The type that the stream is brought to, where that is not its own.
        factor: What the part's output is multiplied by.
    """

    behind: Chain = field(default_factory=Chain)
    dtype: torch.dtype | None = None
    factor: float = 1.0

    def __call__(self, stream_BTD: Tensor, part_BTD: Tensor) -> Tensor:
        """Return the stream behind the sum."""
        stream_BTD = stream_BTD if self.dtype is None else stream_BTD.to(self.dtype)
        added_BTD = self.behind(part_BTD)
        return stream_BTD + (added_BTD if self.factor == 1 else added_BTD * self.factor)


@torch.no_grad()
def take_apart(module: nn.Module, structure: Structure) -> Decomposition:
    """Take a model apart.

    Raises:
        Inseparable: A block is not of that kind, or its parts do not do what it does.
    """
    with evaluating(module):
        try:
            return _taken_apart(module, structure)
        except FAILURES as error:
            pass_shortage(error)
            raise Inseparable(f"a part alone fails ({in_words(error)})") from error


def _taken_apart(module: nn.Module, structure: Structure) -> Decomposition:
    with receiving(structure.blocks[:1], lambda number, given, stream: stream * _STRETCH):
        root = record(module, probe_tokens(module))
    calls = {call.module: call for call in root.descendants()}
    blocks = [_Block(structure, number, calls) for number in range(len(structure.blocks))]
    attending = [block for block in blocks if block.heads is not None]
    attention_context = AttentionContext(
        module,
        [block.mixer.module for block in attending],
        [block.heads.module for block in attending if block.heads is not None],
    )
    layers = []
    for block in blocks:
        index = attending.index(block) if block.heads is not None else None
        try:
            layers.append(block.decomposition(attention_context, index))
        except Inseparable as reason:
            raise Inseparable(f"layer {block.number}: {reason}") from reason
    readout = RealReadout(module, structure)
    dtype = next(module.parameters()).dtype
    check_readout(readout, blocks[-1].call.output, root.output, dtype=dtype)
    return Decomposition(tuple(layers), readout)


class _Block:
    """One block of a recorded run."""

    def __init__(self, structure: Structure, number: int, calls: Mapping[nn.Module, Call]) -> None:
        self.structure, self.number = structure, number
        self.call = calls[structure.blocks[number]]
        self.stream_BTD = cast("Tensor", self.call.stream_BTD)
        found = [self._site(name) for name in ("mixer_in", "mixer_out")]
        modules = [tap.module for tap in found if tap is not None]
        if found[1] is None or modules[0] is not modules[-1]:
            reason = structure.absent.get(Site(number, "mixer_out"), "its mixer adds to the stream")
            raise Inseparable(f"layer {number}: {reason}")
        self.mixer = calls[modules[0]]
        found = attention_of(self.mixer)
        self.heads = None if found is None else found[1]

    def decomposition(self, attention_context: AttentionContext, index: int | None) -> Layer:
        """Return the block in parts.

        Raises:
            Inseparable: It has no such parts.
        """
        mixing = self._mixing(attention_context, index)
        before = [call for call in self.call.descendants() if call.order < self.mixer.order]
        enter = find_chain(before, self.stream_BTD, cast("Tensor", self.mixer.stream_BTD))
        if enter is None:
            raise Inseparable("modules in a row do not lead from the stream to its mixer")
        # transformers computes parts of a Mamba in float32, also where the model is in float64.
        dtype = self.mixer.output.dtype
        if isinstance(mixing, Selective | Dual) and dtype == torch.float64:
            dtype = torch.float32
        self._check_not_zero(self.mixer.output)
        ways = product(
            self._behind(self.mixer.output), (None, torch.float32), factors(self.call.module)
        )
        for way in ways:
            layer = self._layer(mixing, enter, Sum(*way))
            if layer is not None:
                check_layer(layer, self.stream_BTD, self.call.output, dtype=dtype)
                return layer
        raise Inseparable("what it returns is not the sum of its parts and the stream")

    def _mixing(self, attention_context: AttentionContext, index: int | None) -> Mixing:
        if self.heads is not None and index is not None:
            return self._attention(self.heads, attention_context, index)
        mixing = find_state_space(self.mixer)
        if mixing is None:
            mixing = find_convolution(self.mixer, self._site("conv_out"))
        if mixing is None:
            raise Inseparable(
                f"{type(self.mixer.module).__name__} only runs from the start: it is no Mamba, and "
                "calls no attention function of transformers"
            )
        return mixing

    def _attention(
        self, heads: Attended, attention_context: AttentionContext, index: int
    ) -> Mixing:
        out = find_chain(self.mixer.descendants(), heads.read_BTHK.flatten(2), self.mixer.output)
        if out is None:
            raise Inseparable("modules in a row do not lead from what the heads read to its output")
        names = ("q", "k", "v", "z")
        taps = {name: tap for name in names if (tap := self._site(name)) is not None}
        return HookedAttention(
            self.mixer.module, heads.module, index=index, attention_context=attention_context,
            out=out, taps=taps,
        )  # fmt: skip

    def _layer(self, mixing: Mixing, enter: Chain, join: Sum) -> Layer | None:
        """Return the layer if the block adds the mixer's output in this way."""
        resid_mid_BTD = join(self.stream_BTD, self.mixer.output)
        site, sum_BTD = self._site("mlp_out"), self.call.output
        if site is None and _close(resid_mid_BTD, sum_BTD):
            return Layer(mixing, enter, join)
        mixers = {self.mixer, *self.mixer.descendants()}
        calls = [call for call in self.call.descendants() if call not in mixers]
        for call in calls:
            part = call.output
            fits = isinstance(part, Tensor) and part.numel() == sum_BTD.numel()
            made_BTD = resid_mid_BTD + part.reshape(sum_BTD.shape) * join.factor if fits else None
            if made_BTD is None or not _close(made_BTD, sum_BTD):
                continue
            end = part if site is None else _output(calls, site.module)
            self._check_not_zero(end)
            behind = find_chain(calls, end, part)
            for start_BTD, parallel in ((resid_mid_BTD, False), (self.stream_BTD, True)):
                feed = find_chain(calls, start_BTD, end)
                if feed is not None and feed.modules and behind is not None:
                    close = Sum(behind, factor=join.factor)
                    return Layer(mixing, enter, join, feed, close, parallel)
        return None

    def _behind(self, part_BTD: Tensor) -> Iterator[Chain]:
        """Yield the chains of modules that a part's output runs through, the empty one first."""
        calls = list(self.call.descendants())
        yield Chain()
        for call in calls:
            chain = find_chain(calls, part_BTD, call.output) if _is_like(call, part_BTD) else None
            if chain is not None and chain.modules:
                yield chain

    def _check_not_zero(self, part_BTD: Tensor) -> None:
        if not part_BTD.any():
            raise Inseparable("a part returns zeros, whose way to the stream cannot be seen")

    def _site(self, component: str) -> Tap | None:
        return self.structure.taps.get(Site(self.number, component))


def _is_like(call: Call, part_BTD: Tensor) -> bool:
    return isinstance(call.output, Tensor) and call.output.shape == part_BTD.shape


def _output(calls: list[Call], module: nn.Module) -> Tensor:
    return {call.module: call.output for call in calls}[module]


def _close(made_BTD: Tensor, wanted_BTD: Tensor) -> bool:
    """Say whether two sums differ by rounding only."""
    limit = 16 * torch.finfo(wanted_BTD.dtype).eps * float(wanted_BTD.abs().max())
    return float((made_BTD - wanted_BTD).abs().max()) <= limit
