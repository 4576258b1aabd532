"""What the architectures that recall share: a feed-forward part, and layers by a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mecheval.models.stack.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, kw_only=True)
class FeedForwardArchitecture(Architecture):
    """An architecture whose blocks are a mixer and a feed-forward part."""

    embedding_std: ClassVar[float] = 0.02
    later: ClassVar[frozenset[str]] = frozenset({"shell"})

    mlp_ratio: int = 4

    def kind_of(self, layer: int, pattern: str, kinds: Collection[str]) -> str:
        """Return the kind of a layer's mixer, by a pattern such as ``conv-attention``.

        Args:
            layer: Which layer; a pattern shorter than the stack is repeated.
            pattern: Kinds from the first layer on, joined by ``-``.
            kinds: Those that there are.

        Raises:
            UsageError: The pattern names another kind.
        """
        names = pattern.split("-")
        needs = f"a pattern of {', '.join(kinds)}, joined by -"
        self.check(all(name in kinds for name in names), needs)
        return names[layer % len(names)]
