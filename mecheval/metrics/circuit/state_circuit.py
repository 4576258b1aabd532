"""What carries a key to the query in a model without attention: states, writes, and taps.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``C`` lags, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics.circuit.memory_paths import memory_paths
from mecheval.metrics.circuit.named_circuit import CARRIED, KEPT, UNNAMED
from mecheval.metrics.results import Estimate

if TYPE_CHECKING:
    from mecheval.metrics.circuit.gap import Gap
    from mecheval.metrics.subject import Subject
    from mecheval.models.decomposition import Decomposition
    from mecheval.tasks import Pairs


def state_circuit(
    subject: Subject,
    decomposition: Decomposition,
    gap: Gap,
    pairs: Pairs,
    rng: np.random.Generator,
    *,
    max_offset: int,
) -> dict[str, Any]:
    """Return the fields of a result on a model without attention behind another layer.

    Args:
        subject: The model on its task.
        decomposition: The model in parts.
        gap: Readouts of all pairs.
        pairs: All pairs.
        rng: Draws resamples.
        max_offset: The largest offset behind the key.
    """
    found = memory_paths(subject, decomposition, pairs, max_offset=max_offset)
    weight_RP = gap.weights(rng)
    effect_L, effect_RL = gap.lost(found.state_LP), gap.lost(found.state_LP, weight_RP)
    axes = {"layer": range(len(effect_L)), "offset": range(max_offset + 1)}
    profiles = {"write": gap.profile(axes, found.write_LOP, weight_RP)}
    if found.tap_LOCP is not None:
        lags = range(found.tap_LOCP.shape[2])
        profiles["tap"] = gap.profile({**axes, "lag": lags}, found.tap_LOCP, weight_RP)
    named_L, named_RL = _few(effect_L[None])[0], _few(effect_RL)
    counted_L = named_L if named_L.any() else np.ones(len(named_L), bool)
    value, value_R = (np.nansum(e[..., counted_L], -1) for e in (effect_L, effect_RL))
    note = "the states of later layers were not held: a mixer does not say what a position writes"
    return {
        "estimate": Estimate(float(value), stats.percentile_interval(value_R, unit="pair")),
        "verdict": _verdict(named_L, _handed_on(gap, found.tap_LOCP)),
        "scalars": {
            "layer": int(np.nan_to_num(effect_L).argmax()) if named_L.any() else None,
            "agreement": (named_RL == named_L).all(1).mean(),
            "all_layers": np.nansum(effect_L),
        },
        "profile": gap.profile({"layer": axes["layer"]}, found.state_LP, weight_RP),
        "profiles": profiles,
        "warnings": [] if found.frozen else [note],
    }


def _few(effect_RL: np.ndarray) -> np.ndarray:
    """Say which are the fewest layers that carry nine tenths of what all carry, added up.

    None of them where all carry less than half of the gap.
    """
    positive_RL = np.maximum(np.nan_to_num(effect_RL), 0.0)
    order_RL = np.argsort(-positive_RL, axis=1, kind="stable")
    sorted_RL = np.take_along_axis(positive_RL, order_RL, 1)
    total_R1 = positive_RL.sum(1, keepdims=True)
    # What is there before a layer is counted says whether the layer is wanted.
    before_RL = sorted_RL.cumsum(1) - sorted_RL
    wanted_RL = (before_RL < KEPT * total_R1) & (total_R1 >= CARRIED)
    named_RL = np.zeros(effect_RL.shape, bool)
    np.put_along_axis(named_RL, order_RL, wanted_RL, 1)
    return named_RL


def _verdict(named_L: np.ndarray, handed_on: str) -> str:
    if not named_L.any():
        return UNNAMED
    return handed_on + " + ".join(f"L{layer}" for layer in np.flatnonzero(named_L)) + " state"


def _handed_on(gap: Gap, tap_LOCP: np.ndarray | None) -> str:
    """Name the lags of convolutions that hand the key on, if they carry half of the gap."""
    if tap_LOCP is None:
        return ""
    handed_LOC = np.nan_to_num(gap.lost(tap_LOCP))
    handed_LOC[..., 0] = 0.0  # the present hands nothing on
    largest_L, lag_L = handed_LOC.max((1, 2)), handed_LOC.max(1).argmax(1)
    named = np.flatnonzero(_few(largest_L[None])[0])
    names = " + ".join(f"L{layer} conv lag {lag_L[layer]}" for layer in named)
    return f"{names} -> " if names else ""
