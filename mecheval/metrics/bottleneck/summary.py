"""What the layers of one variable say together: the cost at its bottleneck, and where that is.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.cost import HeldOut
from mecheval.metrics.bottleneck.curves import MLP, PLATEAU
from mecheval.metrics.bottleneck.information import Cells, informed
from mecheval.metrics.results import Estimate

if TYPE_CHECKING:
    from mecheval.metrics.bottleneck.curves import Curves
    from mecheval.metrics.bottleneck.erased_runs import ErasedRuns

LEAST = 0.05
"""Share of what there is to know that answers must tell for there to be any to lose."""

FEW = 5
"""Cells per pair of a target and an answer below which the correction for bias is not enough."""


def summary(runs: ErasedRuns, curves: Curves) -> tuple[Estimate, dict[str, Any]]:
    """Return the value, or why there is none, and the fields of a result beside it."""
    clean = runs.clean
    cells = Cells.of(runs.target_BT, clean.given)
    told = float(informed(cells, np.ones((1, len(runs.batch))))[0])
    fields: dict[str, Any] = {"scalars": {"layer": None}, "warnings": _on_cells(cells)}
    if not told >= LEAST:
        reason = f"the answers tell next to nothing of the right ones ({told:.3f} of all)"
        estimate = Estimate(None, reason=reason)
    elif not curves.layers.askable_L.any():
        reason = "the variable is readable at no layer before the last block's output"
        estimate = Estimate(None, reason=reason)
    elif not curves.layers.asked_L.any():
        reason = "the eraser leaves nothing of the stream wherever the variable is readable"
        estimate = Estimate(None, reason=reason)
    else:
        estimate = _at_bottleneck(curves, clean.token.mean(), fields)
    fields["scalars"] |= {
        "clean_accuracy": clean.token.mean(),
        "clean_last_accuracy": clean.last.mean(),
        "clean_information": told,
        "chance": runs.subject.task.chance,
        "best_probe_layer": curves.readings.accuracy_L.argmax(),
    }
    return estimate, fields


def _on_cells(cells: Cells) -> list[str]:
    """Say where cells are too few for an information that is much to rely on."""
    n_cells, n_values = int(cells.count_BP.sum()), len(np.unique(cells.target_P))
    if n_cells >= FEW * n_values**2:
        return []
    return [
        f"{n_cells} cells for {n_values} x {n_values} pairs of a target and an answer: what "
        "answers tell under erasure is overestimated, and its cost underestimated"
    ]


def _at_bottleneck(curves: Curves, clean_accuracy: float, fields: dict[str, Any]) -> Estimate:
    """Return the cost where it is largest, chosen on other sequences.

    Args:
        curves: All layers, at some of which the cost is one of the variable.
        clean_accuracy: Token accuracy without erasure.
        fields: Gets the numbers and notes beside the value.
    """
    costs, layers = curves.costs, curves.layers
    found_L = layers.counts_L if layers.counts_L.any() else layers.asked_L
    held_out = HeldOut.among(costs, np.flatnonzero(found_L))
    n_sequences = costs.weight_RB.shape[1]
    value = float(held_out.value(np.ones((1, n_sequences)))[0])
    interval = stats.percentile_interval(held_out.resampled(), unit="sequence")
    chosen = held_out.layers
    low_L, high_L = costs.null_ends
    fields["references"] = {
        "null": 0.0,
        "null_low": (low_L - costs.null_L)[chosen].mean(),
        "null_high": (high_L - costs.null_L)[chosen].mean(),
    }
    fields["units"] = resampling.jackknifed(held_out.value, n_sequences)
    under = curves.accuracy_L[chosen].mean()
    fields["scalars"] |= {
        "accuracy_lost": clean_accuracy - under,
        "null_accuracy_lost": clean_accuracy - curves.null_accuracy_L[chosen].mean(),
        "asked_layers": layers.asked_L.sum(),
        "counting_layers": layers.counts_L.sum(),
    }
    if not layers.counts_L.any():
        fields["warnings"].append(
            "no layer is a bottleneck: erasing costs hardly more than erasing by the labels of "
            "other sequences does. The model may still use the variable, in another form"
        )
        return Estimate(value, interval)
    fields["scalars"] |= _of_layer(curves)
    fields["warnings"] += _notes(curves, chosen)
    return Estimate(value, interval)


def _of_layer(curves: Curves) -> dict[str, Any]:
    """Return the bottleneck layer with its interval, and the numbers about it."""
    counting_layers = np.flatnonzero(curves.layers.counts_L)
    layer = int(counting_layers[curves.cost_L[counting_layers].argmax()])
    best_probe, last = int(curves.readings.accuracy_L.argmax()), len(curves.outcomes)
    at_least = PLATEAU * curves.cost_L[layer]
    plateau = np.flatnonzero(layer_curves.plateau(curves.counting_cost_L, at_least))
    refit = curves.outcomes[layer - 1].refit
    found = {
        "layer": layer,
        "depth": layer / last,
        "gap_to_best_probe": (layer - best_probe) / last,
        "plateau_first": plateau[0],
        "plateau_last": plateau[-1],
        "plateau_width": len(plateau) / last,
        "refit_recovery": curves.recovery_L[layer],
        "refit_log_loss": refit.log_loss if refit else None,
        **{name: curves.further[name][layer] for name in MLP if name in curves.further},
        "correlation_with_probe": _correlation(curves),
        **layer_curves.concentration(curves.counting_cost_L[1:-1]),
    }
    if len(counting_layers) > 1:
        ends = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
        layer_R = counting_layers[curves.costs.resampled_RL[:, counting_layers].argmax(1)]
        low, high = np.quantile(layer_R, ends, method="inverted_cdf")
        found |= {"layer_low": low, "layer_high": high}
    return found


def _notes(curves: Curves, chosen: np.ndarray) -> list[str]:
    """Say what the layer is worth: the only one that counts, or hardly better than another."""
    counting_layers, notes = np.flatnonzero(curves.layers.counts_L), []
    if len(counting_layers) == 1:
        notes.append(
            f"layer {counting_layers[0]} is the only layer that counts, so that it has no "
            "interval: what the metric found is its cost"
        )
    elif len(chosen) > 1:
        tied = " and ".join(map(str, chosen))
        notes.append(
            f"layers {tied} cannot be told apart: the halves of the sequences differ in which of "
            "them costs most"
        )
    read = [layer for layer in counting_layers if not curves.removed_L[layer]]
    if read:
        notes.append(
            f"a refitted linear probe still reads the variable at layer {read[0]} (by "
            f"{curves.recovery_L[read[0]]:.2f} of what there was): what was erased is not all that "
            "holds it"
        )
    return notes


def _correlation(curves: Curves) -> float | None:
    asked_L = curves.layers.asked_L
    probe_V, cost_V = curves.readings.accuracy_L[asked_L], curves.cost_L[asked_L]
    if len(probe_V) < 3 or probe_V.std() == 0 or cost_V.std() == 0:
        return None
    return float(np.corrcoef(probe_V, cost_V)[0, 1])
