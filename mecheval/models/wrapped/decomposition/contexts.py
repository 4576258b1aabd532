"""What mixers and blocks of a model are given beside the stream, found once for all that ask."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mecheval.models.wrapped.decomposition.attention_context import AttentionContext
from mecheval.models.wrapped.decomposition.cache_context import CacheContext
from mecheval.models.wrapped.decomposition.start_context import StartContext
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from mecheval.models.wrapped.discovery.structure import Structure

Context = TypeVar("Context")


class Contexts:
    """Makes every context when it is first asked for, and remembers why there is none.

    Attributes:
        attending: The numbers of the blocks whose mixers call an attention function, in order.
    """

    def __init__(
        self,
        module: nn.Module,
        structure: Structure,
        mixers: Mapping[int, nn.Module],
        attentions: Mapping[int, nn.Module],
    ) -> None:
        """Take the modules.

        Args:
            module: The whole model, from tokens to logits.
            structure: Its blocks.
            mixers: The modules that mix, by the number of their block, where there is one.
            attentions: The modules in them that call an attention function.
        """
        self.module, self.structure = module, structure
        self.mixers, self.attentions = mixers, attentions
        self.attending = list(attentions)
        self._found: dict[str, object] = {}

    def attention(self) -> AttentionContext:
        """Return what attention is given.

        Raises:
            Inseparable: It is given what depends on the tokens, or a mask that cannot be cut.
        """
        mixers = [self.mixers[number] for number in self.attending]
        attentions, structure = list(self.attentions.values()), self.structure
        find = partial(AttentionContext, head=structure.head, blocks=structure.blocks)
        return self._once("attention", lambda: find(self.module, mixers, attentions))

    def caches(self, *, whole: bool) -> CacheContext:
        """Return what whole blocks, or else mixers, are given with the model's cache.

        Raises:
            Inseparable: The model has none, or they are given what depends on the tokens.
        """
        return self._once(f"cache {whole}", lambda: CacheContext(*self._asking(whole)))

    def from_start(self, *, whole: bool) -> StartContext:
        """Return what whole blocks, or else mixers, are given in runs from the start.

        Raises:
            Inseparable: One of them is not called.
        """
        return self._once(f"start {whole}", lambda: StartContext(*self._asking(whole)))

    def _asking(self, whole: bool) -> tuple[nn.Module, Structure, Mapping[int, nn.Module]]:
        modules = dict(enumerate(self.structure.blocks)) if whole else self.mixers
        return self.module, self.structure, modules

    def _once(self, name: str, find: Callable[[], Context]) -> Context:
        if name not in self._found:
            try:
                with failing_as("a part alone fails ({})"):
                    self._found[name] = find()
            except Inseparable as reason:
                self._found[name] = Inseparable(str(reason))  # without what its traceback holds
        found = self._found[name]
        if isinstance(found, Inseparable):
            raise found
        return found  # pyright: ignore[reportReturnType] - kept under the name of what found it
