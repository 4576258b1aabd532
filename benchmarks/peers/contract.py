"""What a peer gives: ways to patch one cell of a grid.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from benchmarks.subjects import Pairs, Shape

LAST_LOGITS: dict[str, Any] = {"use_cache": False, "logits_to_keep": 1}
"""Arguments with which a model of transformers skips what a readout at the end does not need."""


@dataclass(frozen=True)
class Job:
    """A grid to run: the inputs of all blocks at all positions, clean into corrupted.

    Attributes:
        shape: The model's shape.
        pairs: The pairs, on the device.
        device: Where to run.
    """

    shape: Shape
    pairs: Pairs
    device: str = "cpu"

    @property
    def n_layers(self) -> int:
        """Return the number of blocks."""
        return self.shape.config.num_hidden_layers

    @property
    def n_positions(self) -> int:
        """Return the number of positions."""
        return self.pairs.clean_PT.shape[1]

    def build(self) -> nn.Module:
        """Return a new copy of the model; some libraries change the modules that they wrap."""
        return self.shape.build().to(self.device)

    def read(self, logits_PTC: Tensor) -> Tensor:
        """Return the readout of every pair from logits whose last position is the readout."""
        return self.pairs.read(logits_PTC[:, -1])


@dataclass(frozen=True)
class Idiom:
    """One way of a peer to run a grid.

    Attributes:
        peer: Name of the library.
        version: Its version.
        name: The idiom in a few words.
        prepare: Does what one grid needs once, such as the donor run.
        patch: Patches one (layer, position) for all pairs; returns the readouts, ``(P,)``.
        tuned: Whether it goes beyond what the peer's tutorials show.
    """

    peer: str
    version: str
    name: str
    prepare: Callable[[], None]
    patch: Callable[[int, int], Tensor]
    tuned: bool = False


@dataclass
class Donors:
    """The inputs of all blocks in an unpatched run, which an idiom's ``prepare`` fills.

    Attributes:
        streams: One tensor ``(P, T, D)`` per layer.
    """

    streams: list[Tensor] = field(default_factory=list)

    def record(self, module: nn.Module, blocks: str, tokens_PT: Tensor) -> None:
        """Run a module and keep what its blocks are given."""
        self.streams = []

        def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.streams.append(args[0] if args else kwargs["hidden_states"])

        block_list = module.get_submodule(blocks).children()
        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in block_list]
        try:
            with torch.inference_mode():
                module(tokens_PT, **LAST_LOGITS)
        finally:
            for handle in handles:
                handle.remove()
