"""Running a wrapped model's real blocks again, one by one, with the arguments of a recorded run.

Shape suffixes: ``P`` recorded runs, ``R`` rows, ``T`` positions, ``D`` residual width, ``C``
vocabulary.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.hooks import stream_output
from mecheval.models.modes import evaluating
from mecheval.models.wrapped.decomposition.cache_context import CACHE, cache_argument
from mecheval.models.wrapped.decomposition.head import no_logits
from mecheval.models.wrapped.decomposition.readout import RealReadout
from mecheval.models.wrapped.decomposition.varying import SIZES
from mecheval.models.wrapped.decomposition.verification import check_same
from mecheval.models.wrapped.discovery.structure import probe_tokens
from mecheval.models.wrapped.recording.arguments import Arguments, Place, growing_axes, receiving
from mecheval.models.wrapped.recording.cache_tensors import (
    Path,
    changed_paths,
    copies,
    tensors,
    with_tensors,
)
from mecheval.models.wrapped.recording.calls import logits_of, noise_like, without_cache
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as
from mecheval.models.wrapped.recording.module_state import left_as_found

if TYPE_CHECKING:
    from mecheval.models.wrapped.discovery.structure import Structure


@dataclass(frozen=True)
class RealBlocks:
    """The blocks of one run, to be called again on other streams.

    Attributes:
        replayer: What is known of the model.
        tokens_PT: The tokens of the run.
        given: What every block was given beside the stream.
        stream_PTD: The stream before the first block.
        cache: What the run remembers of the positions before these, if there are any; of all of
            them where it was recorded for that.
    """

    replayer: Replayer
    tokens_PT: Tensor
    given: list[Arguments]
    stream_PTD: Tensor
    cache: Any = None

    def run(self, layer: int, stream_RTD: Tensor, run_R: Tensor) -> Tensor:
        """Return the stream ``(R, T, D)`` after a block; ``run_R`` says which run each row is."""
        axes, n_runs = self.replayer.axes[layer], len(self.stream_PTD)
        if self.cache is not None:
            axes = self.replayer.tail_axes[layer]

        def rows(place: Place, tensor: Tensor) -> Tensor:
            for axis in axes[place]:  # examples, or examples with heads behind them
                split = tensor.unflatten(axis, (n_runs, -1))
                chosen = split.index_select(axis, run_R.to(tensor.device))
                tensor = chosen.flatten(axis, axis + 1)
            return tensor

        given = self.given[layer].changed(rows)
        if self.cache is not None:
            found, paths = tensors(self.cache), self.replayer.kept[layer]
            own = {path: found[path][run_R.to(found[path].device)] for path in paths}
            given = given.swapped(CACHE, with_tensors(self.cache, own))
        block = self.replayer.structure.blocks[layer]
        with left_as_found(block):
            return stream_output(given.call(block, stream_RTD.contiguous()))

    def run_all(self, run_R: Tensor) -> Tensor:
        """Return the stream after the last block, of some of the runs."""
        stream_RTD = self.stream_PTD[run_R]
        for layer in range(len(self.given)):
            stream_RTD = self.run(layer, stream_RTD, run_R)
        return stream_RTD

    def behind(self, first: int) -> RealBlocks | None:
        """Return the blocks of positions ``first`` on, which remember the run before them.

        Returns:
            None if the model's cache does not serve for that, or if the blocks are given something
            there that they are not given elsewhere.
        """
        if first == 0:
            return self
        if not self.replayer.has_tails:
            return None
        tail = self.replayer.tail(self.tokens_PT, first)
        return tail if self.replayer.knows(tail) else None

    def readout(self, stream_RD: Tensor) -> Tensor:
        """Return all logits ``(R, C)`` of streams after the last block."""
        return self.replayer.readout(stream_RD)


class Replayer:
    """Records runs of a model whose blocks need nothing of each other but the stream.

    Attributes:
        axes: Along which axes what the blocks are given counts examples, by layer and place.
        tail_axes: The same for positions behind others.
        kept: The paths of what every block keeps in the model's cache.
        has_tails: Whether blocks can go on from the model's own cache.
    """

    @torch.no_grad()
    def __init__(self, module: nn.Module, structure: Structure) -> None:
        """Check that the blocks can be called one by one.

        Raises:
            Inseparable: They cannot.
        """
        self.module, self.structure = module, structure
        self.cache_name: str | None = None
        self._remembered: tuple[Tensor, int, Any] | None = None
        with evaluating(module):
            with failing_as("a block alone fails ({})"):
                self._examine(probe_tokens(module))
            try:
                with failing_as():
                    self.has_tails = self._tails_agree(probe_tokens(module))
            except Inseparable:
                self.has_tails = False

    def record(self, tokens_PT: Tensor) -> RealBlocks:
        """Run tokens once and keep what every block is given."""
        self._remembered = None  # the weights may have changed since
        given, stream_PTD, _ = self._received(tokens_PT)
        return RealBlocks(self, tokens_PT, given, stream_PTD)

    def tail(self, tokens_PT: Tensor, first: int) -> RealBlocks:
        """Run tokens from a position on, with what the run remembers of those before."""
        cache = self._cache_before(tokens_PT, first)
        kept = copy.deepcopy(cache)  # the run adds to the one that it is given
        options = {str(self.cache_name): cache, "use_cache": True}
        found, stream_PTD, _ = self._received(tokens_PT[:, first:], options)
        given = [each.swapped(cache, CACHE) for each in found]
        return RealBlocks(self, tokens_PT[:, first:], given, stream_PTD, kept)

    def knows(self, tail: RealBlocks) -> bool:
        """Say whether it is known which axes count examples, of all that the blocks are given."""
        pairs = zip(tail.given, self.tail_axes, strict=True)
        return all(set(given.tensors) <= set(axes) for given, axes in pairs)

    @torch.no_grad()
    def _cache_before(self, tokens_PT: Tensor, first: int) -> Any:
        """Return what a run remembers of the positions before one.

        Positions are asked for one after the other, so that the run goes on from the last one.
        """
        before, remembered = 0, self._remembered
        options: dict[str, Any] = {"use_cache": True}
        if remembered and remembered[0] is tokens_PT and 0 < remembered[1] <= first:
            before = remembered[1]
            options[str(self.cache_name)] = copy.deepcopy(remembered[2])
        if before == first:
            return options[str(self.cache_name)]
        tokens_PN = tokens_PT[:, before:first]
        with left_as_found(self.module), no_logits(self.structure.head, tokens_PN):
            output = self.module(tokens_PN, **options)
        cache = output[self.cache_name]
        self._remembered = tokens_PT, first, copy.deepcopy(cache)
        return cache

    def _tails_agree(self, tokens_BT: Tensor) -> bool:
        """Go on from the middle with other rows, and compare with the whole run."""
        first = tokens_BT.shape[1] // 2
        self.cache_name = cache_argument(self.module)
        if self.cache_name is None:
            return False
        self.kept = self._kept(tokens_BT)
        whole, half = self.record(tokens_BT), self.tail(tokens_BT, first)
        more = self.tail(torch.cat([tokens_BT, tokens_BT[:1]]), first)
        pairs = zip(half.given, more.given, strict=True)
        self.tail_axes = [growing_axes(*pair, SIZES) for pair in pairs]
        swapped_B = torch.arange(len(tokens_BT), device=tokens_BT.device).flip(0)
        wanted_BTD, made_BTD = whole.run_all(swapped_B), half.run_all(swapped_B)
        check_same(made_BTD, wanted_BTD[:, first:], dtype=wanted_BTD.dtype, what="its own cache")
        return True

    def _kept(self, tokens_BT: Tensor) -> list[list[Path]]:
        """Return the paths of what every block changes in the cache, at some tokens in the middle.

        Raises:
            Inseparable: A block keeps something that is not one row per example.
        """
        half = tokens_BT.shape[1] // 2
        cache = self._cache_before(tokens_BT, half)
        seen = [copies(cache)]
        with ExitStack() as stack:
            for block in self.structure.blocks:
                handle = block.register_forward_hook(lambda *_: seen.append(copies(cache)))
                stack.enter_context(handle)
            stack.enter_context(left_as_found(self.module))
            self.module(tokens_BT[:, half:], **{str(self.cache_name): cache, "use_cache": True})
        return [changed_paths(*pair, len(tokens_BT)) for pair in pairwise(seen)]

    def _examine(self, tokens_BT: Tensor) -> None:
        base, logits_BTC = self._record(tokens_BT)
        more, _ = self._record(torch.cat([tokens_BT, tokens_BT[:1]]))
        noisy, _ = self._record(tokens_BT, noisy=True)
        self.axes = [
            growing_axes(*pair, SIZES) for pair in zip(base.given, more.given, strict=True)
        ]
        for given, other in zip(base.given, noisy.given, strict=True):
            if not given.equals(other):
                raise Inseparable(
                    "blocks are given more than the stream that earlier blocks return"
                )
        self.readout = RealReadout(self.module, self.structure)
        swapped_B = torch.arange(len(tokens_BT), device=tokens_BT.device).flip(0)
        logits_RC = self.readout(base.run_all(swapped_B).flatten(0, 1))
        wanted_RC = logits_BTC[swapped_B].flatten(0, 1)
        dtype = next(self.module.parameters()).dtype
        check_same(logits_RC, wanted_RC, dtype=dtype, what="its blocks one by one")

    def _record(self, tokens_PT: Tensor, *, noisy: bool = False) -> tuple[RealBlocks, Tensor]:
        given, stream_PTD, logits_PTC = self._received(tokens_PT, noisy=noisy, read=True)
        return RealBlocks(self, tokens_PT, given, stream_PTD), logits_PTC

    def _received(
        self,
        tokens_PT: Tensor,
        options: dict[str, Any] | None = None,
        *,
        noisy: bool = False,
        read: bool = False,
    ) -> tuple[list[Arguments], Tensor, Tensor]:
        """Return what every block is given in a run, the stream before the first, and the logits.

        Args:
            tokens_PT: The tokens.
            options: Further arguments; those that leave the cache out if None.
            noisy: Whether the first block is given noise.
            read: Whether anybody reads the logits; else they mean nothing.
        """
        found: dict[int, Arguments] = {}
        streams: list[Tensor] = []

        def receive(number: int, given: Arguments, stream_PTD: Tensor) -> Tensor | None:
            found[number] = given
            if number:
                return None
            streams.append(stream_PTD.clone())
            return noise_like(stream_PTD) if noisy else None

        given = without_cache(self.module) if options is None else options
        with ExitStack() as stack:
            stack.enter_context(left_as_found(self.module))
            stack.enter_context(receiving(self.structure.blocks, receive))
            if not read:
                stack.enter_context(no_logits(self.structure.head, tokens_PT))
            logits_PTC = logits_of(self.module(tokens_PT, **given))
        ordered = [found[number] for number in range(len(self.structure.blocks))]
        return ordered, streams[0], logits_PTC
