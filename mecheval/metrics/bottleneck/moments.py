"""Means and covariances of activations at all layers, collected in one pass over sequences.

Shape suffixes: ``N`` sequences of a chunk, ``T`` positions, ``C`` cells (sequence, position),
``D`` residual width, ``K`` values of a variable.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions import trace
from mecheval.metrics.bottleneck.erasers import Covariance, Fit
from mecheval.metrics.probe.design import upper_gram
from mecheval.metrics.probe.probes import Split
from mecheval.models.sites import stream_sites
from mecheval.tasks.batch import UNDEFINED
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch

CHUNK = 256
VALIDATION_SHARE = 0.2
"""Share of the rows by which probes that belong to an eraser choose their L2."""


class LayerMoments:
    """Running sums of the activations at one layer.

    Sums are taken around the first chunk's mean, so that large constant features cost no digits.
    """

    def __init__(self, values: Mapping[str, int]) -> None:
        """Start empty, for variables with the given numbers of values."""
        self.values = values
        self.shift_D: np.ndarray | None = None
        self.count, self.sum_D, self.gram_DD = 0, np.zeros(1), np.zeros((1, 1))
        self.sums: dict[str, np.ndarray] = {}
        self.counts = {name: np.zeros(size) for name, size in values.items()}
        self.rows: list[np.ndarray] = []

    def add(
        self, cells_CD: np.ndarray, labels: Mapping[str, np.ndarray], row_C: np.ndarray
    ) -> None:
        """Add cells.

        Args:
            cells_CD: Activations.
            labels: Value of every variable at the cells, ``(C,)``.
            row_C: Indices of the cells that are kept as rows.
        """
        if self.shift_D is None:
            self.shift_D = cells_CD.mean(0, dtype=np.float64)
            width = cells_CD.shape[1]
            self.sum_D, self.gram_DD = np.zeros(width), np.zeros((width, width))
            self.sums = {name: np.zeros((size, width)) for name, size in self.values.items()}
        centred_CD = cells_CD - self.shift_D
        self.count += len(cells_CD)
        self.sum_D += centred_CD.sum(0)
        self.gram_DD += upper_gram(centred_CD)
        for name, label_C in labels.items():
            onehot_KC = (label_C == np.arange(self.values[name])[:, None]).astype(np.float64)
            self.sums[name] += onehot_KC @ centred_CD
            self.counts[name] += onehot_KC.sum(1)
        self.rows.append(cells_CD[row_C])

    def fit(self, variable: str, classes: Sequence[int], row_values: np.ndarray) -> Fit:
        """Return what erasers of a variable are fitted on.

        Args:
            variable: The variable.
            classes: Its values that count.
            row_values: Its value at the kept rows.
        """
        assert self.shift_D is not None  # noqa: S101 - there is at least one chunk
        count_S = self.counts[variable][list(classes)]
        means_SD = self.sums[variable][list(classes)] / count_S[:, None] + self.shift_D
        rows_CD = np.concatenate(self.rows)
        n_rows = int((1 - VALIDATION_SHARE) * len(rows_CD))
        parts = []
        for part in (slice(n_rows), slice(n_rows, None)):
            kept = np.isin(row_values[part], classes)
            labels = np.searchsorted(classes, row_values[part][kept])
            parts.append(Split(rows_CD[part][kept], labels))
        return Fit(means_SD, count_S, self.covariance, *parts)

    @cached_property
    def covariance(self) -> Covariance:
        """Return the covariance of all cells that were added, the same object for all variables."""
        offset_D = self.sum_D / self.count
        gram_DD = np.triu(self.gram_DD) + np.triu(self.gram_DD, 1).T  # it holds one triangle
        return Covariance(gram_DD / self.count - np.outer(offset_D, offset_D))


class Moments:
    """Moments at every layer of the residual stream, over cells at which probes are asked."""

    def __init__(self, subject: Subject, batch: Batch) -> None:
        """Run the model over the sequences, some at a time.

        Args:
            subject: The model on its task.
            batch: The sequences.
        """
        sites = stream_sites(subject.model.n_layers)
        first = first_position(subject.length)
        self.layers = [LayerMoments(subject.task.variables) for _ in sites]
        row_values: dict[str, list[np.ndarray]] = {name: [] for name in subject.task.variables}
        rng = subject.stream("probe_data", "positions", "eraser")
        for start in range(0, len(batch), CHUNK):
            chunk = batch.take(slice(start, start + CHUNK))
            streams = trace(subject.model, chunk.tokens_BT, sites, batch_size=subject.batch_size)
            labels = {name: chunk.variables[name][:, first:].ravel() for name in row_values}
            defined_C = np.all([label_C != UNDEFINED for label_C in labels.values()], axis=0)
            n_positions = chunk.n_positions - first
            row_C = n_positions * np.arange(len(chunk)) + rng.integers(n_positions, size=len(chunk))
            row_C = row_C[defined_C[row_C]]
            for name, label_C in labels.items():
                row_values[name].append(label_C[row_C])
            for site, moments in zip(sites, self.layers, strict=True):
                cells_NTD = streams[site][:, first:]
                moments.add(cells_NTD.reshape(-1, cells_NTD.shape[-1]), labels, row_C)
        self.row_values = {name: np.concatenate(parts) for name, parts in row_values.items()}

    def fit(self, layer: int, variable: str, classes: Sequence[int]) -> Fit:
        """Return what erasers of a variable are fitted on at a layer."""
        return self.layers[layer].fit(variable, classes, self.row_values[variable])
