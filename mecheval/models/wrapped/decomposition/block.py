"""One block taken apart: into its mixer, its feed-forward part, and two sums, or as one part.

A block is ``stream + mixed`` and then ``+ mlp_out``, with norms before and behind both parts, or
behind the sums. Which
modules those are shows in the tensors of a recorded run. There are six ways to run a block from
the middle of a sequence on, tried in this order, because the first ones show most and skip most:

1. the mixer is known: attention whose own function attends, or a state-space scan;
2. the mixer is called as it is and goes on from the model's own cache;
3. the whole block is;
4. the whole block is, never for one position alone;
5. the mixer is called as it is, on all that it was given from the start on;
6. the whole block is: that skips nothing but other blocks.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import Layer
from mecheval.models.narrowing import narrows
from mecheval.models.sites import COMPONENTS, Site
from mecheval.models.wrapped.decomposition.attention import HookedAttention
from mecheval.models.wrapped.decomposition.convolution_only import find_convolution
from mecheval.models.wrapped.decomposition.from_start import FromStart
from mecheval.models.wrapped.decomposition.own_cache import OwnCache
from mecheval.models.wrapped.decomposition.several_at_once import SeveralAtOnce
from mecheval.models.wrapped.decomposition.state_space import as_it_is, find_state_space
from mecheval.models.wrapped.decomposition.sums import Sums
from mecheval.models.wrapped.decomposition.verification import check_layer
from mecheval.models.wrapped.discovery.mixer_sites import attention_of
from mecheval.models.wrapped.recording.chains import find_chain
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mecheval.models.contract import Tap
    from mecheval.models.mixing import Mixing
    from mecheval.models.wrapped.decomposition.contexts import Contexts
    from mecheval.models.wrapped.decomposition.given_context import GivenContext
    from mecheval.models.wrapped.discovery.structure import Structure
    from mecheval.models.wrapped.recording.calls import Attended, Call

    Find = Callable[..., GivenContext]
    """Finds what mixers, or whole blocks, are given."""


INSIDE = ("q", "k", "v", "z", "conv_out")
"""Components inside a mixer."""

WITHIN = tuple(name for name in COMPONENTS if name not in ("block_in", "block_out"))
"""Components inside a block."""


class Block:
    """One block of a recorded run.

    Attributes:
        refusal: Why it only runs from the start, as a whole; None as long as there is another way.
    """

    refusal: str | None = None

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
            Inseparable: Not even the whole block runs alone.
        """
        ways = (
            lambda: self._parts(self._mixing(contexts)),
            lambda: self._mixer_as_it_is(OwnCache, contexts.caches),
            lambda: self._whole(OwnCache, contexts.caches),
            lambda: self._whole(SeveralAtOnce, contexts.caches),
            lambda: self._mixer_as_it_is(FromStart, contexts.from_start),
        )
        reasons = []
        for way in ways:
            found = _tried(way)
            if isinstance(found, Layer):
                return found
            reasons.append(found)
        known, _, whole, _, start = reasons
        again = "" if start == known else f"; from the start: {start}"
        self.refusal = f"layer {self.number}: {known}; as a whole: {whole}{again}"
        found = _tried(lambda: self._whole(FromStart, contexts.from_start))
        if isinstance(found, Layer):
            return found
        raise Inseparable(self.refusal)

    def _mixer_as_it_is(self, kind: Callable[..., Mixing], find: Find) -> Layer:
        """Return the block in parts whose mixer is called as it is."""
        if self.mixer is None:
            raise self._no_mixer()
        context, taps = find(whole=False), self._taps(INSIDE)
        mixing = kind(context, self.number, stream_BTD=self.mixer.stream_BTD, taps=taps)
        return self._parts(mixing, beside=context.beside(self.number))

    def _whole(self, kind: Callable[..., Mixing], find: Find) -> Layer:
        """Return the block as one part."""
        context, taps = find(whole=True), self._taps(WITHIN)
        mixing = kind(context, self.number, stream_BTD=self.stream_BTD, taps=taps)
        layer = Layer(mixing, as_it_is, _instead, beside=context.beside(self.number))
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
        site = self._site("mlp_out")
        sums = Sums(self.call, cast("Call", self.mixer), None if site is None else site.module)
        layer = replace(sums.layer(mixing), beside=beside)
        self._check(layer)
        return layer

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

    def _site(self, component: str) -> Tap | None:
        return self.structure.taps.get(Site(self.number, component))


def _tried(way: Callable[[], Layer]) -> Layer | str:
    """Return a block in parts, or why it does not come apart in this way."""
    try:
        with failing_as("a part alone fails ({})"):
            return way()
    except Inseparable as reason:
        return str(reason)


def _instead(stream_BTD: Tensor, made_BTD: Tensor) -> Tensor:
    return made_BTD
