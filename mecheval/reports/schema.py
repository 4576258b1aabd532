"""The report ``mecheval.report/1``: one JSON file per cell.

What it holds stands in :mod:`mecheval.reports.content`, which whatever shows a report rests on.
"""

from __future__ import annotations

from mecheval.reports.content import SCHEMA as SCHEMA
from mecheval.reports.content import Content
from mecheval.reports.content import DataPart as DataPart
from mecheval.reports.content import Failure as Failure
from mecheval.reports.content import Fidelity as Fidelity
from mecheval.reports.content import ModelCardPart as ModelCardPart
from mecheval.reports.content import TaskCardPart as TaskCardPart
from mecheval.reports.identity import Identity as Identity
from mecheval.reports.identity import Labels as Labels
from mecheval.reports.identity import MetricIdentity as MetricIdentity
from mecheval.reports.identity import ModelPart as ModelPart
from mecheval.reports.identity import TaskIdentity as TaskIdentity
from mecheval.reports.results import Headline as Headline
from mecheval.reports.results import MetricResult as MetricResult
from mecheval.reports.results import Profile as Profile
from mecheval.reports.results import Uncertainty as Uncertainty
from mecheval.reports.training_part import Snapshot as Snapshot
from mecheval.reports.training_part import SnapshotResult as SnapshotResult
from mecheval.reports.training_part import SweepRun as SweepRun
from mecheval.reports.training_part import TrainingPart as TrainingPart
from mecheval.reports.types import Number as Number


class Report(Content):
    """One cell: a model, a task, a seed."""

    def __repr__(self) -> str:
        """Return a line: what it is of, and its headline numbers."""
        from mecheval.reports.display import line

        return line(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the headline numbers in a notebook."""
        from mecheval.reports.display import html

        return html(self)
