"""Activations of a cell's network, kept in the cache: a network is run once for all its pairs.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mecheval.harness.artefacts import Shelf, Wanted
from mecheval.harness.building import build_source, build_task
from mecheval.harness.cell_training import cache_of, measured_dtype, trained_model
from mecheval.harness.kept_dictionaries import (
    FOLDER,
    keep_dictionary,
    keep_quality,
    kept_dictionary,
    kept_quality,
)
from mecheval.harness.measures import metrics_on
from mecheval.harness.threads import settled
from mecheval.harness.unchanged import check_unchanged
from mecheval.metrics.pairs.coding import encoded
from mecheval.metrics.pairs.coding import trained as trained_on
from mecheval.metrics.pairs.network import named
from mecheval.metrics.pairs.recording import record, row_widths
from mecheval.registry import Registry
from mecheval.reports.canonical import sha256_of
from mecheval.training.checkpoints import cache_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from mecheval.dictionaries import Dictionary, Quality
    from mecheval.harness.request import Cell
    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.places import Component, Places
    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Refusal
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
        loaded: The trained model, where it is in memory.
        batch_size: Sequences per forward pass; that of the cell's settings where None.
    """

    cell: Cell
    n_layers: int
    step: int | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    used: dict[str, Artefact] = field(default_factory=dict)
    loaded: SequenceModel | None = field(default=None, repr=False, compare=False)
    batch_size: int | None = None

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

        Dictionaries and codes are kept, each as soon as it is there. The activations that they are
        of are not, which are many more: all layers that lack some are recorded in one pass.

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
            lacking = [at for at in wanted if at not in found]
            if lacking:
                made = self._dictionaries([coding], lacking, trained=trained)[0]
                row_of = self._rows(coding, places, lacking, trained=trained)
                for at in lacking:
                    found[at] = encoded(made[at], row_of[at[0]], places)
                    self._shelf.write(wanted[at], found[at])
        return [[found[layer, seed] for seed in seeds] for layer in layers]

    def dictionaries(
        self, codings: Sequence[Coding], layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Dictionary]]:
        """Return dictionaries; see :meth:`mecheval.metrics.pairs.network.Network.dictionaries`.

        Raises:
            StorageError: The cache cannot be written.
        """
        keys = [(layer, seed) for layer in layers]
        with cache_lock(cache_of(self.cell), self._network_key(True)):
            found = self._dictionaries(codings, keys, trained=True)
        return [[of[key] for key in keys] for of in found]

    def qualities(
        self, codings: Sequence[Coding], places: Places, layers: Sequence[int], *, seed: int = 0
    ) -> list[list[Quality]]:
        """Return how good dictionaries are; see ``Network.qualities``.

        Raises:
            StorageError: The cache cannot be written.
        """
        dictionaries = self.dictionaries(codings, layers, seed=seed)
        network = self._network_key(True)
        paths = {
            (of, at): self._path(network, coding, layer, seed, places)
            for of, coding in enumerate(codings)
            for at, layer in enumerate(layers)
        }
        with cache_lock(cache_of(self.cell), network):
            found = {key: kept for key, path in paths.items() if (kept := kept_quality(path))}
            lacking = [key for key in paths if key not in found]
            if lacking:
                keys = [(layers[at], seed) for _, at in lacking]
                row_of = self._rows(codings[0], places, keys, trained=True)
                for of, at in lacking:
                    row_NX = row_of[layers[at]]
                    found[of, at] = dictionaries[of][at].evaluate(row_NX, places.symbol_N)
                    keep_quality(paths[of, at], found[of, at])
        return [[found[of, at] for at in range(len(layers))] for of in range(len(codings))]

    def row_widths(self, component: Component, layers: Sequence[int]) -> list[int] | Refusal:
        """Return widths of rows; see :meth:`mecheval.metrics.pairs.network.Network.row_widths`."""
        if self.loaded is not None:
            return row_widths(self.loaded, layers, component)
        cell, settings = self.cell, self.cell.settings
        registry = Registry(settings.include_paths)
        source, task = build_source(cell.model, registry, settings), build_task(cell.task, registry)
        with settled(settings):  # the shapes are those of any weights
            model = source.untrained(source.encode(task), seed=cell.identity.seed)
            return row_widths(model.eval(), layers, component)

    def _dictionaries(
        self, codings: Sequence[Coding], keys: Sequence[tuple[int, int]], *, trained: bool
    ) -> list[dict[tuple[int, int], Dictionary]]:
        """Return dictionaries of layers and seeds; those that lack are trained on the same rows."""
        network = self._network_key(trained)
        found: list[dict[tuple[int, int], Dictionary]] = [{} for _ in codings]
        lacking = []
        for coding, held in zip(codings, found, strict=True):
            for key in keys:
                path = self._path(network, coding, *key)
                kept = kept_dictionary(path)
                if kept is None:
                    lacking.append((coding, key, path, held))
                else:
                    held[key] = kept
        if lacking:
            missing = [key for _, key, _, _ in lacking]
            row_of = self._rows(codings[0], codings[0].training, missing, trained=trained)
            for coding, key, path, held in lacking:
                name = named(network, key[0], coding.component)
                held[key] = trained_on(coding, row_of[key[0]], name=name, seed=key[1])
                keep_dictionary(path, held[key])
        return found

    def _rows(
        self, coding: Coding, places: Places, keys: Sequence[tuple[int, int]], *, trained: bool
    ) -> dict[int, np.ndarray]:
        """Record the layers of some dictionaries in one pass."""
        layers = sorted({layer for layer, _ in keys})
        rows = self._record(places, layers, trained=trained, coding=coding)
        return dict(zip(layers, rows, strict=True))

    def _path(
        self, network: str, coding: Coding, layer: int, seed: int, places: Places | None = None
    ) -> Path:
        """Return where a dictionary is kept; or, with places, how good it is there."""
        content = {
            "of": network, "layer": layer, "seed": seed, "coding": coding.content,
            **({"places": places.sha256} if places else {}),
        }  # fmt: skip
        key = sha256_of(content)
        return cache_of(self.cell) / FOLDER / key[:2] / f"{key}.{'json' if places else 'npz'}"

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

    def _record(
        self, places: Places, layers: Sequence[int], *, trained: bool, coding: Coding | None = None
    ) -> list[np.ndarray]:
        """Run the model, whose weights are in the cache since its cell was measured.

        Args:
            places: Where.
            layers: Behind how many blocks.
            trained: Whether with its own weights.
            coding: Says which site, and how much of it; the residual stream where None.
        """
        cell, settings = self.cell, self.cell.settings
        registry = Registry(settings.include_paths)
        source, task = build_source(cell.model, registry, settings), build_task(cell.task, registry)
        check_unchanged(cell, source, task, metrics_on(task, cell.metrics, registry), registry)
        encoding = source.encode(task)
        with settled(settings):
            if trained and self.loaded is not None:
                model = self.loaded
            elif trained:
                found = trained_model(cell, source, task, encoding, lambda *_: None)
                model = found.model
                if self.step is not None:
                    model.load_state_dict(found.run.weights_at(cache_of(cell), self.step))
            else:
                model = source.untrained(encoding, seed=cell.identity.seed).to(settings.device)
            model = model.to(measured_dtype(cell, source)).eval()
            of = {} if coding is None else {
                "component": coding.component, "n_numbers": coding.n_numbers
            }  # fmt: skip
            size = self.batch_size or settings.batch_size
            return record(model, encoding.code_C, places, layers, batch_size=size, **of)


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
