"""How the spread over the distance grows with the length, and where it reaches a level, on arrays.

Shape suffixes: ``T`` positions, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mecheval import stats

LEAST, MOST = 5e-3, 1e3
"""Between these a spread over distance counts: below, states would be wrong in less than one of
40,000 words, so that thousands cannot tell how it grows; above, nothing is told apart."""


@dataclass(frozen=True)
class Trend:
    """A power of the position, in every resample: rho_t = rho_n (t / n)^growth.

    Attributes:
        level_R: Spread over distance at the training length, rho_n.
        growth_R: The exponent: 1/2 where independent errors add up, 1 where they all go the same
            way, 0 where they are mended.
    """

    level_R: np.ndarray
    growth_R: np.ndarray

    def at(self, factor: float | np.ndarray) -> np.ndarray:
        """Return the spread over distance at a multiple of the training length, ``(R,)``."""
        return self.level_R * factor**self.growth_R

    def horizon(self, level: float) -> np.ndarray:
        """Return the multiple of the training length at which a level is reached, ``(R,)``.

        Infinite where it is not reached, 0 where it never was below.
        """
        with np.errstate(divide="ignore", over="ignore"):
            reached_R = np.exp(np.log(level / self.level_R) / self.growth_R)
        never_R = np.where(self.level_R < level, np.inf, 0.0)
        return np.where(self.growth_R > 0, reached_R, never_R)


def fitted(ratio_RT: np.ndarray, position_T: np.ndarray, length: int) -> Trend:
    """Fit the power of the position by least squares of logarithms.

    Args:
        ratio_RT: Spread over distance; beyond :data:`LEAST` and :data:`MOST` it counts as these.
        position_T: Positions, two or more.
        length: The training length n.
    """
    log_RT = np.log(np.clip(ratio_RT, LEAST, MOST))
    far_T = np.log(position_T / length)
    centred_T = far_T - far_T.mean()
    growth_R = log_RT @ centred_T / (centred_T @ centred_T)
    # What is flat but for rounding has no trend.
    growth_R = np.where(np.abs(growth_R) > 1e-9, growth_R, 0.0)
    level_R = np.exp(log_RT.mean(1) - growth_R * far_T.mean())
    return Trend(level_R, growth_R)


def ends_of(value_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the percentile intervals of values that may be infinite, ``(...)`` each.

    They are values of resamples: nothing lies between a number and what is infinite.

    Args:
        value_R: Values in resamples, ``(R, ...)``.
    """
    quantiles = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
    low, high = np.quantile(value_R, quantiles, axis=0, method="nearest")
    return low, high
