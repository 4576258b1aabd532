"""Means and covariances of activations at all layers, collected in one pass over sequences.

Beside the means of a variable's true labels stand those of a null: the labels of other sequences,
exchanged between whole sequences, so that what labels have in common over positions, and with each
other along a sequence, stays as it is.

Shape suffixes: ``B`` sequences, ``N`` those of a chunk, ``T`` positions, ``C`` cells (sequence,
position), ``D`` residual width, ``J`` label sets (the true one, then those of the null), ``K``
values of a variable.
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
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch

CHUNK = 256
VALIDATION_SHARE = 0.2
"""Share of the rows by which probes that belong to an eraser choose their L2."""


class LayerMoments:
    """Running sums of the activations at one layer.

    Sums are taken around the first chunk's mean, so that large constant features cost no digits.
    """

    def __init__(self, values: Mapping[str, int], n_sets: int) -> None:
        """Start empty, for variables with the given numbers of values and of label sets each."""
        self.values, self.n_sets = values, n_sets
        self.shift_D: np.ndarray | None = None
        self.count, self.sum_D, self.gram_DD = 0, np.zeros(1), np.zeros((1, 1))
        self.sums: dict[str, np.ndarray] = {}
        self.counts = {name: np.zeros((n_sets, size)) for name, size in values.items()}
        self.rows: list[np.ndarray] = []

    def add(
        self, cells_CD: np.ndarray, labels: Mapping[str, np.ndarray], row_C: np.ndarray
    ) -> None:
        """Add cells.

        Args:
            cells_CD: Activations.
            labels: Value of every variable at the cells, in all label sets, ``(J, C)``.
            row_C: Indices of the cells that are kept as rows.
        """
        if self.shift_D is None:
            self.shift_D = cells_CD.mean(0, dtype=np.float64)
            width = cells_CD.shape[1]
            self.sum_D, self.gram_DD = np.zeros(width), np.zeros((width, width))
            shapes = {name: (self.n_sets, size, width) for name, size in self.values.items()}
            self.sums = {name: np.zeros(shape) for name, shape in shapes.items()}
        centred_CD = cells_CD - self.shift_D
        self.count += len(cells_CD)
        self.sum_D += centred_CD.sum(0)
        self.gram_DD += upper_gram(centred_CD)
        for name, label_JC in labels.items():
            onehot_JKC = label_JC[:, None] == np.arange(self.values[name])[:, None]
            self.counts[name] += onehot_JKC.sum(2)
            self.sums[name][0] += onehot_JKC[0].astype(np.float64) @ centred_CD
            if self.n_sets > 1:  # single precision is enough for what is noise, and twice as fast
                self.sums[name][1:] += onehot_JKC[1:].astype(np.float32) @ centred_CD.astype(
                    np.float32
                )
        self.rows.append(cells_CD[row_C])

    def fit(
        self, variable: str, classes: Sequence[int], row_values: np.ndarray, *, label_set: int = 0
    ) -> Fit:
        """Return what erasers of a variable are fitted on.

        Args:
            variable: The variable.
            classes: Its values that count.
            row_values: Its value at the kept rows, in the label set.
            label_set: 0 for the true labels, or which set of the null.
        """
        assert self.shift_D is not None  # noqa: S101 - there is at least one chunk
        count_S = self.counts[variable][label_set, list(classes)]
        means_SD = self.sums[variable][label_set, list(classes)] / count_S[:, None] + self.shift_D
        rows_CD = self.rows_CD
        n_rows = int((1 - VALIDATION_SHARE) * len(rows_CD))
        parts = []
        for part in (slice(n_rows), slice(n_rows, None)):
            kept = np.isin(row_values[part], classes)
            labels = np.searchsorted(classes, row_values[part][kept])
            # The same array for every label set, if nothing is left out.
            parts.append(Split(rows_CD[part] if kept.all() else rows_CD[part][kept], labels))
        return Fit(means_SD, count_S, self.covariance, *parts)

    @cached_property
    def rows_CD(self) -> np.ndarray:
        """Return all cells that were kept as rows."""
        return np.concatenate(self.rows)

    @cached_property
    def covariance(self) -> Covariance:
        """Return the covariance of all cells that were added, the same object for all variables."""
        offset_D = self.sum_D / self.count
        gram_DD = np.triu(self.gram_DD) + np.triu(self.gram_DD, 1).T  # it holds one triangle
        return Covariance(gram_DD / self.count - np.outer(offset_D, offset_D))


class Moments:
    """Moments at the layers of the residual stream, over cells at which probes are asked.

    Layer 0, the embedding, is left out: what is erased there is the token.
    """

    def __init__(self, subject: Subject, batch: Batch, n_null: int) -> None:
        """Run the model over the sequences, some at a time.

        Args:
            subject: The model on its task.
            batch: The sequences.
            n_null: Number of draws of a null.
        """
        sites = stream_sites(subject.model.n_layers)[1:]
        first = first_position(subject.length)
        self.layers = [LayerMoments(subject.task.variables, 1 + n_null) for _ in sites]
        self.source_JB = exchanges(len(batch), n_null, subject.stream("probe_data", "exchanged"))
        self.row_values: dict[str, np.ndarray] = {}
        found: dict[str, list[np.ndarray]] = {name: [] for name in subject.task.variables}
        rng = subject.stream("probe_data", "positions", "eraser")
        for start in range(0, len(batch), CHUNK):
            chunk = batch.take(slice(start, start + CHUNK))
            streams = trace(subject.model, chunk.tokens_BT, sites, batch_size=subject.batch_size)
            source_JN = self.source_JB[:, start : start + CHUNK]
            labels = {name: _cells(batch.variables[name][source_JN], first) for name in found}
            defined_C = np.all([label_JC[0] != UNDEFINED for label_JC in labels.values()], axis=0)
            row_C = _rows(len(chunk), chunk.n_positions - first, subject.factor, rng)
            row_C = row_C[defined_C[row_C]]
            for name, label_JC in labels.items():
                found[name].append(label_JC[:, row_C])
            for site, moments in zip(sites, self.layers, strict=True):
                cells_NTD = streams[site][:, first:]
                moments.add(cells_NTD.reshape(-1, cells_NTD.shape[-1]), labels, row_C)
        self.row_values = {name: np.concatenate(parts, 1) for name, parts in found.items()}

    def fits(self, layer: int, variable: str, classes: Sequence[int]) -> Iterator[Fit]:
        """Give what erasers of a variable are fitted on at a layer from 1 on.

        Yields:
            That by the true labels, then those of the null.
        """
        of_layer = self.layers[layer - 1]
        for label_set, values_C in enumerate(self.row_values[variable]):
            yield of_layer.fit(variable, classes, values_C, label_set=label_set)


def exchanges(n_sequences: int, n_null: int, rng: np.random.Generator) -> np.ndarray:
    """Return whose labels every sequence has: its own, then those of others by each draw.

    Returns:
        Indices of sequences, ``(1 + n_null, B)``.
    """
    own_1B = np.arange(n_sequences)[None]
    return np.concatenate([own_1B, rng.permuted(np.repeat(own_1B, n_null, axis=0), axis=1)])


def _rows(n_sequences: int, n_positions: int, n_each: int, rng: np.random.Generator) -> np.ndarray:
    """Draw some cells of every sequence, each from another stretch of it."""
    ends = n_positions * np.arange(n_each + 1) // n_each
    position_NK = rng.integers(ends[:-1], ends[1:], size=(n_sequences, n_each))
    return (n_positions * np.arange(n_sequences)[:, None] + position_NK).ravel()


def _cells(values_JNT: np.ndarray, first: int) -> np.ndarray:
    return values_JNT[..., first:].reshape(len(values_JNT), -1)
