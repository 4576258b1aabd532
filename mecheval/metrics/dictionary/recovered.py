"""Which share of the loss comes back, between a site's mean in its place and the site as it is.

Shape suffixes: ``U`` sequences, ``K`` depths, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import seeding, stats
from mecheval.metrics import resampling
from mecheval.metrics.dictionary.replacement import CLEAN, MEAN, SYMBOL, ZERO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.dictionary.replacement import Losses

SIGNIFICANT = 3.0
"""Standard errors by which the loss of the mean must lie above that of the site as it is."""


class Recovered(NamedTuple):
    """Shares of the loss that are recovered.

    Attributes:
        scalars: Means over depths by name, with the interval of the first; None without a gap.
        at_depths: The shares at every depth, NaN without a gap.
        reason: Why there is none, None where there is one.
    """

    scalars: dict[str, float | None]
    at_depths: list[float]
    reason: str | None


def recovered(costs: Sequence[Losses], name: str) -> Recovered:
    """Return which share of the loss comes back, averaged over depths.

    Args:
        costs: The losses at every depth.
        name: What was put into the site's place.
    """
    at_depths = [_share(of, name, MEAN) if _no_gap(of, MEAN) is None else np.nan for of in costs]
    reason = next((why for of in costs if (why := _no_gap(of, MEAN))), None)
    no_zero = any(_no_gap(of, ZERO) for of in costs)
    names = ("loss_recovered", "loss_recovered_low", "loss_recovered_high",
             "loss_recovered_by_symbols", "loss_recovered_from_zero")  # fmt: skip
    scalars: dict[str, float | None] = dict.fromkeys(names)
    if reason is None:
        interval = _interval(costs, name)
        scalars |= {
            "loss_recovered": float(np.mean(at_depths)),
            "loss_recovered_low": interval.low,
            "loss_recovered_high": interval.high,
            "loss_recovered_by_symbols": float(np.mean([_share(of, SYMBOL, MEAN) for of in costs])),
        }
    if not no_zero:
        scalars["loss_recovered_from_zero"] = float(
            np.mean([_share(of, name, ZERO) for of in costs])
        )
    stayed = sum(of.n_kept for of in costs) / max(1, sum(of.n_rows for of in costs))
    return Recovered({**scalars, "stayed": stayed}, at_depths, reason)


def _share(of: Losses, name: str, low: str) -> float:
    return (of.mean(low) - of.mean(name)) / (of.mean(low) - of.mean(CLEAN))


def _no_gap(of: Losses, low: str) -> str | None:
    """Say why there is nothing to recover, None where there is something."""
    asked_U = of.answers_U > 0
    if asked_U.sum() < 2:
        return f"no gap: answers are asked for in {asked_U.sum()} sequences, and 2 are needed"
    gap_U = ((of.nats[low] - of.nats[CLEAN]) / np.maximum(of.answers_U, 1.0))[asked_U]
    error = float(gap_U.std(ddof=1)) / len(gap_U) ** 0.5
    if gap_U.mean() > max(SIGNIFICANT * error, 1e-9):
        return None
    return (
        f"no gap: an answer costs {of.mean(CLEAN):.3g} nats, and {of.mean(low):.3g} with the "
        f"{low} in the site's place"
    )


def _interval(costs: Sequence[Losses], name: str) -> stats.Interval:
    """Resample sequences, the same ones at all depths."""
    n_sequences = len(costs[0].answers_U)
    weight_RU = resampling.weights(n_sequences, seeding.stream(0, "loss recovered", n_sequences))
    share_RK = [
        resampling.ratio(
            weight_RU,
            (of.nats[MEAN] - of.nats[name])[:, None],
            (of.nats[MEAN] - of.nats[CLEAN])[:, None],
        )[:, 0]
        for of in costs
    ]
    return stats.percentile_interval(np.mean(share_RK, axis=0), unit="sequence")
