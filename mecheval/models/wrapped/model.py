"""Any causal torch module as a :class:`SequenceModel`.

Its own forward pass is what runs, with one exception: the Mambas of transformers, which scan
position by position without CUDA kernels, run on kernels of this package, without gradients and in
float32 (:mod:`.fast_scan`). Logits are then those of the bare module up to rounding, as
:meth:`WrappedModel.native_difference` says; :attr:`kernels` names what runs.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary, ``P`` positions at which logits
are wanted, ``A`` answer tokens.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from mecheval.models import logits
from mecheval.models.contract import SequenceModel, Tap
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.hooks import unvisited
from mecheval.models.modes import evaluating
from mecheval.models.stepping import stepped
from mecheval.models.tolerance import STEPWISE
from mecheval.models.wrapped import configured
from mecheval.models.wrapped.decomposition.cache_context import cache_argument
from mecheval.models.wrapped.decomposition.decompose import take_apart
from mecheval.models.wrapped.decomposition.head import AnswersOnly, at_positions
from mecheval.models.wrapped.discovery.repeatable import check_repeatable
from mecheval.models.wrapped.discovery.structure import Structure, find_structure, probe_tokens
from mecheval.models.wrapped.fast_scan import FastScan, has_state_space, is_faster
from mecheval.models.wrapped.recording.calls import logits_of, run
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as
from mecheval.models.wrapped.recording.module_state import left_as_found
from mecheval.models.wrapped.replay.blocks import Replayer
from mecheval.models.wrapped.replay.caches import CacheState, tells_recent, with_layer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.models.decomposition import Replay
    from mecheval.models.sites import Site

Part = TypeVar("Part")


class WrappedModel(SequenceModel):
    """A module that maps tokens ``(B, T)`` to logits ``(B, T, C)``, batch first.

    Attributes:
        module: The wrapped module.
        structure: What was found in it; ``structure.absent`` says why a site does not exist.
        parts: What its parts were then.
        named_blocks: Paths of the blocks that somebody named; None where they were looked for.
        tokenizer: The module's tokenizer, if it is known.
    """

    tokenizer: Any = None

    def __init__(self, module: nn.Module, blocks: Sequence[str] | None = None) -> None:
        """Wrap a module and find its parts.

        Args:
            module: The module; it is not copied.
            blocks: Paths of the blocks, where they are known.

        Raises:
            UsageError: The module does not map tokens to logits, a named part is no block, or it
                remembers earlier texts.
        """
        super().__init__()
        self.module, self.named_blocks = module, blocks
        self.training = module.training
        configured.experts_one_by_one(module)
        self.structure: Structure = find_structure(module, blocks)
        self.parts = configured.parts_of(module)
        if self.structure.no_blocks is not None:
            self.no_blocks = (
                f"no blocks were found in {type(module).__name__}: {self.structure.no_blocks}"
            )
        self.n_layers = len(self.structure.blocks)
        self.d_model = self.structure.d_model
        self.vocab_size = self.structure.vocab_size
        self.context_limit = configured.context_limit(module, self.structure)
        check_repeatable(module, self.context_limit)
        self.kernels = configured.kernels_of(module)
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
                stack.enter_context(configured.same_path_with_and_without_hooks())
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
            if logits_BXC.shape[1] == positions_BP.shape[1]:
                return logits_BXC
            logits_BXC = self(tokens_BT)  # what an adapter adds to the head has all positions
        return logits.at_positions(logits_BXC, positions_BP)

    def answer_logits(
        self, tokens_BT: Tensor, answers_A: Tensor, read_BT: Tensor | None = None
    ) -> Tensor:
        """Return the logits ``(B, T, A)`` of some tokens, those of all others block by block."""
        if not self._fit(tokens_BT):
            answers_only = self._found(AnswersOnly)
            if isinstance(answers_only, AnswersOnly):
                with answers_only.taken(answers_A, read_BT):
                    return self(tokens_BT)
        return self(tokens_BT)[..., answers_A]

    def _fit(self, tokens_BT: Tensor) -> bool:
        size = next(self.parameters()).element_size()
        return logits.fit(tokens_BT.numel(), self.vocab_size, size)

    @property
    def tree(self) -> nn.Module:
        """Return the wrapped module, in which paths begin."""
        return self.module

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
        return self._found(take_apart) if self.no_blocks is None else Refusal(self.no_blocks)

    def replay(self, tokens_PT: Tensor) -> Replay | Refusal:
        """Record what the real blocks are given in a run, to call them one by one."""
        if self.no_blocks is not None:
            return Refusal(self.no_blocks)
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

    def _apply(self, *how: Any, **more: Any) -> WrappedModel:
        """Change device or type of number; experts in float64 run in another way."""
        is_current = self.parts == configured.parts_of(self.module)
        super()._apply(*how, **more)
        if configured.experts_one_by_one(self.module) and is_current:
            self.parts = configured.parts_of(self.module)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was found in the module, because a copy has another one."""
        return {**self.__dict__, "_taken": {}}

    @torch.no_grad()
    def native_difference(self, tokens_BT: Tensor) -> float:
        """Return the largest absolute logit difference to the bare module, called as users do."""
        self.eval()
        differences = []
        for part_BT in tokens_BT.split(len(tokens_BT) if self._fit(tokens_BT) else 1):
            with left_as_found(self.module):
                native_BTC = logits_of(self.module(part_BT))
            differences.append(float((self(part_BT) - native_BTC).abs().max()))
        return max(differences)

    @cached_property
    def streams(self) -> bool:  # type: ignore[override] - found once
        """Return whether the model's own cache was seen to reproduce its forward pass."""
        try:
            with evaluating(self), failing_as():
                return self._stepping_agrees()
        except Inseparable:
            return False  # the model's cache wants to be driven in another way

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

    @cached_property
    def exchanges(self) -> tuple[str, ...]:  # type: ignore[override] - found once
        """Return ``cache`` if it was seen to be made of parts that belong to one layer each.

        And ``state`` if the parts say which of them are the last inputs of a short convolution.
        """
        try:
            with evaluating(self), failing_as():
                return self._layers_of_the_cache() if self.streams else ()
        except Inseparable:
            return ()

    def exchanged(
        self, state: CacheState, donor: CacheState, layer: int, component: str
    ) -> CacheState:
        """Return a state with what one layer keeps in the cache taken from another."""
        cache = with_layer_of(
            state.cache, donor.cache, layer, self.n_layers, recent=component == "cache"
        )
        return CacheState(cache, state.length)

    @torch.no_grad()
    def _layers_of_the_cache(self) -> tuple[str, ...]:
        """Exchange all layers one by one, and go on as the runs whose cache that is."""
        tokens_BT = probe_tokens(self.module)
        half, last_B = tokens_BT.shape[1] // 2, tokens_BT[:, -1]
        early_BN = tokens_BT[:, :half]
        _, own = stepped(self, early_BN, self.start(len(tokens_BT)))
        _, donor = stepped(self, early_BN.flip(0), self.start(len(tokens_BT)))
        mixed = own
        for layer in range(self.n_layers):
            mixed = self.exchanged(mixed, donor, layer, "cache")
        made_BC, own_BC, wanted_BC = (self.step(last_B, s)[0] for s in (mixed, own, donor))
        limit = STEPWISE * wanted_BC.abs().max()
        moved = (own_BC - wanted_BC).abs().max() > limit
        if not moved or (made_BC - wanted_BC).abs().max() > limit:
            return ()
        return ("state", "cache") if tells_recent(own.cache) else ("cache",)

    @cached_property
    def _cache_name(self) -> str | None:
        return cache_argument(self.module)

    @torch.no_grad()
    def _stepping_agrees(self) -> bool:
        if self._cache_name is None:
            return False
        tokens_BT = probe_tokens(self.module)
        whole_BTC = self(tokens_BT)
        stepped_BTC, _ = stepped(self, tokens_BT, self.start(len(tokens_BT)))
        difference_BTC = stepped_BTC - whole_BTC
        return bool(difference_BTC.abs().max() <= STEPWISE * whole_BTC.abs().max())
