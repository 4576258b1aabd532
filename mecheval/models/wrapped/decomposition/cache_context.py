"""What modules need to go on from the model's own cache: the cache, and all else they are given.

A module that is given the cache remembers by itself. What it is given at some positions behind
others is recorded from the model's own forward pass over just these positions, with a cache of the
right length: whatever masks, distances or positions the model makes of it are its own. The pass is
made on one example, and stops before every such module, so that it costs next to nothing.

Shape suffixes: ``B`` examples, ``N`` positions that go on, ``D`` width of the stream.
"""

from __future__ import annotations

import copy
import inspect
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.hooks import unvisited, with_stream_output
from mecheval.models.wrapped.decomposition.given_context import GivenContext
from mecheval.models.wrapped.decomposition.readout import instead, returning
from mecheval.models.wrapped.discovery.structure import LENGTH, Structure, probe_tokens
from mecheval.models.wrapped.recording.arguments import Arguments, swapped
from mecheval.models.wrapped.recording.cache_tensors import tensors, with_tensors
from mecheval.models.wrapped.recording.calls import noise_like
from mecheval.models.wrapped.recording.inseparable import Inseparable
from mecheval.models.wrapped.recording.module_state import left_as_found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CACHE = object()
"""Stands where a module was given the model's cache."""


class _Stop(Exception):  # noqa: N818 - a way out of a forward pass, no error
    """Nothing behind this module is wanted."""


def cache_argument(module: nn.Module) -> str | None:
    """Find the output of a model that can be given back as an argument of the same name."""
    known = inspect.signature(module.forward).parameters
    if not hasattr(getattr(module, "config", None), "use_cache"):
        return None
    with left_as_found(module):
        output = module(probe_tokens(module)[:, :1], use_cache=True)
    given_back = [
        name
        for name, value in (output.items() if hasattr(output, "items") else ())
        if name in known and not isinstance(value, Tensor)
    ]
    return given_back[0] if given_back else None


