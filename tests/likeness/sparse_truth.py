"""Activations whose sparse features are known, and pairs of them whose likeness is known.

Rows are sums of few of 256 features, each a random direction of unit length in 64 dimensions; 4.76
features are on in a row on average. How often a feature is on falls by a constant factor from one
to the next, to a twelfth, so that the share of variance behind two random dictionaries' common
codes is that of 174 features that are equally frequent.

With ``v`` the variances of the features and ``p = sum v^2 / (sum v)^2``, linear CKA of two random
dictionaries of the same codes in D dimensions tends to ``p / (p + (1 - p) / D)``: 0.27 here. Where
only the codes of half of the features are shared it is half of that, and 0 where none are.

Shape suffixes: ``N`` rows, ``F`` features, ``D`` dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_FEATURES, WIDTH, FIRING = 256, 64, 4.76
"""Features, dimensions, and how many features are on in a row on average."""

_FALL = 12.0  # how many times as often as the rarest feature the commonest is on
PAIRS = ("same", "rotated", "another_dictionary", "half_shared", "independent")


@dataclass(frozen=True)
class SparseTruth:
    """Activations, and the codes and directions that they are made of."""

    rows_ND: np.ndarray
    codes_NF: np.ndarray
    directions_FD: np.ndarray


def rates() -> np.ndarray:
    """Return how often each feature is on, ``(F,)``."""
    falling_F = _FALL ** -np.linspace(0.0, 1.0, N_FEATURES)
    return falling_F * (FIRING / falling_F.sum())


def codes(rng: np.random.Generator, n_rows: int) -> np.ndarray:
    """Draw codes ``(N, F)``: zero, or between 0.5 and 1.5 where a feature is on."""
    on_NF = rng.random((n_rows, N_FEATURES)) < rates()
    return (on_NF * rng.uniform(0.5, 1.5, on_NF.shape)).astype(np.float32)


def directions(rng: np.random.Generator) -> np.ndarray:
    """Draw random directions of unit length, ``(F, D)``."""
    drawn_FD = rng.standard_normal((N_FEATURES, WIDTH))
    return (drawn_FD / np.linalg.norm(drawn_FD, axis=1, keepdims=True)).astype(np.float32)


def rotation(rng: np.random.Generator, width: int = WIDTH) -> np.ndarray:
    """Draw a random rotation or reflection, ``(D, D)``."""
    return np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)


def pair(kind: str, n_rows: int, seed: int = 0) -> tuple[SparseTruth, SparseTruth]:
    """Draw two networks' activations of the same rows.

    Args:
        kind: One of :data:`PAIRS`. The rotated twin has the same codes in directions that are
            rotated; of ``half_shared`` every other feature, so that common and rare ones alike,
            has the same code, and the dictionary is another one.
        n_rows: How many rows.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng([seed, PAIRS.index(kind)])
    one_NF, one_FD = codes(rng, n_rows), directions(rng)
    other_NF, other_FD = one_NF, one_FD
    if kind == "rotated":
        other_FD = one_FD @ rotation(rng)
    elif kind != "same":
        other_FD = directions(rng)
    if kind == "half_shared":
        own_NF = codes(rng, n_rows)
        other_NF = np.where(np.arange(N_FEATURES) % 2 == 0, one_NF, own_NF)
    elif kind == "independent":
        other_NF = codes(rng, n_rows)
    return (
        SparseTruth(one_NF @ one_FD, one_NF, one_FD),
        SparseTruth(other_NF @ other_FD, other_NF, other_FD),
    )
