"""A network of a pair: what it holds at places, and the codes of dictionaries of that.

Shape suffixes: ``N`` places, ``D`` residual width, ``C`` symbols of the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mecheval.metrics.pairs.places import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.places import Places
    from mecheval.models.contract import SequenceModel


class Network(Protocol):
    """A network of a pair, whose activations may be asked for."""

    @property
    def n_layers(self) -> int:
        """Return the number of blocks."""
        ...

    def streams(
        self, places: Places, layers: Sequence[int], *, trained: bool = True
    ) -> list[np.ndarray]:
        """Return the residual stream behind so many blocks, each ``(N, D)`` in float32.

        Args:
            places: Where.
            layers: Behind how many blocks, from 1 on; 0 is the embedding.
            trained: Whether of the network as it was measured, or of the same one with freshly
                drawn weights.
        """
        ...

    def coded(
        self,
        coding: Coding,
        places: Places,
        layers: Sequence[int],
        *,
        trained: bool = True,
        seeds: Sequence[int] = (0,),
    ) -> list[list[Coded]]:
        """Return codes of the residual stream, of dictionaries of it, by layer and seed.

        Args:
            coding: The dictionaries, and what they are trained on.
            places: What is encoded.
            layers: Behind how many blocks.
            trained: As for :meth:`streams`.
            seeds: Of the dictionaries of each layer.
        """
        ...


@dataclass(frozen=True)
class Loaded:
    """A network in memory; a :class:`Network`.

    Attributes:
        model: The model.
        untrained: Builds the same one with freshly drawn weights.
        code_C: Its token id of every symbol.
        batch_size: Sequences per forward pass.
    """

    model: SequenceModel
    untrained: Callable[[], SequenceModel]
    code_C: np.ndarray
    batch_size: int

    @property
    def n_layers(self) -> int:
        """Return the number of blocks."""
        return self.model.n_layers

    def streams(
        self, places: Places, layers: Sequence[int], *, trained: bool = True
    ) -> list[np.ndarray]:
        """Return the residual stream; see :meth:`Network.streams`."""
        model = self.model if trained else self.untrained()
        return record(model, self.code_C, places, layers, batch_size=self.batch_size)

    def coded(
        self,
        coding: Coding,
        places: Places,
        layers: Sequence[int],
        *,
        trained: bool = True,
        seeds: Sequence[int] = (0,),
    ) -> list[list[Coded]]:
        """Return the codes of dictionaries; see :meth:`Network.coded`."""
        from mecheval.metrics.pairs.coding import encoded
        from mecheval.training.checkpoints import state_sha256  # import torch

        name = f"{state_sha256(self.model)} {trained}"
        training, test = (
            self.streams(of, layers, trained=trained) for of in (coding.training, places)
        )
        return [
            [encoded(coding, streams, places, name=f"{name} {layer}", seed=seed) for seed in seeds]
            for layer, *streams in zip(layers, training, test, strict=True)
        ]
