"""What carries a key to the query in a model without attention: states, writes, and taps.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``C`` lags, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics.circuit.memory_paths import memory_paths
from mecheval.metrics.circuit.named_circuit import CARRIED, UNNAMED
from mecheval.metrics.results import Estimate

if TYPE_CHECKING:
    from mecheval.metrics.circuit.gap import Gap
    from mecheval.metrics.subject import Subject
    from mecheval.models.apart import Apart
    from mecheval.tasks import Pairs

SEVERAL = "several states"


def state_circuit(
    subject: Subject,
    apart: Apart,
    gap: Gap,
    pairs: Pairs,
    rng: np.random.Generator,
    *,
    max_offset: int,
) -> dict[str, Any]:
    """Return the fields of a result on a model without attention behind another layer.

    Args:
        subject: The model on its task.
        apart: The model in parts.
        gap: Readouts of all pairs.
        pairs: All pairs.
        rng: Draws resamples.
        max_offset: The largest offset behind the key.
    """
    found = memory_paths(subject, apart, pairs, max_offset=max_offset)
    weight_RP = gap.weights(rng)
    effect_L, effect_RL = gap.lost(found.state_LP), gap.lost(found.state_LP, weight_RP)
    axes = {"layer": range(len(effect_L)), "offset": range(max_offset + 1)}
    profiles = {"write": gap.profile(axes, found.write_LOP, weight_RP)}
    if found.tap_LOCP is not None:
        lags = range(found.tap_LOCP.shape[2])
        profiles["tap"] = gap.profile({**axes, "lag": lags}, found.tap_LOCP, weight_RP)
    layer, interval = (
        int(effect_L.argmax()),
        stats.percentile_interval(effect_RL.max(1), unit="pair"),
    )
    kind_R = _kinds(effect_RL)
    kind = _kinds(effect_L[None])[0]
    verdict = kind or _brought(gap, found.tap_LOCP) + f"L{layer} state"
    same_R = (kind_R == kind) & ((effect_RL.argmax(1) == layer) | (kind != ""))
    note = "the states of later layers were not held: a mixer does not say what a position writes"
    return {
        "estimate": Estimate(float(effect_L[layer]), interval),
        "verdict": verdict,
        "scalars": {
            "layer": layer,
            "agreement": same_R.mean(),
            "all_layers": effect_L.sum(),
        },
        "profile": gap.profile({"layer": axes["layer"]}, found.state_LP, weight_RP),
        "profiles": profiles,
        "warnings": [] if found.frozen else [note],
    }


def _kinds(effect_RL: np.ndarray) -> np.ndarray:
    """Say where no state carries half of the gap: several do together, or none; else nothing."""
    together_R = np.maximum(effect_RL, 0.0).sum(1) >= CARRIED
    return np.where(effect_RL.max(1) >= CARRIED, "", np.where(together_R, SEVERAL, UNNAMED))


def _brought(gap: Gap, tap_LOCP: np.ndarray | None) -> str:
    """Name the lag of a convolution that hands the key on, if one carries half of the gap."""
    if tap_LOCP is None:
        return ""
    handed_LOC = np.nan_to_num(gap.lost(tap_LOCP))
    handed_LOC[..., 0] = 0.0  # the present hands nothing on
    if handed_LOC.max() < CARRIED:
        return ""
    layer, _, lag = np.unravel_index(handed_LOC.argmax(), handed_LOC.shape)
    return f"L{layer} conv lag {lag} -> "
