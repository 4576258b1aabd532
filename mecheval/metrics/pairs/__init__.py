"""Metrics of pairs: two models that were measured on one task, held side by side."""

from __future__ import annotations

from mecheval.metrics.pairs.contract import PairMetric as PairMetric
from mecheval.metrics.pairs.subject import PairSubject as PairSubject
from mecheval.metrics.pairs.subject import Side as Side
