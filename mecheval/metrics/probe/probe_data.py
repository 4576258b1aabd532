"""Activations and labels for probes: one position per sequence, splits by sequence.

Layer 0 is the residual stream before the first block (the embedding), layer l the stream after l
blocks. Shape suffixes: ``L`` these layers, ``N`` sequences, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval.interventions import trace
from mecheval.metrics.probe.probes import Split
from mecheval.models.sites import stream_sites
from mecheval.tasks.batch import UNDEFINED
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.metrics.subject import Subject
    from mecheval.models.contract import SequenceModel

SPLITS = ("train", "validation", "test")
MIN_PER_CLASS = 10
"""Fewest training examples of a class that a probe can be asked about."""


@dataclass(frozen=True)
class Examples:
    """One position of every sequence of a split.

    Attributes:
        streams_LND: Activations at every layer, float32.
        values_N: Value of the variable.
        words_NT: The tokens of the sequence.
        position_N: The position.
    """

    streams_LND: np.ndarray
    values_N: np.ndarray
    words_NT: np.ndarray
    position_N: np.ndarray


@dataclass(frozen=True)
class ProbeData:
    """A variable's examples in the three splits.

    Attributes:
        splits: Examples by split.
        classes: Values of the variable with enough training examples, and some of each other
            split; probes are asked about these only.
    """

    splits: Mapping[str, Examples]
    classes: tuple[int, ...]

    @property
    def n_layers(self) -> int:
        """Return the number of layers L, embedding included."""
        return len(self.splits["train"].streams_LND)

    def kept(self, split: str) -> np.ndarray:
        """Say which sequences of a split hold one of the classes, shape ``(N,)``."""
        return np.isin(self.splits[split].values_N, self.classes)

    def labels(self, split: str) -> np.ndarray:
        """Return class indices of the kept sequences."""
        return np.searchsorted(self.classes, self.splits[split].values_N[self.kept(split)])

    def words(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens ``(N, T)`` and probed positions ``(N,)`` of the kept sequences."""
        kept_N, examples = self.kept(split), self.splits[split]
        return examples.words_NT[kept_N], examples.position_N[kept_N]

    def layer(self, split: str, layer: int) -> Split:
        """Return features and labels of one layer."""
        examples = self.splits[split]
        return Split(examples.streams_LND[layer][self.kept(split)], self.labels(split))

    def spread(self, layer: int) -> float:
        """Return the typical standard deviation of a feature at a layer."""
        std_D = self.layer("train", layer).features_ND.std(0, dtype=np.float64)
        return float(np.sqrt((std_D**2).mean()))


def probe_data(
    subject: Subject,
    variable: str,
    sizes: Mapping[str, int],
    *,
    network: Literal["trained", "untrained"] = "trained",
) -> ProbeData:
    """Trace what probes for a variable need; variables defined at the same places share it.

    Sequences come from the task's own train, validation and test splits, so no sequence is in two
    of them. Positions are drawn from those at or behind
    :func:`mecheval.tasks.floors.first_position` at which the variable is defined.

    Args:
        subject: The model on its task.
        variable: A variable of the task.
        sizes: ``n_train``, ``n_validation`` and ``n_test``.
        network: The subject's model, or the same one with freshly drawn weights.
    """
    splits = {}
    for split in SPLITS:
        batch = subject.examples(split, sizes[f"n_{split}"], purpose="probe")
        values_NT = batch.variables[variable]
        position_N, usable_N = _positions(subject, values_NT, split)
        row_N = np.flatnonzero(usable_N)
        cell = (row_N, position_N[row_N])
        streams_LND = _traced(subject, split, batch.tokens_BT, cell, network)
        splits[split] = Examples(
            streams_LND, values_NT[cell], batch.tokens_BT[row_N], position_N[row_N]
        )
    counts = [_counts(splits[split].values_N, subject.task.variables[variable]) for split in SPLITS]
    enough = (counts[0] >= MIN_PER_CLASS) & (counts[1] > 0) & (counts[2] > 0)
    return ProbeData(splits, tuple(np.flatnonzero(enough).tolist()))


def _counts(values_N: np.ndarray, n_values: int) -> np.ndarray:
    return np.bincount(values_N, minlength=n_values)


def _positions(
    subject: Subject, values_NT: np.ndarray, split: str
) -> tuple[np.ndarray, np.ndarray]:
    defined_NT = values_NT != UNDEFINED
    defined_NT[:, : first_position(subject.length)] = False
    draw_NT = subject.stream("probe_data", "positions", split).random(defined_NT.shape)
    return np.where(defined_NT, draw_NT, -1.0).argmax(1), defined_NT.any(1)


def _traced(
    subject: Subject,
    split: str,
    tokens_BT: np.ndarray,
    cell: tuple[np.ndarray, np.ndarray],
    network: Literal["trained", "untrained"],
) -> np.ndarray:
    row_N, position_N = cell
    key = (network, split, tokens_BT.shape, row_N.tobytes(), position_N.tobytes())
    if key not in subject.memo:
        model = subject.model if network == "trained" else _untrained(subject)
        sites = stream_sites(model.n_layers)
        if not len(row_N):  # with few sequences, of a variable that is seldom defined
            return np.zeros((len(sites), 0, model.d_model), np.float32)
        found = trace(
            model,
            tokens_BT[row_N],
            sites,
            positions_B=position_N,
            batch_size=subject.batch_size,
        )
        subject.memo[key] = np.stack([found[site] for site in sites])
    return subject.memo[key]


def _untrained(subject: Subject) -> SequenceModel:
    if "untrained" not in subject.memo:
        subject.memo["untrained"] = subject.untrained().to(subject.model.device)
    return subject.memo["untrained"]


def forget_untrained(subject: Subject) -> None:
    """Drop the untrained network and its activations, which one metric alone needs."""
    for key in list(subject.memo):
        if key == "untrained" or (isinstance(key, tuple) and key[0] == "untrained"):
            del subject.memo[key]
