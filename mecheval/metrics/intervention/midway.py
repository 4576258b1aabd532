"""The numbers that say by which way a difference goes: midway, and at both ends of it.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics.intervention.recovered import CHANGED, MIDDLE, READOUT

if TYPE_CHECKING:
    from mecheval.metrics.intervention.recovered import Recovered
    from mecheval.stats import Interval

STREAM = ("block_in", "mixer_in", "block_out")
"""One and the same stream at several depths; all other components are parts of single layers."""

HALF = 0.5
"""The share of the gap by which a difference has left a place, or has arrived at it."""

_ROUNDING = 1e-3  # so that two layers that share exactly half and half are no matter of rounding

MIN_CARRIED = 0.05
"""The share of the gap that all layers must bring back together for one of them to be named."""


@dataclass(frozen=True)
class Midway:
    """What one component brings back at the middle position.

    Attributes:
        value: The share.
        interval: Over resampled pairs.
        unit_P: What each pair contributes: their mean is the value; NaN for one without a middle.
        scalars: The layer that the value is of, in how many resamples it is this one, and what all
            layers bring back, added up. None of them for the stream.
        layers: The layers that the value is a mean over.
    """

    value: float
    interval: Interval
    unit_P: np.ndarray
    scalars: dict[str, Any]
    layers: tuple[int, ...]


def midway(part: Recovered, means_RLG: np.ndarray, component: str) -> Midway | None:
    """Summarise over layers what comes back at the middle position.

    The stream is one thing at several depths, so that its value is the mean over layers. The other
    components are parts of single layers that add up, roughly, to all that is handed on past the
    middle; so one layer is named, and by no maximum, which noise moves upwards: the first one up to
    which half of all that comes back has come back. Layers whose cell is known by construction are
    left out of both.

    Args:
        part: Recovery of the component.
        means_RLG: Its means in every resample.
        component: The component.

    Returns:
        None where every layer is left out, or has no such component.
    """
    mean_L, mean_RL = part.means()[0, :, MIDDLE], means_RLG[..., MIDDLE]
    layers = np.flatnonzero(~part.trivial_LG[:, MIDDLE] & ~np.isnan(mean_L))
    if not len(layers):
        return None
    unit_LP = part.role_LGP[layers, MIDDLE]
    unit_LP = np.where(np.isnan(unit_LP).any(0), np.nan, unit_LP)
    if component in STREAM:
        interval = stats.percentile_interval(mean_RL[:, layers].mean(1), unit="pair")
        over = tuple(layers.tolist())
        return Midway(float(mean_L[layers].mean()), interval, unit_LP.mean(0), {}, over)
    chosen, chosen_R = _halfway(mean_L[None, layers])[0], _halfway(mean_RL[:, layers])
    drawn_R = mean_RL[np.arange(len(mean_RL)), layers[chosen_R]]
    carried = np.maximum(mean_L[layers], 0.0).sum() >= MIN_CARRIED
    return Midway(
        float(mean_L[layers[chosen]]),
        stats.percentile_interval(drawn_R, unit="pair"),
        unit_LP[chosen],
        {
            "layer": layers[chosen] if carried else None,
            "layer_agreement": (chosen_R == chosen).mean() if carried else None,
            "all_layers": mean_L[layers].sum(),
        },
        (int(layers[chosen]),),
    )


def handover(part: Recovered, means_RLG: np.ndarray) -> dict[str, float]:
    """Say before which layer a difference has left the changed token, and is at the readout.

    Each is the first layer that reads less, or more, than half of the gap there; L where none does,
    because it happens in the last one. ``*_low`` and ``*_high`` are the ends of an interval over
    resampled pairs, ``*_agreement`` is the share of resamples in which it is the same layer.
    """
    found: dict[str, float] = {}
    plain_1LG = part.means()
    for name, role, lost in (
        ("left_changed_at", CHANGED, True),
        ("reached_readout_at", READOUT, False),
    ):
        (layer,), layer_R = (_first(means[..., role], lost) for means in (plain_1LG, means_RLG))
        low, high = np.quantile(
            layer_R, [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2], method="inverted_cdf"
        )
        found |= {
            name: int(layer),
            f"{name}_low": int(low),
            f"{name}_high": int(high),
            f"{name}_agreement": float((layer_R == layer).mean()),
        }
    return found


def _halfway(mean_RL: np.ndarray) -> np.ndarray:
    """Return the first layer up to which half of the positive shares is reached, ``(R,)``."""
    reached_RL = np.maximum(mean_RL, 0.0).cumsum(1)
    return (reached_RL >= (HALF - _ROUNDING) * reached_RL[:, -1:]).argmax(1)


def _first(mean_RL: np.ndarray, lost: bool) -> np.ndarray:
    """Return the first layer with less, or with at least, half of the gap; L where none has."""
    is_RL = mean_RL < HALF if lost else mean_RL >= HALF
    return np.where(is_RL.any(1), is_RL.argmax(1), mean_RL.shape[1])
