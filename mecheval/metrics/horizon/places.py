"""Where held-out words are on the line between two states, at every position of a layer.

Shape suffixes: ``L`` layers 1 to n, ``N`` sequences to fit on, ``U`` held-out sequences, ``T``
positions, ``D`` residual width, ``R`` resamples.
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

    def classes(self, variable: str) -> dict[int, list[int]]:
        """Return the values of a variable that can be told apart, by position.

        Only positions are in it where there are two: each with enough sequences of both kinds.
        """
        size = self.subject.task.variables[variable]
        found = {}
        for position in range(self.fit.n_positions):
            enough_K = np.full(size, True)
            for batch in self.both:
                value_B = batch.variables[variable][:, position]
                counts_K = np.bincount(value_B[value_B != UNDEFINED], minlength=size)
                enough_K &= counts_K >= MIN_PER_CLASS
            if enough_K.sum() > 1:
                found[position] = np.flatnonzero(enough_K).tolist()
        return found

    def decides(self, variable: str) -> bool:
        """Say whether a variable leaves one answer, as far as the sequences show."""
        answered_BT = self.held.targets_BT != UNSCORED
        given = self.held.variables[variable][answered_BT], self.held.targets_BT[answered_BT]
        n_pairs = np.unique(np.stack(given), axis=1).shape[1]
        return UNDEFINED not in given[0] and n_pairs == len(np.unique(given[0]))


@dataclass(frozen=True)
class Places:
    """Held-out words on the line between the two nearest states, at every position of a layer.

    Attributes:
        place_UT: Where they are.
        of_2UT: 1 for the words that are in either state.
    """

    place_UT: np.ndarray
    of_2UT: np.ndarray

    def ratio(self, weight_RU: np.ndarray) -> np.ndarray:
        """Return the spread over distance ``(R, T)``."""
        return over_distance(self.place_UT, self.of_2UT, weight_RU)


def places_by_layer(
    words: Words, classes: Mapping[str, Mapping[int, Sequence[int]]]
) -> Iterator[dict[str, Places]]:
    """Find at every layer, from behind the first block on, where words are.

    Args:
        words: The sequences.
        classes: For every variable the values that are told apart, by position.
    """
    for fit_NTD, held_UTD in _streams(words):
        yield {
            name: _places(words, name, by_position, fit_NTD, held_UTD)
            for name, by_position in classes.items()
        }


def _places(
    words: Words,
    variable: str,
    classes: Mapping[int, Sequence[int]],
    fit_NTD: np.ndarray,
    held_UTD: np.ndarray,
) -> Places:
    fit_NT, held_UT = (batch.variables[variable] for batch in words.both)
    found = [
        along(
            nearest(fit_NTD[:, position], fit_NT[:, position], values),
            held_UTD[:, position],
            held_UT[:, position],
        )
        for position, values in classes.items()
    ]
    places, members = zip(*found, strict=True)
    return Places(np.stack(places, axis=-1), np.stack(members, axis=-1))


def _streams(words: Words) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the streams of both kinds of sequences at every layer, as many as fit in memory."""
    model = words.subject.model
    n_numbers = (words.fit.tokens_BT.size + words.held.tokens_BT.size) * model.d_model
    at_once = max(1, _TOGETHER // n_numbers)
    sites = stream_sites(model.n_layers)[1:]
    for start in range(0, len(sites), at_once):
        some = sites[start : start + at_once]
        fit, held = (_traced(words.subject, batch, some) for batch in words.both)
        yield from ((fit.pop(site), held.pop(site)) for site in some)


def _traced(subject: Subject, batch: Batch, sites: Sequence[Site]) -> dict[Site, np.ndarray]:
    found = trace(subject.model, batch.tokens_BT, sites, batch_size=subject.batch_size)
    return {site: found[site] for site in sites}
