"""Surprise: how unlikely a model finds the right answer.

Shape suffixes: ``B`` sequences, ``T`` positions, ``A`` answers,
``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.interventions import answer_logits
from mecheval.metrics import Column, Estimate, Layout, Metric, metric
from mecheval.metrics.needs import Longer
from mecheval.metrics.parameters import Count

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult


@metric(
    name="surprise",
    version=1,
    family="likelihood",
    needs=(Longer(2),),
    headline=(Column("surprise at twice the length, in bits"),),
)
@dataclass(frozen=True, kw_only=True)
class Surprise(Metric):
    """Bits by which the right answer at the readout surprises, at twice the length.

    Attributes:
        n: Test sequences.
    """

    n: Count = 64

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "surprise at twice the length", subject.cut(self.n), (0.0, None), False)]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Look the right answer up among the probabilities of all."""
        batch = subject.test(subject.task.test_lengths["2x"], self.n)
        logits_BTA = answer_logits(
            subject.model, batch.tokens_BT, subject.answers_A, batch_size=subject.batch_size
        ).astype(np.float64)
        row_B = np.arange(len(batch))
        logits_BA = logits_BTA[row_B, batch.roles["readout"]]
        place_B = (subject.answers_A == batch.target_at("readout")[:, None]).argmax(1)
        bits_B = (np.logaddexp.reduce(logits_BA, 1) - logits_BA[row_B, place_B]) / np.log(2)
        mean_R = stats.resamples(
            lambda index_RB: bits_B[index_RB].mean(1), len(bits_B), subject.stream(self.id)
        )
        interval = stats.percentile_interval(mean_R, unit="sequence")
        estimate = Estimate(float(bits_B.mean()), interval)
        units = bits_B.tolist()
        return [self.result(self.outline(subject)[0], estimate, len(bits_B), units=units)]
