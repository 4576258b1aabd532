"""Activations of a cell's network, kept in the cache: a network is run once for all its pairs.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from mecheval.dictionaries import SparseCodes
from mecheval.harness.building import build_source, build_task
from mecheval.harness.cell_training import cache_of, measured_dtype, trained_model
from mecheval.harness.measures import metrics_on
from mecheval.harness.threads import settled
from mecheval.harness.unchanged import check_unchanged
from mecheval.metrics.pairs.coding import Coded, encoded
from mecheval.metrics.pairs.places import record
from mecheval.registry import Registry
from mecheval.reports.canonical import sha256_of
from mecheval.training.checkpoints import cache_lock, write_cached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.harness.request import Cell
    from mecheval.metrics.pairs.coding import Coding
    from mecheval.metrics.pairs.places import Places

FOLDER, CODES = "recordings", "codes"

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
    """

    cell: Cell
    n_layers: int
    step: int | None = None

    def streams(
        self, places: Places, layers: Sequence[int], *, trained: bool = True
    ) -> list[np.ndarray]:
        """Return the residual stream; see :meth:`mecheval.metrics.pairs.network.Network.streams`.

        Raises:
            StorageError: The cache cannot be written.
        """
        paths = {layer: self._path(places, layer, trained) for layer in layers}
        found = _there(paths)
        if len(found) < len(paths):
            # Another process may be at work on the same network, for another pair.
            with cache_lock(cache_of(self.cell), self._network_key(trained)):
                found = _there(paths)
                lacking = [layer for layer in paths if layer not in found]
                if lacking:
                    recorded = self._record(places, lacking, trained=trained)
                    for layer, stream_ND in zip(lacking, recorded, strict=True):
                        write_cached(paths[layer], _packed(stream_ND))
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
            StorageError: The cache cannot be written.
        """
        network = self._network_key(trained)
        paths = {
            (layer, seed): self._codes_path(network, coding, places, layer, seed)
            for layer in layers
            for seed in seeds
        }
        with cache_lock(cache_of(self.cell), network):
            found = {key: coded for key, path in paths.items() if (coded := _read_codes(path))}
            lacking = sorted({layer for layer, seed in paths if (layer, seed) not in found})
            if lacking:
                training, test = (
                    self._record(of, lacking, trained=trained) for of in (coding.training, places)
                )
                for layer, *streams in zip(lacking, training, test, strict=True):
                    for seed in (seed for seed in seeds if (layer, seed) not in found):
                        name = f"{network} {layer}"
                        coded = encoded(coding, streams, places, name=name, seed=seed)
                        write_cached(paths[layer, seed], _packed_codes(coded))
                        found[layer, seed] = coded
        return [[found[layer, seed] for seed in seeds] for layer in layers]

    def _codes_path(
        self, network: str, coding: Coding, places: Places, layer: int, seed: int
    ) -> Path:
        content = {
            "of": network, "layer": layer, "places": places.sha256, "seed": seed,
            "coding": coding.content,
        }  # fmt: skip
        key = sha256_of(content)
        return cache_of(self.cell) / CODES / key[:2] / f"{key}.npz"

    def _network_key(self, trained: bool) -> str:
        identity = self.cell.identity.model_dump(mode="json")
        deciding = {key: part for key, part in identity.items() if key not in _NOT_DECIDING}
        along = {} if self.step is None or not trained else {"step": self.step}
        return sha256_of({"network": deciding, "trained": trained, **along})

    def _path(self, places: Places, layer: int, trained: bool) -> Path:
        content = {"of": self._network_key(trained), "layer": layer, "places": places.sha256}
        key = sha256_of(content)
        return cache_of(self.cell) / FOLDER / key[:2] / f"{key}.npy"

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


def _there(paths: Mapping[int, Path]) -> dict[int, np.ndarray]:
    """Return what has been recorded, by layer."""
    read = {layer: _read(path) for layer, path in paths.items()}
    return {layer: stream_ND for layer, stream_ND in read.items() if stream_ND is not None}


def _packed_codes(coded: Coded) -> bytes:
    file, csr = io.BytesIO(), coded.codes.csr
    quality = [np.nan if value is None else value for value in coded[1:]]
    np.savez(
        file, data=csr.data, indices=csr.indices, ends=csr.indptr, shape=coded.codes.shape,
        quality=quality,
    )  # fmt: skip
    return file.getvalue()


def _read_codes(path: Path) -> Coded | None:
    try:
        with np.load(path, allow_pickle=False) as held:
            parts = held["data"], held["indices"], held["ends"]
            csr = sparse.csr_array(parts, shape=tuple(held["shape"].tolist()))
            quality = [None if np.isnan(value) else float(value) for value in held["quality"]]
            return Coded(SparseCodes.of(csr), *quality)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)  # as spoilt activations
        return None


def _packed(stream_ND: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, stream_ND, allow_pickle=False)
    return file.getvalue()


def _read(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        # Derived data that a failing disk spoilt: making it again loses nothing.
        path.unlink(missing_ok=True)
        return None
