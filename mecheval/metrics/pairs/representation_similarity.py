"""Representation similarity: whether two networks hold the same in their residual streams.

Six scores of likeness of the activations at the same positions of the same words, at equal shares
of the depth (:mod:`mecheval.likeness.representations`). Most of what two networks share is the
current token, which an untrained network holds as well: so the value is of what is left without
the means of the symbols, and beside it stands the same score of each network against the other
one with freshly drawn weights. That null is the one that bites (Wang et al. 2025, arXiv:2410.06672,
has only permuted features).

Shape suffixes: ``K`` depths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.likeness.representations import NAMES, WITHOUT_MEANS, compare_representations
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.pairs.contract import PairMetric
from mecheval.metrics.pairs.depths import depths_of
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.likeness.representations import Score
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.pairs.shared import Shared
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult
    from mecheval.stats import Interval

_LOWEST = {"debiased_cka": -1.0, "rsa": -1.0}
"""Scores that can be below 0."""


@metric(
    name="representation_similarity",
    version=1,
    reference="Wang et al. 2025, arXiv:2410.06672 (the null)",
    family="representation",
    scope="pair",
    caption="how alike the residual streams of two networks are at the same positions of the same "
    "words, beyond what the current symbol alone makes alike: 1 for streams that are the same up "
    "to a rotation, near 0 for unrelated ones. Above untrained: how much more that is than where "
    "one of the two has freshly drawn weights.",
    headline=(
        Column("{part}: alike beyond the symbol"),
        Column(
            "{part}: above untrained", at="above_untrained", bounds=(-2.0, 2.0),
            otherwise="it is undefined where one network is untrained",
        ),
    ),
    part="score",
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class RepresentationSimilarity(PairMetric):
    """Likeness of the residual streams of two networks, beyond the current symbol.

    One result each for CKA (linear), debiased CKA, Procrustes (angle), SVCCA (99 % of the
    variance), RSA (Spearman, correlation distance) and mutual nearest neighbours (10), as
    :func:`mecheval.compare_representations` defines them. The value is the mean over depths of the
    score of the streams without the mean of their symbol; ``raw`` is that of the streams as they
    are, ``calibrated`` the value set to 0 at permuted sequences (arXiv:2602.14486). Layers meet at
    equal shares of the depth; no best layer is chosen.

    Networks that read one text in tokens of their own meet where tokens of both end at the same
    byte, and what is taken off is the mean of the two tokens together.

    ``references`` hold the score of permuted sequences, and the larger one of those of either
    network against the other with freshly drawn weights (``untrained``); ``above_untrained`` is the
    value less that. Which share of what two networks of one model have in common another model
    has, only other seeds of the same model say: they are pairs as well.

    The interval is over test sequences: the mean of those of the single depths, which is no
    narrower than one of the mean can be. It holds the networks fixed.

    Null where one of the two did not learn the task, or where a score is undefined at some depth.

    Attributes:
        n: Test sequences, the same ones for all pairs of a task.
        per_sequence: Positions in each, drawn among all but the first.
        depths: Most depths at which layers are compared; no more than the shallower model has
            layers.
    """

    n: Count = 256
    per_sequence: Count = 8
    depths: Count = 2

    def outline(self, subject: PairSubject) -> list[Layout]:  # type: ignore[override]
        """Return one result per score; its units are positions."""
        n_places = subject.cut(self.n) * self.per_sequence
        return [
            Layout(
                name, f"{name}: alike beyond the symbol", n_places, (_LOWEST.get(name, 0.0), 1.0)
            )
            for name in NAMES
        ]

    def measure(self, subject: PairSubject) -> list[MetricResult]:  # type: ignore[override]
        """Hold the streams side by side, and each beside the other network untrained."""
        places = subject.places(self.n, self.per_sequence)
        a, b = (side.network for side in subject.sides)
        if places is None or a is None or b is None:
            none = Estimate(None, reason="only the reports of the two are at hand, no activations")
            return [self.result(layout, none, 0) for layout in self.outline(subject)]
        depths = depths_of(a.n_layers, b.n_layers, self.depths)
        trained, *half = (
            _scored(a, b, places, depths, subject.seed, trained=of)
            for of in ((True, True), (True, False), (False, True))
        )
        return [
            self._of_score(layout, depths, *(_column(by, layout.part) for by in (trained, *half)))
            for layout in self.outline(subject)
        ]

    def _of_score(
        self,
        layout: Layout,
        depths: Sequence[Depth],
        trained: _Scores,
        *half: _Scores,
    ) -> MetricResult:
        untrained = [mean for scores in half if (mean := _mean(scores.value_K)) is not None]
        null = max(untrained) if len(untrained) == len(half) else None
        value, permuted = _mean(trained.value_K), _mean(trained.permuted_K)
        index = {"depth": list(map(str, depths))}
        series = {"raw": trained.raw_K, "permuted": trained.permuted_K}
        series |= {f"untrained_{side}": of.value_K for side, of in zip("ba", half, strict=True)}
        return self.result(
            layout,
            Estimate(value, trained.interval, trained.reason),
            trained.n if value is not None else 0,
            scalars={
                "raw": _mean(trained.raw_K),
                "calibrated": _mean(trained.calibrated_K),
                "above_untrained": None if value is None or null is None else value - null,
            },
            references={"permuted": permuted, "untrained": null},
            profile=profile(index, trained.value_K, trained.low_high, series=series),
        )


class _Scores(NamedTuple):
    """One score at every depth; NaN where undefined.

    Attributes:
        value_K: Without the means of the symbols.
        raw_K: With them.
        permuted_K: The first of permuted sequences.
        calibrated_K: The first, set to 0 at these.
        low_high: Ends of the first's intervals.
        interval: Of the mean over depths; None where one has none.
        reason: Why the first is undefined at one depth or more.
        n: Fewest positions at a depth.
    """

    value_K: np.ndarray
    raw_K: np.ndarray
    permuted_K: np.ndarray
    calibrated_K: np.ndarray
    low_high: tuple[np.ndarray, np.ndarray]
    interval: Interval | None
    reason: str | None
    n: int


def _scored(
    a: Network,
    b: Network,
    places: Shared,
    depths: Sequence[Depth],
    seed: int,
    *,
    trained: tuple[bool, bool],
) -> list[Mapping[str, Score]]:
    """Return all scores at every depth; permuted sequences are asked of trained networks alone."""
    streams_a = a.streams(places.a, [depth.layer_a for depth in depths], trained=trained[0])
    streams_b = b.streams(places.b, [depth.layer_b for depth in depths], trained=trained[1])
    further = {} if all(trained) else {"n_permutations": 0}
    return [
        compare_representations(x_ND, y_ND, places.group_N, places.row_N, seed=seed, **further)
        for x_ND, y_ND in zip(streams_a, streams_b, strict=True)
    ]


def _column(by_depth: Sequence[Mapping[str, Score]], name: str) -> _Scores:
    """Return one of the scores at every depth."""
    raw = [scores[name] for scores in by_depth]
    beyond = [scores[f"{name}{WITHOUT_MEANS}"] for scores in by_depth]
    intervals = [score.interval for score in beyond]
    low_K, high_K = (
        np.array([np.nan if i is None else i[end] for i in intervals]) for end in (0, 1)
    )
    interval = None
    if intervals[0] is not None and np.isfinite(low_K).all():
        # Half widths add up at most, so that their mean is no less than that of the mean.
        interval = intervals[0]._replace(low=float(low_K.mean()), high=float(high_K.mean()))
    return _Scores(
        _array([score.value for score in beyond]),
        _array([score.value for score in raw]),
        _array([score.null for score in beyond]),
        _array([score.calibrated for score in beyond]),
        (low_K, high_K),
        interval,
        next((score.reasons["value"] for score in beyond if score.value is None), None),
        min(score.n for score in beyond),
    )


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def _mean(value_K: np.ndarray) -> float | None:
    """Return the mean over depths, None where one is undefined."""
    return float(value_K.mean()) if np.isfinite(value_K).all() else None
