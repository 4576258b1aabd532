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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.horizon.places import Places, Words


@dataclass(frozen=True)
class Followed:
    """The spread of one variable over the distance of its values, and the trend of that.

    Attributes:
        words: The sequences.
        variable: The variable.
        values: Those of its values that are told apart.
        places_L: Where words are, behind every block.
    """

    words: Words
    variable: str
    values: Sequence[int]
    places_L: Sequence[Places]

    @property
    def position_T(self) -> np.ndarray:
        """Return the positions: all but that of BOS."""
        return np.arange(1, self.words.held.n_positions)

    @property
    def trend_T(self) -> np.ndarray:
        """Say from which positions the trend is taken."""
        return self.position_T >= self.words.half

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
        return fitted(ratio_RT[:, where_T], self.position_T[where_T], self.words.subject.length)
