"""Subjects for metrics of circuits: planted models, architectures and checkpoints as they come.

Random models answer few pairs rightly; ``any_answers`` lets a metric count all pairs all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import hf_families
import numpy as np
from measured import measured

import mecheval
from mecheval.metrics import Subject
from mecheval.metrics.circuit import gap
from mecheval.models.load import resolve
from mecheval.models.wrapped.model import WrappedModel
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    import pytest

    from mecheval.models.contract import SequenceModel
    from mecheval.reports.schema import MetricResult

RECALL = "ar[keys=12,values=12,pairs=6]"


def subject_of(model: str | SequenceModel, task: str = RECALL, *, learned: bool = True) -> Subject:
    """Build a subject; a model that is given takes the task's symbols as its token ids."""
    built = mecheval.load_task(task)
    source = resolve(parse_spec(model if isinstance(model, str) else "lstm"), Registry())
    encoding = source.encode(built)
    network = source.build(encoding, seed=0) if isinstance(model, str) else model
    return Subject(
        model=network.eval(), task=built, encoding=encoding, seed=0, learned=learned, limit=None,
        batch_size=64, untrained=lambda: network,
    )  # fmt: skip


def checkpoint(family: str, **changes) -> WrappedModel:
    """Build a tiny random checkpoint of transformers."""
    return WrappedModel(hf_families.build(family, **changes))


def result_of(subject: Subject, metric: str, **params) -> MetricResult:
    """Measure a metric that has one result."""
    (result,) = measured(metric, subject, **params)
    return result


def any_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count all pairs of a random model, whatever it answers and however little that changes."""
    found = gap.gap_of

    def all_kept(subject, pairs):
        ends = found(subject, pairs)
        return gap.Gap(ends.clean_P, ends.corrupted_P, np.ones(len(pairs), bool))

    monkeypatch.setattr(gap.Gap, "objection", None)
    for module in ("circuit.convolution", "circuit.induction_circuit", "intervention.recovery"):
        monkeypatch.setattr(f"mecheval.metrics.{module}.gap_of", all_kept)
