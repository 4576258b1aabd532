"""A network of a pair: what it holds at places, and the codes of dictionaries of that.

Shape suffixes: ``N`` places, ``D`` residual width, ``C`` symbols of the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mecheval.metrics.pairs.recording import record, row_widths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mecheval.dictionaries import Dictionary, Quality
    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.places import Component, Places
    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Refusal


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
        """Return codes of what it holds, of dictionaries of that, by layer and seed.

        Args:
            coding: The dictionaries, and what they are trained on.
            places: What is encoded.
            layers: Behind how many blocks; of memory it is the last one of these.
            trained: As for :meth:`streams`.
            seeds: Of the dictionaries of each layer.
        """
        ...

    def dictionaries(
        self, codings: Sequence[Coding], layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Dictionary]]:
        """Return dictionaries of the network as it was measured, by coding and layer.

        Args:
            codings: The dictionaries, which are trained on the same rows.
            layers: As for :meth:`coded`.
            seed: Of the dictionaries.
        """
        ...

    def qualities(
        self, codings: Sequence[Coding], places: Places, layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Quality]]:
        """Return how good these dictionaries are at places, with symbols as groups.

        Args:
            codings: As for :meth:`dictionaries`.
            places: Where they are measured.
            layers: As for :meth:`coded`.
            seed: Of the dictionaries.
        """
        ...

    def row_widths(self, component: Component, layers: Sequence[int]) -> list[int] | Refusal:
        """Return how many numbers a row of a site has at layers, or why it is none."""
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
        from mecheval.metrics.pairs import coding as codings

        name = self._name(trained)
        training, test = (
            self._rows(coding, of, layers, trained=trained) for of in (coding.training, places)
        )
        found = []
        for layer, training_NX, test_NX in zip(layers, training, test, strict=True):
            about = named(name, layer, coding.component)
            made = [codings.trained(coding, training_NX, name=about, seed=seed) for seed in seeds]
            found.append([codings.encoded(each, test_NX, places) for each in made])
        return found

    def dictionaries(
        self, codings: Sequence[Coding], layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Dictionary]]:
        """Return dictionaries; see :meth:`Network.dictionaries`."""
        from mecheval.metrics.pairs.coding import trained

        first, name = codings[0], self._name(True)
        rows = self._rows(first, first.training, layers, trained=True)
        return [
            [
                trained(coding, row_NX, name=named(name, layer, coding.component), seed=seed)
                for layer, row_NX in zip(layers, rows, strict=True)
            ]
            for coding in codings
        ]

    def qualities(
        self, codings: Sequence[Coding], places: Places, layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Quality]]:
        """Return how good dictionaries are; see :meth:`Network.qualities`."""
        rows = self._rows(codings[0], places, layers, trained=True)
        return [
            [each.evaluate(row_NX, places.symbol_N) for each, row_NX in zip(of, rows, strict=True)]
            for of in self.dictionaries(codings, layers, seed=seed)
        ]

    def row_widths(self, component: Component, layers: Sequence[int]) -> list[int] | Refusal:
        """Return widths of rows; see :meth:`Network.row_widths`."""
        return row_widths(self.model, layers, component)

    def _name(self, trained: bool) -> str:
        from mecheval.training.checkpoints import state_sha256  # import torch

        return f"{state_sha256(self.model)} {trained}"

    def _rows(
        self, coding: Coding, places: Places, layers: Sequence[int], *, trained: bool
    ) -> list[np.ndarray]:
        return record(
            self.model if trained else self.untrained(), self.code_C, places, layers,
            batch_size=self.batch_size, component=coding.component, n_numbers=coding.n_numbers,
        )  # fmt: skip


def named(network: str, layer: int, component: Component) -> str:
    """Return a name of what a dictionary is of: those of other sites begin with other weights."""
    return f"{network} {layer}" if component == "block_out" else f"{network} {layer} {component}"
