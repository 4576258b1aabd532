"""Any causal torch module as a :class:`SequenceModel`; its own forward pass is what runs.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary, ``P`` positions at which logits
are wanted, ``A`` answer tokens.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from mecheval.models import logits
from mecheval.models.contract import SequenceModel, Tap
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.hooks import unvisited
from mecheval.models.wrapped.decomposition.cache_context import cache_argument
from mecheval.models.wrapped.decomposition.decompose import take_apart
from mecheval.models.wrapped.decomposition.head import AnswersOnly, at_positions
from mecheval.models.wrapped.discovery.repeatable import check_repeatable
from mecheval.models.wrapped.discovery.structure import Structure, find_structure, probe_tokens
from mecheval.models.wrapped.fast_scan import FastScan, has_state_space, is_faster
from mecheval.models.wrapped.recording.calls import evaluating, logits_of, run
from mecheval.models.wrapped.recording.inseparable import FAILURES, Inseparable, pass_shortage
from mecheval.models.wrapped.recording.module_state import left_as_found
from mecheval.models.wrapped.replay.blocks import Replayer
from mecheval.models.wrapped.replay.caches import tells_recent, with_layer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mecheval.models.decomposition import Replay
    from mecheval.models.sites import Site

Part = TypeVar("Part")

_STEP_TOLERANCE = 1e-4  # of the largest logit; a cache that is driven wrongly is off by its size


@dataclass(frozen=True)
class CacheState:
    """A model's own cache after some tokens.

    Attributes:
        cache: What the model returned, None before the first token.
        length: Number of tokens that were read.
    """

    cache: Any = None
    length: int = 0


class WrappedModel(SequenceModel):
    """A module that maps tokens ``(B, T)`` to logits ``(B, T, C)``, batch first.

    Attributes:
        module: The wrapped module.
        structure: What was found in it; ``structure.absent`` says why a site does not exist.
    """

    def __init__(self, module: nn.Module) -> None:
        """Wrap a module and find its parts.

        Raises:
            UsageError: The module has no blocks that can be told apart, or it remembers earlier
                texts.
        """
        super().__init__()
        self.module = module
        self.training = module.training
        self.structure: Structure = find_structure(module)
        self.n_layers = len(self.structure.blocks)
        self.d_model = self.structure.d_model
        self.vocab_size = self.structure.vocab_size
        self.context_limit = _context_limit(module, self.structure)
        check_repeatable(module, self.context_limit)
        self.kernels = _kernels(module)
        self._taken: dict[Any, Any] = {}
        self._has_state_space = has_state_space(module)
        self._has_fast_path = any(
            isinstance(part, nn.TransformerEncoderLayer | nn.MultiheadAttention)
            for part in module.modules()
        )

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next answer after every position, ``(B, T, C)``."""
        with ExitStack() as stack:
            if self._has_fast_path:
                stack.enter_context(_same_path_with_and_without_hooks())
            if self._has_state_space and is_faster(self.module):
                fast_scan = self._found(self._fast_scan)
                if isinstance(fast_scan, FastScan):
                    self.kernels = tuple(dict.fromkeys([*self.kernels, *fast_scan.kernels]))
                    stack.enter_context(fast_scan.taken())
            return run(self.module, tokens_BT)

    def logits_at(self, tokens_BT: Tensor, positions_BP: Tensor) -> Tensor:
        """Return the logits ``(B, P, C)`` at some positions per example, the only ones made."""
        with at_positions(self.structure.head, tokens_BT.shape, positions_BP) as chosen:
            logits_BXC = self(tokens_BT)
        if chosen and positions_BP.numel():
            return logits_BXC
        row_B1 = torch.arange(len(positions_BP), device=positions_BP.device)[:, None]
        return logits_BXC[row_B1, positions_BP]

    def answer_logits(
        self, tokens_BT: Tensor, answers_A: Tensor, read_BT: Tensor | None = None
    ) -> Tensor:
        """Return the logits ``(B, T, A)`` of some tokens, those of all others block by block."""
        size = next(self.parameters()).element_size()
        if not logits.fit(tokens_BT.numel(), self.vocab_size, size):
            answers_only = self._found(AnswersOnly)
            if isinstance(answers_only, AnswersOnly):
                with answers_only.taken(answers_A, read_BT):
                    return self(tokens_BT)
        return self(tokens_BT)[..., answers_A]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Return the blocks in the order in which they run."""
        return self.structure.blocks

    def taps(self) -> Mapping[Site, Tap]:
        """Return every site that exists in this model."""
        return self.structure.taps

    def decomposition(self) -> Decomposition | Refusal:
        """Return the model in parts if they are all found, and do what it does.

        They are looked for once per device and type of number.
        """
        return self._found(take_apart)

    def replay(self, tokens_PT: Tensor) -> Replay | Refusal:
        """Record what the real blocks are given in a run, to call them one by one."""
        found = self._found(Replayer)
        return found if isinstance(found, Refusal) else found.record(tokens_PT)

    def _fast_scan(self, module: nn.Module, structure: Structure) -> FastScan:
        decomposition = self.decomposition()
        if isinstance(decomposition, Refusal):
            raise Inseparable(decomposition.reason)
        return FastScan(module, structure, decomposition)

    def _found(self, find: Callable[[nn.Module, Structure], Part]) -> Part | Refusal:
        key = (find.__name__, self.device, next(self.parameters()).dtype)
        if key not in self._taken:
            try:
                # Inference mode is left, because what is found must serve outside of it too.
                with torch.inference_mode(False), unvisited():
                    self._taken[key] = find(self.module, self.structure)
            except Inseparable as reason:
                self._taken[key] = Refusal(str(reason))
        return self._taken[key]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was found in the module, because a copy has another one."""
        return {**self.__dict__, "_taken": {}}

    @torch.no_grad()
    def native_difference(self, tokens_BT: Tensor) -> float:
        """Return the largest absolute logit difference to the bare module, called as users do."""
        self.eval()
        size = next(self.parameters()).element_size()
        if logits.fit(tokens_BT.numel(), self.vocab_size, size):
            parts = [tokens_BT]
        else:
            parts = tokens_BT.split(1)
        differences = []
        for part_BT in parts:
            with left_as_found(self.module):
                native_BTC = logits_of(self.module(part_BT))
            differences.append(float((self(part_BT) - native_BTC).abs().max()))
        return max(differences)

    @property
    def streams(self) -> bool:
        """Return whether the model's own cache was seen to reproduce its forward pass."""
        return self._streams

    def start(self, batch_size: int) -> CacheState:
        """Return the state before the first token."""
        return CacheState()

    @torch.no_grad()
    def step(self, tokens_B: Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """Read one token; return its logits ``(B, C)`` and the new state.

        Never more than one token: the Mamba of transformers restarts its scan from zero, without
        an error, when it resumes with several. The state that was given stays valid.
        """
        name = self._cache_name
        if name is None:
            raise NotImplementedError("The wrapped module returns no cache.")
        options: dict[str, Any] = {"use_cache": True}
        if state.length:
            options[name] = copy.deepcopy(state.cache)
        with left_as_found(self.module):
            output = self.module(tokens_B[:, None], **options)
        return logits_of(output)[:, 0], CacheState(output[name], state.length + 1)

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Return ``cache`` if it was seen to be made of parts that belong to one layer each.

        And ``state`` if the parts say which of them are the last inputs of a short convolution.
        """
        return self._exchanges if self.streams else ()

    def exchanged(
        self, state: CacheState, donor: CacheState, layer: int, component: str
    ) -> CacheState:
        """Return a state with what one layer keeps in the cache taken from another."""
        cache = with_layer_of(
            state.cache, donor.cache, layer, self.n_layers, recent=component == "cache"
        )
        return CacheState(cache, state.length)

    @cached_property
    def _exchanges(self) -> tuple[str, ...]:
        with evaluating(self):
            try:
                return self._layers_of_the_cache()
            except FAILURES as error:
                pass_shortage(error)
                return ()

    @torch.no_grad()
    def _layers_of_the_cache(self) -> tuple[str, ...]:
        """Exchange all layers one by one, and go on as the runs whose cache that is."""
        tokens_BT = probe_tokens(self.module)
        half, last_B = tokens_BT.shape[1] // 2, tokens_BT[:, -1]
        own, donor = self.start(len(tokens_BT)), self.start(len(tokens_BT))
        for tokens_B, other_B in zip(tokens_BT.T[:half], tokens_BT.flip(0).T[:half], strict=True):
            _, own = self.step(tokens_B, own)
            _, donor = self.step(other_B, donor)
        mixed = own
        for layer in range(self.n_layers):
            mixed = self.exchanged(mixed, donor, layer, "cache")
        made_BC, own_BC, wanted_BC = (self.step(last_B, s)[0] for s in (mixed, own, donor))
        limit = _STEP_TOLERANCE * wanted_BC.abs().max()
        moved = (own_BC - wanted_BC).abs().max() > limit
        if not moved or (made_BC - wanted_BC).abs().max() > limit:
            return ()
        return ("state", "cache") if tells_recent(own.cache) else ("cache",)

    @cached_property
    def _cache_name(self) -> str | None:
        return cache_argument(self.module)

    @cached_property
    def _streams(self) -> bool:
        with evaluating(self):
            try:
                return self._stepping_agrees()
            except FAILURES as error:
                pass_shortage(error)
                return False  # the model's cache wants to be driven in another way

    @torch.no_grad()
    def _stepping_agrees(self) -> bool:
        if self._cache_name is None:
            return False
        tokens_BT = probe_tokens(self.module)
        whole_BTC, state, stepped = self(tokens_BT), self.start(len(tokens_BT)), []
        for tokens_B in tokens_BT.T:
            logits_BC, state = self.step(tokens_B, state)
            stepped.append(logits_BC)
        difference_BTC = torch.stack(stepped, 1) - whole_BTC
        return bool(difference_BTC.abs().max() <= _STEP_TOLERANCE * whole_BTC.abs().max())


@contextmanager
def _same_path_with_and_without_hooks() -> Iterator[None]:
    """Switch off torch's fused encoder layer, which it uses only where no hook is registered."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _context_limit(module: nn.Module, structure: Structure) -> int | None:
    text_config = getattr(getattr(module, "config", None), "get_text_config", None)
    if text_config is not None:
        return getattr(text_config(), "max_position_embeddings", None)
    return structure.positions


def _kernels(module: nn.Module) -> tuple[str, ...]:
    chosen = getattr(getattr(module, "config", None), "_attn_implementation", None)
    return (f"attention: {chosen}",) if chosen and getattr(module, "_supports_sdpa", False) else ()
