"""Horizon: up to which length states will be told apart, by how their spread grows until there.

The idea is that of Chung, Choi and Kim 2026 (arXiv:2605.07755, abstract): recurrences that are
affine in their state correct no errors, so that within-class spread accumulates, and tracking ends
where it is no longer small against the distance of the classes. Formulas are not the paper's: what
is defined here is ours. With the distance of the means of the two nearest states at
position t, on the line that tells them apart best, and the spread within them around these means,

    rho_t = spread_t / distance_t,        rho_t = rho_n (t / n)^growth for t from n / 2 to n,
    horizon = (rho* / rho_n)^(1 / growth),

for words of the training length n; rho* is the ratio at which states are right in 0.9.

Shape suffixes: ``L`` layers 1 to n, ``T`` positions, ``R`` resamples, ``U`` held-out sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from mecheval import stats
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Enough
from mecheval.metrics.horizon.followed import Followed
from mecheval.metrics.horizon.places import Words, places_by_layer
from mecheval.metrics.horizon.spread import threshold
from mecheval.metrics.horizon.trend import Trend, ends_of
from mecheval.metrics.longer_words import borne_out, last_at
from mecheval.metrics.needs import Variable
from mecheval.metrics.parameters import Count
from mecheval.metrics.probe.probe_data import MIN_PER_CLASS
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.stats import Interval

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile

FACTORS = (2, 4, 8)
"""Multiples of the training length at which a horizon is held against accuracy."""

FACTOR = 4
"""The one of the verdict."""

KEPT, LOST = f"kept at {FACTOR}x predicted", f"lost at {FACTOR}x predicted"

FARTHEST = max(FACTORS)
"""Multiple of the training length up to which a trend is followed."""

_N_BEYOND = 256  # words of a length that is no test of the task: they are drawn for this alone


@metric(
    name="horizon",
    version=1,
    reference="Chung, Choi and Kim 2026, arXiv:2605.07755",
    family="probe",
    caption="how many times the training length a word may have until the states of a variable are "
    "no longer told apart behind the last layer, if their spread goes on growing as it does within "
    f"the training length. None within {FARTHEST} times is undefined here; the verdict stands "
    "beside it.",
    needs=(Variable(), Enough(2 * MIN_PER_CLASS, "n_fit", "training sequences")),
    part="variable",
    headline=(
        Column("{part}: horizon in training lengths"),
        Column(
            "{part}: lengths by horizon", at="verdict", otherwise="it does not decide the answer"
        ),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Horizon(Metric):
    """Predicted multiple of the training length at which states are no longer told apart.

    Of words of the training length n alone. At every layer the two values of the variable are found
    that are hardest to tell apart in the second half of ``n_fit`` training sequences, with the line
    that does so best at all these positions (Fisher's discriminant, shrunk); at every position
    ``n_test`` test sequences say how wide the two are on it, around their means there, against how
    far these are apart: the *spread over distance* rho_t, 0 where every state is a point. Because
    neither pair nor line was chosen on them, it is not too small. The profile has it by position
    behind the last layer, with its interval; ``layers`` has it for the stream behind every block.

    From n / 2 to n a power of the position is fitted, rho_t = rho_n (t / n)^growth. ``growth`` is
    near 1/2 where independent errors add up, as in a recurrence that is affine in its state, 1
    where they go the same way, more where errors make errors, and 0 where they are mended.
    ``spread`` is rho_n; below .005 it counts as that. The value is where the power reaches
    ``threshold``, in multiples of n: the rho of states that are right in a share ``right`` of the
    words, and else any other one (.375 for two values, .281 for three, .217 for six; two normal
    distributions of .375 are in 0.909 on their side of the middle). The interval resamples test
    sequences.

    Where no horizon lies within 8 training lengths the value is null, never 8: the reason says so,
    and the verdict is *kept at 4x predicted* all the same, as for every horizon of 4 or more; for a
    shorter one it is *lost at 4x predicted*. ``horizon_low`` and ``horizon_high`` are the ends of
    the interval, each null if it lies beyond 8. The verdict is given where the variable decides the
    answer; ``last_accuracy_2x``, ``_4x`` and ``_8x`` (drawn also where the task tests up to 4x)
    are accuracies at the last position, ``agrees_2x``, ``_4x`` and ``_8x`` hold the horizon against
    them: 1 where it lies at or beyond that length and accuracy is 0.9 or more, or neither.

    The rule was chosen while looking at about ten trained networks and the planted ones. How often
    ``agrees_*`` is 1 on these is no test of it; other tasks, architectures and seeds are one, and
    their share is the one to quote.

    What it cannot tell: it follows a trend, so that what fails beyond the training length without
    a drift before it (positions that were never trained, an attention that is spread thinner, a
    count that leaves its range) is not foreseen, and a growth that changes is missed. It reads with
    the best line, from the means of each position; the model's own readout may fail before
    (``planted/lstm-parity[sharpness=4.5]`` answers worse than it is told apart). It looks behind
    the last layer: a state that drifts further below, and is still mapped to the right side above,
    does not show there, only in ``layers``. Where words are short, few of them are different, and
    the line may tell what makes them drift from the rest: the spread is too small at the beginning,
    and the growth a little too large. A value that several states share has a spread that is no
    noise, and seems nearer to being lost than it is (``top`` in ``planted/lstm-counter``). A
    state that no line tells apart has no value.

    Attributes:
        variables: Which variables; none for all of the task.
        n_fit: Training sequences that pairs and lines are found on.
        n_test: Test sequences that they are measured on.
        right: Share of words with the right state below which it counts as lost.
    """

    variables: tuple[str, ...] = ()
    n_fit: Count = 2000
    n_test: Count = 1000
    right: Annotated[float, Field(gt=0.5, lt=1)] = 0.9

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable."""
        n_test = subject.cut(self.n_test)
        return [
            Layout(
                name, f"predicted horizon of {name}, in training lengths", n_test, (0.0, FARTHEST)
            )
            for name in self.variables or subject.task.variables
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Measure the spread at every layer and position, and follow it."""
        layouts = self.outline(subject)
        words = Words(
            subject,
            subject.examples("train", self.n_fit, purpose="horizon"),
            subject.examples("test", self.n_test, purpose="horizon"),
        )
        names = [layout.part for layout in layouts]
        sizes = {"n_fit": self.n_fit, "n_test": self.n_test}
        why_not = {name: words.objection(name, **sizes) for name in names}
        values = {name: words.values(name) for name in names if why_not[name] is None}
        by_layer = list(places_by_layer(words, values)) if values else []
        return [
            _result(
                self,
                layout,
                Followed(words, name, values[name], [places[name] for places in by_layer]),
            )
            if name in values
            else self.result(layout, Estimate(None, reason=why_not[name]), 0)
            for name, layout in zip(names, layouts, strict=True)
        ]


def _result(metric: Horizon, layout: Layout, followed: Followed) -> MetricResult:
    n_values = len(followed.values)
    level = threshold(metric.right, n_values)
    trend, trend_R = followed.trend(followed.ratio_LT[-1:]), followed.trend(followed.ratio_RT)
    horizon, ends = float(trend.horizon(level)[0]), ends_of(trend_R.horizon(level))
    estimate = _estimate(trend, level, horizon, ends)
    known = _told_apart(trend, level) and (estimate.value is not None or horizon > FARTHEST)
    held, verdict, notes = _held(followed, horizon) if known else ({}, None, [])
    spread_ends, growth_ends = ends_of(trend_R.level_R), ends_of(trend_R.growth_R)
    return metric.result(
        layout,
        estimate,
        len(followed.words.held),
        verdict=verdict,
        scalars={
            "spread": trend.level_R[0], "spread_low": spread_ends[0], "spread_high": spread_ends[1],
            "growth": trend.growth_R[0], "growth_low": growth_ends[0],
            "growth_high": growth_ends[1],
            "threshold": level, "n_values": n_values,
            **_counted(ends if known else (np.nan, np.nan)), **held,
        },
        config={
            "first_of_trend": followed.words.half,
            "nearest": list(followed.places_L[-1].pair),
        },
        warnings=[*_warnings(followed, estimate, ends, known=known), *notes],
        profile=_by_position(followed, trend),
        profiles={"layers": _by_layer(followed)},
    )  # fmt: skip


def _estimate(trend: Trend, level: float, horizon: float, ends: tuple[Any, Any]) -> Estimate:
    if not _told_apart(trend, level):
        return Estimate(
            None,
            reason="the states are not told apart behind the last layer: in the middle of a word "
            f"their spread is {float(trend.at(0.5)[0]):.3g} of their distance, and {level:.3g} is "
            "where they count as lost",
        )
    if horizon > FARTHEST:
        return Estimate(
            None,
            reason=f"no horizon within {FARTHEST} training lengths: by its trend the spread is "
            f"{float(trend.at(FARTHEST)[0]):.3g} of the distance there, below {level:.3g}",
        )
    interval = Interval(*ends, "bootstrap", "sequence", n_resamples=stats.N_RESAMPLES)
    return Estimate(horizon, interval if ends[1] <= FARTHEST else None)


def _told_apart(trend: Trend, level: float) -> bool:
    """Say whether states are told apart from the middle of words on; a spread may fall later."""
    return bool(trend.at(0.5)[0] < level)


def _counted(ends: tuple[Any, Any]) -> dict[str, float]:
    """Return the ends of the horizon, without those that are too far to be numbers."""
    low, high = (end if end <= FARTHEST else np.nan for end in ends)
    return {"horizon_low": low, "horizon_high": high}


def _held(
    followed: Followed, horizon: float
) -> tuple[dict[str, float | None], str | None, list[str]]:
    """Hold a horizon against accuracy at longer words; return numbers, verdict and notes."""
    subject = followed.words.subject
    name = followed.variable
    if not followed.words.decides(name):
        why = f"no verdict, and held against nothing: {name} does not decide the answer"
        return {}, None, [why]
    numbers: dict[str, float | None] = {}
    notes = []
    for factor in FACTORS:
        accuracy, why = last_at(subject, factor, n_beyond=_N_BEYOND)
        numbers[f"last_accuracy_{factor}x"] = accuracy
        numbers[f"agrees_{factor}x"] = borne_out(horizon >= factor, accuracy)
        notes += [f"held against nothing at {factor}x: {why}"] if why else []
    return numbers, KEPT if horizon >= FACTOR else LOST, notes


def _warnings(
    followed: Followed, estimate: Estimate, ends: tuple[Any, Any], *, known: bool
) -> list[str]:
    notes = []
    n_all = followed.words.subject.task.variables[followed.variable]
    left_out = sorted(set(range(n_all)) - set(followed.values))
    if left_out:
        notes.append(f"values {left_out} are too rare to be told apart and are left out")
    if estimate.value is not None and ends[1] > FARTHEST:
        notes.append(f"the upper end of the interval lies beyond {FARTHEST} training lengths")
    if known and estimate.value is None and ends[0] <= FARTHEST:
        notes.append(
            f"the lower end of the interval of the horizon, {ends[0]:.2f} training lengths, lies "
            f"within {FARTHEST}"
        )
    return notes


def _by_position(followed: Followed, trend: Trend) -> Profile:
    position_T = followed.position_T
    return profile(
        {"position": position_T.tolist()},
        followed.ratio_LT[-1],
        ends_of(followed.ratio_RT),
        marks={"trend": followed.trend_T},
        series={"trend": trend.at(position_T / followed.words.subject.length)},
    )


def _by_layer(followed: Followed) -> Profile:
    layers = range(1, len(followed.places_L) + 1)
    return profile(
        {"layer": list(layers), "position": followed.position_T.tolist()}, followed.ratio_LT
    )
