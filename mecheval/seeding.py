"""Named random streams drawn from one seed; there is no global random state.

``stream(seed, "pairs")`` and ``stream(seed, "probe_split")`` are independent, so that adding a
consumer of randomness never moves another one's numbers.

Weights are drawn by :class:`Draws`, whose numbers are the same everywhere. Everything else, such as
a task's examples and resamples, is drawn by NumPy's generator. It gives the same numbers on every
processor (but for the last bit of an exponential one now and then), and may give others in another
version of NumPy (NEP 19). The golden hashes of the tasks, a test, would say so, and the key of a
task that is not built in holds the hash of a sample.

Shape suffix: ``X`` any shape.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mecheval import exact

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

STREAMS = ("init", "train_data", "validation_data", "test_data", "pairs", "probe_data", "bootstrap")
"""The purposes that every report lists."""

_CHUNK = 16384  # numbers at a time, so that what is computed with them stays in the cache
_UNIT = 2.0**-53


def derive(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed for one purpose.

    Args:
        seed: The seed of the cell.
        names: The purpose, such as ``("train_data", 3)``; any sequence of words and numbers.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of one purpose; see :func:`derive`."""
    return np.random.default_rng(derive(seed, *names))


def listed(seed: int) -> dict[str, int]:
    """Return the derived seed of every purpose in :data:`STREAMS`, as reports list them."""
    return {name: derive(seed, name) for name in STREAMS}


class Draws:
    """Random numbers with the same bits on every processor and in every version of a library.

    The bits are those of Philox-4x64-10, a published generator with published test vectors
    (Salmon et al. 2011, doi:10.1145/2063384.2063405), whose integers NumPy promises to keep. From
    53 of 64 bits a uniform double is made exactly; normal numbers are its quantiles by
    :func:`mecheval.exact.normal_quantile`, which has no operation whose rounding is left open. So
    neither the vector unit, the number of threads, the mathematical library nor a switch of torch
    has a part in them. Torch's own normal draws have: their order and their logarithms depend on
    the vector unit.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        """Begin the stream of one purpose; see :func:`derive`."""
        self._bits = np.random.Philox(key=derive(seed, *names))

    def uniform(
        self,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
        dtype: DTypeLike = np.float64,
    ) -> np.ndarray:
        """Return independent numbers that are evenly distributed over ``low`` to below ``high``.

        Args:
            shape: Of the array.
            low: Least number, taken in the precision of the result.
            high: Bound from above, likewise.
            dtype: ``float64`` or ``float32``, to which numbers drawn in float64 are rounded.
        """
        first, last = np.array([low, high], dtype)
        start, width, below = float(first), float(last) - float(first), np.nextafter(last, first)

        def made(bits_X: np.ndarray) -> np.ndarray:
            unit_X = (bits_X >> np.uint64(11)).astype(np.float64) * _UNIT
            return np.minimum((start + width * unit_X).astype(dtype), below)

        return self._filled(shape, dtype, made)

    def normal(
        self,
        shape: tuple[int, ...],
        mean: float = 0.0,
        std: float = 1.0,
        dtype: DTypeLike = np.float64,
    ) -> np.ndarray:
        """Return independent normal numbers.

        Args:
            shape: Of the array.
            mean: Mean, taken in the precision of the result: where it is computed by means that
                round as they please, the last bits of that do not matter.
            std: Standard deviation, likewise.
            dtype: ``float64`` or ``float32``, to which numbers drawn in float64 are rounded.
        """
        centre, spread = np.array([mean, std], dtype).astype(np.float64)

        def made(bits_X: np.ndarray) -> np.ndarray:
            # An odd multiple of 2^-53: never 0 or 1, and symmetric around 1/2.
            unit_X = ((bits_X >> np.uint64(11)) | np.uint64(1)).astype(np.float64) * _UNIT
            return centre + spread * exact.normal_quantile(unit_X)

        return self._filled(shape, dtype, made)

    def _filled(
        self, shape: tuple[int, ...], dtype: DTypeLike, made: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        out_X = np.empty(int(np.prod(shape, dtype=np.int64)), dtype)
        for start in range(0, len(out_X), _CHUNK):
            part_X = out_X[start : start + _CHUNK]
            part_X[:] = made(self._bits.random_raw(len(part_X)))
        return out_X.reshape(shape)
