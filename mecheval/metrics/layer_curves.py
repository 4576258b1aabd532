"""Where along the layers a curve rises, and in how few steps, on arrays.

Shape suffixes: ``L`` the layers 0 (embedding) to n, so n + 1 values; ``...`` any leading axes, such
as resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MIN_HEIGHT = 0.05
"""Largest corrected readability of a curve that says nothing about its shape: noise of a probe."""


def corrected(score: ArrayLike, floor: ArrayLike) -> np.ndarray:
    """Return a_l = clip((A_l - F_l) / (1 - F_l), 0, 1); 0 where the floor F_l is 1."""
    room = np.maximum(1.0 - np.asarray(floor), 1e-12)
    return np.clip((np.asarray(score) - floor) / room, 0.0, 1.0)


def shape(a_L: np.ndarray) -> dict[str, np.ndarray]:
    """Describe the shape of corrected readability over layers (formal_languages 4).

    With increments D_l = max(a_l - a_(l-1), 0), where a_(-1) = 0, and p_l = D_l / sum D:

    - ``com``, how late it rises: the centre of mass COM = sum_l (l / n) p_l.
    - ``l50``, where it has half its height: l50 = min {l: a_l >= max a / 2} / n.
    - ``last_share``, what the last block adds: p_n.
    - ``cmax``, the share of its largest step: Cmax = max_l p_l.
    - ``ch``, how few steps it has: C_H = 1 - H(p) / log n; 1 for one step, 0 for n equal ones.

    Args:
        a_L: Corrected readability, ``(..., n + 1)``.

    Returns:
        Values of shape ``(...)``; NaN for curves not higher than :data:`MIN_HEIGHT`, and for C_H
        of a single layer.
    """
    a_L = np.asarray(a_L, np.float64)
    n_layers = a_L.shape[-1] - 1
    step_L = np.maximum(np.diff(a_L, axis=-1, prepend=0.0), 0.0)
    p_L = _shares(step_L)
    height = a_L.max(-1)
    reached_L = a_L >= 0.5 * height[..., None]
    depth_L = np.arange(n_layers + 1) / n_layers
    values = {
        "com": (p_L * depth_L).sum(-1),
        "l50": reached_L.argmax(-1) / n_layers,
        "last_share": p_L[..., -1],
        **_concentration(p_L, n_layers),
    }
    return {name: np.where(height > MIN_HEIGHT, value, np.nan) for name, value in values.items()}


def concentration(weight_L: np.ndarray) -> dict[str, np.ndarray]:
    """Return Cmax and C_H of weights over layers; negative ones count as 0.

    Args:
        weight_L: One weight per layer, ``(..., n)``; NaN counts as 0.
    """
    weight_L = np.maximum(np.nan_to_num(np.asarray(weight_L, np.float64)), 0.0)
    return _concentration(_shares(weight_L), weight_L.shape[-1])


def over_blocks(weight_L: np.ndarray) -> dict[str, np.ndarray]:
    """Return COM, Cmax and C_H of what n blocks are worth; block l ends at the depth (l + 1) / n.

    Args:
        weight_L: One weight per block, ``(..., n)``; negative ones and NaN count as 0.

    Returns:
        Values of shape ``(...)``; NaN where no block is worth more than :data:`MIN_HEIGHT`.
    """
    weight_L = np.maximum(np.nan_to_num(np.asarray(weight_L, np.float64)), 0.0)
    n_blocks, height = weight_L.shape[-1], weight_L.max(-1)
    depth_L = np.arange(1, n_blocks + 1) / n_blocks
    p_L = _shares(weight_L)
    values = {"com": (p_L * depth_L).sum(-1), **_concentration(p_L, n_blocks)}
    return {name: np.where(height > MIN_HEIGHT, value, np.nan) for name, value in values.items()}


def plateau(score_L: np.ndarray, lowest: float) -> np.ndarray:
    """Say which layers reach a level; NaN layers do not."""
    return np.nan_to_num(score_L, nan=-np.inf) >= lowest


def _shares(weight_L: np.ndarray) -> np.ndarray:
    total = weight_L.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weight_L / total, np.nan)


def _concentration(p_L: np.ndarray, n_layers: int) -> dict[str, np.ndarray]:
    entropy = -(p_L * np.log(np.where(p_L > 0, p_L, 1.0))).sum(-1)
    if n_layers < 2:
        return {"cmax": p_L.max(-1), "ch": np.full(entropy.shape, np.nan)}
    return {
        "cmax": p_L.max(-1),
        "ch": np.maximum(1.0 - entropy / np.log(n_layers), 0.0),
    }