class CacheContext(GivenContext):
    """Knows what modules are given on any positions of a run that keeps a cache."""

    kept = 8  # engines ask for few stretches of positions in turn

    def __init__(
        self, module: nn.Module, structure: Structure, modules: Mapping[int, nn.Module]
    ) -> None:
        """Look how the model keeps its cache; see :class:`GivenContext`.

        Raises:
            Inseparable: The model has no cache, or not all modules are called with it.
        """
        super().__init__(module, structure, modules)
        name = cache_argument(module)
        if name is None:
            raise Inseparable("the model returns no cache that it takes again")
        self.name = name
        self._outputs: list[Any] = []
        self._caches: dict[int, Any] = {0: self._empty_cache()}
        half = LENGTH // 2
        for stretch in ((0, 1), (0, half), (half, half + 1), (half, LENGTH)):
            self._look(*stretch)

    def going(self, number: int, first: int, beside_BNE: Tensor) -> tuple[Arguments, Any]:
        """Return what a block's module is given on the positions from one on.

        Args:
            number: The number of the block.
            first: The first position.
            beside_BNE: What it is given of the tokens there, of no width if nothing.

        Returns:
            Its arguments with :data:`CACHE` for the cache, and the cache before these positions,
            of one example of no meaning.

        Raises:
            RuntimeError: It is given something there that it was not given elsewhere.
        """
        return self._going(number, first, beside_BNE), self._caches[first]

    def _empty_cache(self) -> Any:
        """Return the cache that the model makes for itself, before anything is in it."""
        before: list[tuple[Any, Any]] = []

        def keep(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            given = (*args, *kwargs.values())
            before.extend((value, copy.deepcopy(value)) for value in given if _can_keep(value))

        with self.structure.blocks[0].register_forward_pre_hook(keep, with_kwargs=True):
            cache = self._run(self.alike(1, 1), None)[self.name]
        for value, copied in before:
            if value is cache:
                return _as_exact_as(copied, self._parameter.dtype)
        raise Inseparable("its blocks are not given the cache that the model returns")

    def _run(self, tokens_BN: Tensor, cache: Any) -> Any:
        options = {"use_cache": True} if cache is None else {"use_cache": True, self.name: cache}
        # Inference mode is left, because what is kept must serve outside of it too.
        with torch.inference_mode(False), torch.no_grad(), unvisited(), left_as_found(self.module):
            return self.module(tokens_BN, **options)

    def _cache(self, first: int) -> Any:
        """Return a cache as long as some positions, whose tensors are zeros without memory."""
        if first not in self._caches:
            before = max(known for known in self._caches if known < first)
            cache = dense(self._caches[before], 1)
            output = self._run(self.alike(first - before, 1), cache)
            self._caches[first] = _hollow(output[self.name])
        return self._caches[first]

    def _record(
        self, first: int, tokens_BN: Tensor, *, noisy: bool = False
    ) -> dict[int, Arguments]:
        cache, found = dense(self._cache(first), len(tokens_BN)), {}
        if not self._outputs:
            self._outputs = self._returned()

        def block_stub(number: int) -> Callable[..., Any]:
            block = self.structure.blocks[number]
            real, wanted = block.forward, self.modules.get(number)

            def catch(*args: Any, **kwargs: Any) -> None:
                whole = Arguments(args, kwargs).swapped(cache, CACHE)
                found[number], _ = Arguments.of(whole.args, whole.kwargs)
                raise _Stop

            def stub(*args: Any, **kwargs: Any) -> Any:
                _, stream_BND = Arguments.of(args, kwargs)
                if noisy and number == 0:
                    real_BND, stream_BND = stream_BND, noise_like(stream_BND)
                    # Not inside of them, because the cache can be a list, which is to stay itself.
                    args = tuple(stream_BND if value is real_BND else value for value in args)
                    kwargs |= {k: stream_BND for k, value in kwargs.items() if value is real_BND}
                try:
                    if wanted is block:
                        catch(*args, **kwargs)
                    elif wanted is not None:
                        with instead(wanted, catch):
                            real(*args, **kwargs)
                except _Stop:
                    pass
                if number == last_block:
                    raise _Stop
                output = swapped(self._outputs[number], CACHE, cache)
                return with_stream_output(output, stream_BND)

            return stub

        last_block = len(self.structure.blocks) - 1
        with ExitStack() as stack:
            for number, block in enumerate(self.structure.blocks):
                stack.enter_context(instead(block, block_stub(number)))
            with suppress(_Stop):
                self._run(tokens_BN, cache)
        if set(found) != set(self.modules):
            raise Inseparable("its module is not called in a run that keeps a cache")
        return found

    def _returned(self) -> list[Any]:
        with returning(self.structure.blocks) as outputs:
            cache = self._run(self.alike(1, 1), None)[self.name]
        return [swapped(output, cache, CACHE) for output in outputs]


def _can_keep(value: Any) -> bool:
    return isinstance(value, list) or (hasattr(value, "__dict__") and not isinstance(value, Tensor))


def dense(cache: Any, n_examples: int) -> Any:
    """Return a copy of a cache of one example that modules can add to, for several alike."""
    # Inference mode is left, because models write into what they keep, also outside of it.
    with torch.inference_mode(False), torch.no_grad():
        found = {
            path: tensor.repeat(n_examples, *[1] * (tensor.dim() - 1)) if tensor.dim() else tensor
            for path, tensor in tensors(cache).items()
        }
        return with_tensors(cache, found)


def _as_exact_as(cache: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a cache that keeps its numbers as exactly as a model computes."""
    return _with_numbers(cache, lambda one: one.to(torch.promote_types(one.dtype, dtype)))


def _hollow(cache: Any) -> Any:
    """Return a copy whose numbers are zeros that take no memory: only shapes and flags count."""
    return _with_numbers(
        cache, lambda one: one.new_zeros(1).expand(one.shape) if one.dim() else one
    )


def _with_numbers(cache: Any, change: Callable[[Tensor], Tensor]) -> Any:
    numbers = {path: one for path, one in tensors(cache).items() if one.is_floating_point()}
    return with_tensors(cache, {path: change(one) for path, one in numbers.items()})
