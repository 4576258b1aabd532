"""One block taken apart: into its mixer, its feed-forward part, and two sums, or as one part.

A block is ``stream + mixed`` and then ``+ mlp_out``, with norms before and behind both parts, or
behind the sums. Which
modules those are shows in the tensors of a recorded run. There are four ways to run a block from
the middle of a sequence on, tried in this order, because the first ones show most and skip most:

1. the mixer is known: attention whose own function attends, or a state-space scan;
2. the mixer is called as it is and goes on from the model's own cache;
3. the whole block is;
4. the mixer is called as it is, on all that it was given from the start on.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import Layer
from mecheval.models.narrowing import narrows
from mecheval.models.sites import COMPONENTS, Site
from mecheval.models.tolerance import ROUNDING
from mecheval.models.wrapped.decomposition.attention import HookedAttention
from mecheval.models.wrapped.decomposition.convolution_only import find_convolution
from mecheval.models.wrapped.decomposition.from_start import FromStart
from mecheval.models.wrapped.decomposition.own_cache import OwnCache
from mecheval.models.wrapped.decomposition.state_space import find_state_space
from mecheval.models.wrapped.decomposition.verification import check_layer
from mecheval.models.wrapped.discovery.mixer_sites import attention_of, factors
from mecheval.models.wrapped.recording.chains import Chain, find_chain, only_input
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mecheval.models.contract import Tap
    from mecheval.models.mixing import Mixing
    from mecheval.models.wrapped.decomposition.contexts import Contexts
    from mecheval.models.wrapped.discovery.structure import Structure
    from mecheval.models.wrapped.recording.calls import Attended, Call


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


INSIDE = ("q", "k", "v", "z", "conv_out")
"""Components inside a mixer."""


class Block:
    """One block of a recorded run."""

    def __init__(
        self,
        structure: Structure,
        number: int,
        calls: Mapping[nn.Module, Call],
        tokens_BT: Tensor,
    ) -> None:
        self.structure, self.number, self.tokens_BT = structure, number, tokens_BT
        self.call = calls[structure.blocks[number]]
        self.stream_BTD = cast("Tensor", self.call.stream_BTD)
        found = [self._site(name) for name in ("mixer_in", "mixer_out")]
        modules = [tap.module for tap in found if tap is not None]
        one = found[1] is not None and modules[0] is modules[-1]
        self.mixer = calls[modules[0]] if one else None
        heads = None if self.mixer is None else attention_of(self.mixer)
        self.heads = None if heads is None else heads[1]

    def layer(self, contexts: Contexts) -> Layer:
        """Return the block in parts, as small as they are found.

        Raises:
            Inseparable: Not even the whole block can be taken up in the middle of a sequence.
        """
        reasons = []
        for way in (self._known, self._remembering, self._whole, self._from_start):
            try:
                with failing_as("a part alone fails ({})"):
                    return way(contexts)
            except Inseparable as reason:
                reasons.append(str(reason))
        known, _, whole, start = reasons
        again = "" if start == known else f"; from the start: {start}"
        raise Inseparable(f"layer {self.number}: {known}; as a whole: {whole}{again}")

    def _known(self, contexts: Contexts) -> Layer:
        """Return the block in parts whose mixer is known."""
        return self._parts(self._mixing(contexts))

    def _remembering(self, contexts: Contexts) -> Layer:
        """Return the block in parts whose mixer goes on from the model's own cache."""
        if self.mixer is None:
            raise self._no_mixer()
        context, stream_BTD = contexts.mixer_caches(), cast("Tensor", self.mixer.stream_BTD)
        mixing = OwnCache(context, self.number, stream_BTD=stream_BTD, taps=self._taps(INSIDE))
        return self._parts(mixing, beside=context.beside(self.number))

    def _from_start(self, contexts: Contexts) -> Layer:
        """Return the block in parts whose mixer is run from the start."""
        if self.mixer is None:
            raise self._no_mixer()
        return self._parts(FromStart(contexts.from_start(), self.number, taps=self._taps(INSIDE)))

    def _whole(self, contexts: Contexts) -> Layer:
        """Return the block as one part that goes on from the model's own cache."""
        names = [name for name in COMPONENTS if name not in ("block_in", "block_out")]
        context = contexts.block_caches()
        mixing = OwnCache(context, self.number, stream_BTD=self.stream_BTD, taps=self._taps(names))
        layer = Layer(mixing, _as_it_is, _instead, beside=context.beside(self.number))
        self._check(layer)
        return layer

    def _check(self, layer: Layer) -> None:
        # transformers computes parts of many blocks in float32, also where a model is in float64.
        beside_BTE = layer.given(self.tokens_BT)
        check_layer(
            layer, self.stream_BTD, self.call.output, dtype=self._dtype, beside_BTE=beside_BTE
        )

    @cached_property
    def _dtype(self) -> torch.dtype:
        """Return the type of number that the block computes in; its stream can be wider."""
        weights = next(self.call.module.parameters(), self.call.output)
        dtype = max(
            (self.call.output.dtype, weights.dtype), key=lambda dtype: torch.finfo(dtype).eps
        )
        if dtype == torch.float64 and narrows(lambda: self.call.replay(self.stream_BTD)):
            return torch.float32
        return dtype

    def _taps(self, names: Iterable[str]) -> dict[str, Tap]:
        return {name: tap for name in names if (tap := self._site(name)) is not None}

    def _no_mixer(self) -> Inseparable:
        site = Site(self.number, "mixer_out")
        return Inseparable(self.structure.absent.get(site, "its mixer adds to the stream"))

    def _parts(self, mixing: Mixing, beside: Callable[[Tensor], Tensor] | None = None) -> Layer:
        """Return the block in parts around its mixer, and what that is given of the tokens.

        Raises:
            Inseparable: It has no such parts.
        """
        mixer = cast("Call", self.mixer)
        before = [call for call in self.call.descendants() if call.order < mixer.order]
        enter = find_chain(before, self.stream_BTD, cast("Tensor", mixer.stream_BTD))
        if enter is None:
            raise Inseparable("modules in a row do not lead from the stream to its mixer")
        self._check_not_zero(mixer.output)
        ways = product(self._behind(mixer.output), (None, torch.float32), factors(self.call.module))
        for way in ways:
            layer = self._layer(mixing, enter, Sum(*way))
            if layer is not None:
                layer = replace(layer, beside=beside)
                self._check(layer)
                return layer
        raise Inseparable("what it returns is not the sum of its parts and the stream")

    def _mixing(self, contexts: Contexts) -> Mixing:
        if self.mixer is None:
            raise self._no_mixer()
        if self.heads is not None:
            return self._attention(self.mixer, self.heads, contexts)
        mixing = find_state_space(self.mixer)
        if mixing is None:
            mixing = find_convolution(self.mixer, self._site("conv_out"))
        if mixing is None:
            raise Inseparable(
                f"{type(self.mixer.module).__name__} only runs from the start: it is no Mamba, and "
                "calls no attention function of transformers"
            )
        return mixing

    def _attention(self, mixer: Call, heads: Attended, contexts: Contexts) -> Mixing:
        out = find_chain(mixer.descendants(), heads.read_BTHK.flatten(2), mixer.output)
        if out is None:
            raise Inseparable("modules in a row do not lead from what the heads read to its output")
        context = contexts.attention()
        return HookedAttention(
            mixer.module, heads.module, index=contexts.attending.index(self.number),
            attention_context=context, out=out, taps=self._taps(("q", "k", "v", "z")),
        )  # fmt: skip

    def _layer(self, mixing: Mixing, enter: Chain, join: Sum) -> Layer | None:
        """Return the layer if the block adds the mixer's output in this way."""
        sum_BTD = join(self.stream_BTD, cast("Call", self.mixer).output)
        for resid_mid_BTD, after in ((sum_BTD, Chain()), *self._normed(sum_BTD)):
            layer = self._closed(mixing, enter, replace(join, after=after), resid_mid_BTD)
            if layer is not None:
                return layer
        return None

    def _closed(
        self, mixing: Mixing, enter: Chain, join: Sum, resid_mid_BTD: Tensor
    ) -> Layer | None:
        """Return the layer if the block goes on from a stream behind its mixer to its end."""
        site, calls = self._site("mlp_out"), self._beside_mixer()
        if site is None and _close(resid_mid_BTD, self.call.output):
            return Layer(mixing, enter, join)
        ends = ((self.call.output, Chain()), *self._norms())
        for call, (sum_BTD, after) in product(calls, ends):
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
                    close = Sum(behind, factor=join.factor, after=after)
                    return Layer(mixing, enter, join, feed, close, parallel)
        return None

    def _beside_mixer(self) -> list[Call]:
        mixer = cast("Call", self.mixer)
        mixers = {mixer, *mixer.descendants()}
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

    def _check_not_zero(self, part_BTD: Tensor) -> None:
        if not part_BTD.any():
            raise Inseparable("a part returns zeros, whose way to the stream cannot be seen")

    def _site(self, component: str) -> Tap | None:
        return self.structure.taps.get(Site(self.number, component))


def _as_it_is(stream_BTD: Tensor) -> Tensor:
    return stream_BTD


def _instead(stream_BTD: Tensor, made_BTD: Tensor) -> Tensor:
    return made_BTD


def _is_like(call: Call, part_BTD: Tensor) -> bool:
    return isinstance(call.output, Tensor) and call.output.shape == part_BTD.shape


def _output(calls: list[Call], module: nn.Module) -> Tensor:
    return {call.module: call.output for call in calls}[module]


def _close(made_BTD: Tensor, wanted_BTD: Tensor) -> bool:
    """Say whether two sums differ by rounding only."""
    limit = ROUNDING * torch.finfo(wanted_BTD.dtype).eps * float(wanted_BTD.abs().max())
    return float((made_BTD - wanted_BTD).abs().max()) <= limit
