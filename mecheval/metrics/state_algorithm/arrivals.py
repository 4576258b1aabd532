"""By which layer a changed letter has reached the readout, and where it stands before.

Shape suffixes: ``P`` pairs, ``T`` positions, ``L`` inner layers 1 to n - 1, ``G`` elements, ``R``
resamples, ``K`` octaves, ``A`` answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions.exchanged_streams import ExchangedStreams
from mecheval.metrics import resampling
from mecheval.metrics.state_algorithm.distant_pairs import DistantPairs, n_octaves, octave

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject

FAR = 3
"""From which distance on there are positions between that a hand could be at."""


@dataclass(frozen=True)
class Arrivals:
    """Runs with a changed letter that get the stream of the unchanged one at some positions.

    Attributes:
        distance_P: How far the letter is from the readout.
        here_LP: Whether the answer is the unchanged one if the readout alone gets it.
        between_LP: Likewise if all positions between the letter and the readout do.
        n_drawn: Number of pairs that there were, those that the model does not answer too.
        n_octaves: Number of octaves K of the distances that there can be.
    """

    distance_P: np.ndarray
    here_LP: np.ndarray
    between_LP: np.ndarray
    n_drawn: int
    n_octaves: int

    @property
    def n_layers(self) -> int:
        """Return the number of blocks n."""
        return len(self.here_LP) + 1

    @property
    def octave_P(self) -> np.ndarray:
        """Return the octave of every distance."""
        return octave(self.distance_P)

    @property
    def layer_P(self) -> np.ndarray:
        """Return behind how many blocks each has arrived: 1 + the inner layers where it has not."""
        return 1.0 + (~self.here_LP).sum(0)

    @property
    def handed_P(self) -> np.ndarray:
        """Say whether at some layer the positions between bring the answer; NaN where near."""
        return np.where(self.distance_P >= FAR, self.between_LP.any(0), np.nan)

    def by_octave(self, value_PV: np.ndarray, weight_RP: np.ndarray) -> np.ndarray:
        """Return means over the pairs of every octave, ``(R, K, V)``."""
        of_octave = [self.octave_P == k for k in range(self.n_octaves)]
        means = [
            resampling.mean_ignoring_nan(weight_RP[:, chosen_P], value_PV[chosen_P])
            for chosen_P in of_octave
        ]
        return np.stack(means, 1)

    def slope(self, weight_RP: np.ndarray) -> np.ndarray:
        """Return how many layers later each further octave arrives, by least squares, ``(R,)``."""
        layer_RK = self.by_octave(self.layer_P[:, None], weight_RP)[..., 0]
        step_K = np.arange(self.n_octaves) - (self.n_octaves - 1) / 2
        return layer_RK @ step_K / (step_K @ step_K)

    def doubles(self, weight_RP: np.ndarray) -> np.ndarray:
        """Say whether a line over log distance fits at least as well as one over distance."""
        of_log, of_plain = (
            _explained(weight_RP, x_P, self.layer_P)
            for x_P in (np.log2(self.distance_P), self.distance_P.astype(np.float64))
        )
        return of_log >= of_plain


def arrivals(subject: Subject, drawn: DistantPairs, value_G: np.ndarray) -> Arrivals:
    """Put the unchanged run's stream into the changed run, at every inner layer.

    Pairs count whose two members the model answers rightly.

    Args:
        subject: The model on its task.
        drawn: The pairs.
        value_G: What of an answer is asked for, of every element: which values are told apart.
    """
    right_P = _right(subject, drawn)
    clean, corrupted = (batch.take(right_P) for batch in (drawn.pairs.clean, drawn.pairs.corrupted))
    distance_P = drawn.distance_P[right_P]
    streams = ExchangedStreams(
        subject.model, corrupted.tokens_BT, clean.tokens_BT, subject.answers_A,
        batch_size=subject.batch_size,
    )  # fmt: skip
    n_pairs, n_inner = len(distance_P), subject.model.n_layers - 1
    wanted_P = value_G[states(subject, clean.targets_BT[:, -1])]
    same_LX = np.zeros((n_inner, 2 * n_pairs), bool)
    if n_pairs:
        donor_RT, row_R = _donors(distance_P, clean.n_positions), np.tile(np.arange(n_pairs), 2)
        for layer in range(1, n_inner + 1):
            logits_RA = streams.logits(layer, donor_RT, row_R)[:, -1]
            same_LX[layer - 1] = value_G[logits_RA.argmax(-1)] == np.tile(wanted_P, 2)
    return Arrivals(
        distance_P, same_LX[:, :n_pairs], same_LX[:, n_pairs:], len(drawn),
        n_octaves(subject.length),
    )  # fmt: skip


def states(subject: Subject, tokens_X: np.ndarray) -> np.ndarray:
    """Return the element that an answer's token id stands for."""
    place_C = np.zeros(subject.encoding.vocab_size, np.int64)
    place_C[subject.answers_A] = np.arange(len(subject.answers_A))
    return place_C[tokens_X]


def _right(subject: Subject, drawn: DistantPairs) -> np.ndarray:
    both = (drawn.pairs.clean, drawn.pairs.corrupted)
    return np.logical_and(*(subject.predict(b)[:, -1] == b.targets_BT[:, -1] for b in both))


def _donors(distance_P: np.ndarray, n_positions: int) -> np.ndarray:
    """Return who gives each position: first for the readout alone, then for those between."""
    pair_P1, position_T = np.arange(len(distance_P))[:, None], np.arange(n_positions)
    before_PT = n_positions - 1 - position_T  # how far from the readout
    here_PT = np.where(before_PT == 0, pair_P1, -1)
    between_PT = np.where((before_PT > 0) & (before_PT < distance_P[:, None]), pair_P1, -1)
    return np.concatenate([here_PT, between_PT])


def _explained(weight_RP: np.ndarray, x_P: np.ndarray, y_P: np.ndarray) -> np.ndarray:
    """Return the squared correlation of two quantities in every resample; 0 without variance."""
    total_R = weight_RP.sum(1)
    x, y, xx, yy, xy = (weight_RP @ v_P / total_R for v_P in (x_P, y_P, x_P**2, y_P**2, x_P * y_P))
    below = (xx - x**2) * (yy - y**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 1e-12, (xy - x * y) ** 2 / below, 0.0)
