"""Activations of a cell's network, kept in the cache: a network is run once for all its pairs.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mecheval.harness.artefacts import Shelf, Wanted
from mecheval.harness.building import build_source, build_task
from mecheval.harness.cell_training import cache_of, measured_dtype, trained_model
from mecheval.harness.measures import metrics_on
from mecheval.harness.threads import settled
from mecheval.harness.unchanged import check_unchanged
from mecheval.metrics.pairs.coding import encoded
from mecheval.metrics.pairs.places import record
from mecheval.registry import Registry
from mecheval.reports.canonical import sha256_of
from mecheval.training.checkpoints import cache_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from mecheval.harness.request import Cell
    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.places import Places
    from mecheval.reports.pair import Artefact

_NOT_DECIDING = ("metrics", "limit", "snapshots")
"""Parts of a cell's identity that have no say in its activations."""


@dataclass(frozen=True)
class Recordings:
    """Activations of the network of a cell, and of the same one with freshly drawn weights.

    Those of every layer are a file of their own: what is lost is recorded again, and nothing else.

    Attributes:
        cell: The cell, which has been measured.
        n_layers: The number of its blocks.
        step: Steps of the training that its weights had taken; None for those at the end.
        known: Hashes of artefacts by their keys, as reports have them.
        used: The artefacts that were read or made, by key; filled as that is done.
    """

    cell: Cell
    n_layers: int
    step: int | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    used: dict[str, Artefact] = field(default_factory=dict)

    def streams(
        self, places: Places, layers: Sequence[int], *, trained: bool = True
    ) -> list[np.ndarray]:
        """Return the residual stream; see :meth:`mecheval.metrics.pairs.network.Network.streams`.

        Raises:
            UsageError: What the cache holds is of other tokens.
            StorageError: The cache cannot be written, or what is made again is not what it was.
        """
        network = self._network_key(trained)
        wanted = {
            layer: _wanted("activations", network, places, layer, trained=trained)
            for layer in layers
        }
        found = self._there(wanted)
        if len(found) < len(wanted):
            # Another process may be at work on the same network, for another pair.
            with cache_lock(cache_of(self.cell), network):
                found = self._there(wanted)
                lacking = [layer for layer in wanted if layer not in found]
                if lacking:
                    recorded = self._record(places, lacking, trained=trained)
                    for layer, stream_ND in zip(lacking, recorded, strict=True):
                        self._shelf.write(wanted[layer], stream_ND)
                        found[layer] = stream_ND
        return [found[layer] for layer in layers]

    def coded(
        self,
        coding: Coding,
        places: Places,
        layers: Sequence[int],
        *,
        trained: bool = True,
        seeds: Sequence[int] = (0,),
    ) -> list[list[Coded]]:
        """Return codes of dictionaries; see :meth:`mecheval.metrics.pairs.network.Network.coded`.

        The codes are kept, each as soon as they are there. The activations that dictionaries are
        trained on are not, which are many more: all layers that lack some are recorded in one pass.

        Raises:
            UsageError: What the cache holds is of other tokens.
            StorageError: The cache cannot be written, or what is made again is not what it was.
        """
        network = self._network_key(trained)
        wanted = {
            (layer, seed): _wanted(
                "codes", network, places, layer, trained=trained, seed=seed, coding=coding
            )
            for layer in layers
            for seed in seeds
        }
        with cache_lock(cache_of(self.cell), network):
            found = self._there(wanted)
            lacking = sorted({layer for layer, seed in wanted if (layer, seed) not in found})
            if lacking:
                training, test = (
                    self._record(of, lacking, trained=trained) for of in (coding.training, places)
                )
                for layer, *streams in zip(lacking, training, test, strict=True):
                    for seed in (seed for seed in seeds if (layer, seed) not in found):
                        name = f"{network} {layer}"
                        coded = encoded(coding, streams, places, name=name, seed=seed)
                        self._shelf.write(wanted[layer, seed], coded)
                        found[layer, seed] = coded
        return [[found[layer, seed] for seed in seeds] for layer in layers]

    @property
    def _shelf(self) -> Shelf:
        title = f"{self.cell.model_title} (seed {self.cell.identity.seed})"
        return Shelf(cache_of(self.cell), title, self.known, self.used)

    def _there(self, wanted: Mapping[Any, Wanted]) -> dict[Any, Any]:
        """Return what is in the cache."""
        read = {at: self._shelf.read(each) for at, each in wanted.items()}
        return {at: content for at, content in read.items() if content is not None}

    def _network_key(self, trained: bool) -> str:
        identity = self.cell.identity.model_dump(mode="json")
        deciding = {key: part for key, part in identity.items() if key not in _NOT_DECIDING}
        along = {} if self.step is None or not trained else {"step": self.step}
        return sha256_of({"network": deciding, "trained": trained, **along})

    def _record(self, places: Places, layers: Sequence[int], *, trained: bool) -> list[np.ndarray]:
        """Run the model, whose weights are in the cache since its cell was measured."""
        cell, settings = self.cell, self.cell.settings
        registry = Registry(settings.include_paths)
        source, task = build_source(cell.model, registry, settings), build_task(cell.task, registry)
        check_unchanged(cell, source, task, metrics_on(task, cell.metrics, registry), registry)
        encoding = source.encode(task)
        with settled(settings):
            if trained:
                found = trained_model(cell, source, task, encoding, lambda *_: None)
                model = found.model
                if self.step is not None:
                    model.load_state_dict(found.run.weights_at(cache_of(cell), self.step))
            else:
                model = source.untrained(encoding, seed=cell.identity.seed).to(settings.device)
            model = model.to(measured_dtype(cell, source)).eval()
            return record(model, encoding.code_C, places, layers, batch_size=settings.batch_size)


def _wanted(
    kind: Literal["activations", "codes"],
    network: str,
    places: Places,
    layer: int,
    *,
    trained: bool,
    seed: int | None = None,
    coding: Coding | None = None,
) -> Wanted:
    """Return what is asked of a network, by the hash of everything that decides it."""
    content: dict[str, Any] = {"of": network, "layer": layer, "places": places.sha256}
    if coding is not None:
        content |= {"seed": seed, "coding": coding.content}
    return Wanted(kind, sha256_of(content), layer, trained, seed, places.evaluation_sha256)
