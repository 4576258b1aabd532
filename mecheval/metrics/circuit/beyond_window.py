"""What lagged taps are worth beyond what a window of the last symbols tells.

Where a task asks for a state, a table over the last symbols may often be right, as it is for the
depth of brackets, and a convolution sees the last symbols: that its taps are worth as much says no
more than that (formal_languages 5.4). With the accuracy A, chance c and that table's accuracy F,

    CS(l) = (A - A without the lagged taps of layer l) / (A - c),    W = (F - c) / (A - c)

and what is beyond the window is CS(l) - W. It is negative where the taps are worth less than the
window could be: the model then has what the window tells from somewhere else. All accuracies are
those from the first position on at which floors are scored.

Shape suffixes: ``B`` sequences, ``L`` layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.circuit.tap_scores import Shares
from mecheval.metrics.circuit.tap_shares import SIGNIFICANT, lagged_profile, largest
from mecheval.metrics.results import Estimate
from mecheval.tasks.floors import WINDOWS

if TYPE_CHECKING:
    from mecheval.metrics.circuit.tap_scores import Ablated
    from mecheval.metrics.contract import Metric
    from mecheval.metrics.results import Layout
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult

BEYOND = "beyond_window"
"""The part of the result's id."""


def beyond_window(
    metric: Metric, layout: Layout, subject: Subject, measured: Ablated
) -> MetricResult:
    """Return the conv share above chance, less that of the window.

    Args:
        metric: The metric that it is a result of.
        layout: The result.
        subject: A model on a task that asks for a state.
        measured: Answers with and without taps, from the first position at which floors hold.
    """
    n_scored, n_layers = len(measured.whole.right_B), subject.model.n_layers
    chance, whole = subject.task.chance, measured.whole.accuracy
    width = _width(1 + max(lag for _, lag in measured.taps_LC))
    window = subject.floors.answer.accuracy[f"last{width}"]
    weight_RB = resampling.weights(n_scored, subject.stream("bootstrap", "convolution"))
    references = {"clean": whole, "window": window, "chance": chance}
    config = {"window": width, "first_position": subject.floors.first}
    if not whole - chance > SIGNIFICANT * measured.whole.resampled(weight_RB).std():
        reason = f"no gap: the accuracy {whole:.3f} is not above chance {chance:.3f}"
        missing = Estimate(None, reason=reason)
        return metric.result(layout, missing, n_scored, references=references, config=config)
    shares = Shares(measured, chance, explained=window - chance)
    beyond_L = shares.lagged(np.ones((1, n_scored)), n_layers)[0]
    estimate, fields = largest(shares, beyond_L, weight_RB)
    told = (window - chance) / (whole - chance)
    share_L = beyond_L + told
    fields["scalars"] |= {
        "share": np.nanmax(share_L),
        "window_share": told,
        **layer_curves.over_blocks(share_L),
    }
    profile = lagged_profile(shares, weight_RB, n_layers)
    profile = profile.model_copy(update={"series": {**profile.series, "share": share_L.tolist()}})
    return metric.result(
        layout, estimate, n_scored, references=references, config=config, profile=profile, **fields
    )


def _width(n_taps: int) -> int:
    """Return the narrowest window that is as wide as the taps; the widest that there is if none."""
    return min((width for width in WINDOWS if width >= n_taps), default=max(WINDOWS))
