"""The spread of one variable by layer and position, and its trend behind the last layer.

Shape suffixes: ``L`` layers 1 to n, ``U`` held-out sequences, ``T`` positions, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.horizon.trend import Trend, fitted
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS
from mecheval.tasks.batch import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.horizon.places import Places, Words

FEWEST = 3
"""Fewest positions of a trend."""


@dataclass(frozen=True)
class Followed:
    """The spread of one variable, and its trend.

    Attributes:
        words: The sequences.
        classes: The values that are told apart, by position.
        places_L: Where words are, behind every block.
    """

    words: Words
    classes: Mapping[int, Sequence[int]]
    places_L: Sequence[Places]

    @property
    def position_T(self) -> np.ndarray:
        """Return the positions."""
        return np.array(list(self.classes))

    @property
    def trend_T(self) -> np.ndarray:
        """Say from which positions the trend is taken."""
        return _second_half(self.words, self.classes)

    @cached_property
    def ratio_LT(self) -> np.ndarray:
        """Return the spread over distance behind every block."""
        once_1U = np.ones((1, len(self.words.held)))
        return np.concatenate([places.ratio(once_1U) for places in self.places_L])

    @cached_property
    def ratio_RT(self) -> np.ndarray:
        """Return the spread over distance behind the last block, in resamples."""
        rng = self.words.subject.stream("bootstrap", "horizon")
        return self.places_L[-1].ratio(resampling.weights(len(self.words.held), rng))

    def trend(self, ratio_RT: np.ndarray) -> Trend:
        """Fit the trend of each of several curves."""
        where_T = self.trend_T
        length = self.words.subject.length
        return fitted(ratio_RT[:, where_T], self.position_T[where_T], length)


def objection(words: Words, variable: str, classes: Mapping[int, Sequence[int]]) -> str | None:
    """Say why the spread of a variable has no trend, None where it can have one."""
    half = -(-words.subject.length // 2)
    if any((batch.variables[variable][:, half:] == UNDEFINED).any() for batch in words.both):
        return f"{variable} has no value at some positions: it is no state that goes on"
    if _second_half(words, classes).sum() >= FEWEST:
        return None
    return (
        f"in the second half of a word less than {FEWEST} positions have two values of {variable} "
        f"with {MIN_PER_CLASS} sequences each, of n_fit and of n_test: there is no trend"
    )


def _second_half(words: Words, classes: Mapping[int, Sequence[int]]) -> np.ndarray:
    return 2 * np.array(list(classes), int) >= words.subject.length
