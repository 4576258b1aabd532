"""Where held-out words are on the line between two states, at every position of a layer.

Shape suffixes: ``N`` sequences to fit on, ``U`` held-out sequences, ``B`` either, ``T`` positions,
``D`` residual width, ``R`` resamples, ``K`` values of a variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions import trace
from mecheval.metrics.horizon.spread import along, nearest, over_distance
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS
from mecheval.models.sites import stream_sites
from mecheval.tasks.batch import UNDEFINED, UNSCORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.models.sites import Site
    from mecheval.tasks import Batch

FEWEST = 3
"""Fewest positions of a trend."""

_TOGETHER = 1 << 26
"""Most numbers of activations that are held at a time, so that wide models are read by layers."""


@dataclass(frozen=True)
class Words:
    """Sequences of the training length, to find lines on and to measure on.

    Attributes:
        subject: The model on its task.
        fit: Of the training split.
        held: Of the test split.
    """

    subject: Subject
    fit: Batch
    held: Batch

    @property
    def both(self) -> tuple[Batch, Batch]:
        """Return the sequences of both splits."""
        return self.fit, self.held

    @property
    def half(self) -> int:
        """Return the first position of the second half: from it on trends are taken."""
        return -(-self.subject.length // 2)

    def values(self, variable: str) -> list[int]:
        """Return the values with enough sequences of both splits at all of these positions."""
        size = self.subject.task.variables[variable]
        enough_K = np.full(size, True)
        for batch in self.both:
            label_BTK = batch.variables[variable][:, self.half :, None] == np.arange(size)
            enough_K &= label_BTK.sum(0).min(0) >= MIN_PER_CLASS
        return np.flatnonzero(enough_K).tolist()

    def objection(self, variable: str, **sizes: int) -> str | None:
        """Say why the spread of a variable has no trend, None where it has one.

        Args:
            variable: A variable of the task.
            **sizes: As for :meth:`Subject.gives_more`.
        """
        if any(
            (batch.variables[variable][:, self.half :] == UNDEFINED).any() for batch in self.both
        ):
            return f"{variable} has no value at some positions: it is no state that goes on"
        if self.fit.n_positions - self.half < FEWEST:
            return f"words of {self.subject.length} symbols are too short for a trend"
        if len(self.values(variable)) > 1:
            return None
        return (
            f"fewer than two values of {variable} have {MIN_PER_CLASS} sequences at every position "
            f"of the second half: {self.subject.gives_more(**sizes)}"
        )

    def decides(self, variable: str) -> bool:
        """Say whether a variable leaves one answer, as far as the sequences show."""
        answered_BT = self.held.targets_BT != UNSCORED
        given = self.held.variables[variable][answered_BT], self.held.targets_BT[answered_BT]
        n_pairs = np.unique(np.stack(given), axis=1).shape[1]
        return UNDEFINED not in given[0] and n_pairs == len(np.unique(given[0]))


@dataclass(frozen=True)
class Places:
    """Held-out words on the line between the two nearest states of a layer.

    Attributes:
        place_UT: Where they are, at every position.
        of_2UT: 1 for the words that are in either state.
        pair: The two values of the variable.
    """

    place_UT: np.ndarray
    of_2UT: np.ndarray
    pair: tuple[int, int]

    def ratio(self, weight_RU: np.ndarray) -> np.ndarray:
        """Return the spread over distance ``(R, T)``; NaN where a state has too few words."""
        ratio_RT = over_distance(self.place_UT, self.of_2UT, weight_RU)
        return np.where(self.of_2UT.sum(1).min(0) >= MIN_PER_CLASS, ratio_RT, np.nan)


def places_by_layer(
    words: Words, values: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, Places]]:
    """Find behind every block where words are, at all positions but that of BOS.

    Args:
        words: The sequences.
        values: For every variable the values that are told apart.
    """
    for fit_NTD, held_UTD in _streams(words):
        yield {
            name: _places(words, name, classes, fit_NTD, held_UTD)
            for name, classes in values.items()
        }


def _places(
    words: Words,
    variable: str,
    classes: Sequence[int],
    fit_NTD: np.ndarray,
    held_UTD: np.ndarray,
) -> Places:
    fit_NT, held_UT = (batch.variables[variable] for batch in words.both)
    line = nearest(fit_NTD[:, words.half :], fit_NT[:, words.half :], classes)
    place_UT, of_2UT = along(line, held_UTD[:, 1:], held_UT[:, 1:])
    return Places(place_UT, of_2UT, (line.first, line.second))


def _streams(words: Words) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the streams of both kinds of sequences at every layer, as many as fit in memory."""
    model = words.subject.model
    n_numbers = sum(batch.tokens_BT.size for batch in words.both) * model.d_model
    at_once = max(1, _TOGETHER // n_numbers)
    sites = stream_sites(model.n_layers)[1:]
    for start in range(0, len(sites), at_once):
        some = sites[start : start + at_once]
        fit, held = (_traced(words.subject, batch, some) for batch in words.both)
        yield from ((fit.pop(site), held.pop(site)) for site in some)


def _traced(subject: Subject, batch: Batch, sites: Sequence[Site]) -> dict[Site, np.ndarray]:
    found = trace(subject.model, batch.tokens_BT, sites, batch_size=subject.batch_size)
    return {site: found[site] for site in sites}
