"""What is checked of the results of any metric, of single models or of pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mecheval.checks import Check
from mecheval.errors import MechevalError
from mecheval.own_code.explaining import in_words
from mecheval.reports.lookup import number_at
from mecheval.reports.schema import MetricResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.metrics import Metric, Subject
    from mecheval.metrics.pairs import PairSubject
    from mecheval.metrics.results import Layout

MetricT = TypeVar("MetricT", bound="Metric")
SubjectT = TypeVar("SubjectT", bound="Subject | PairSubject")


@dataclass(frozen=True)
class Trial(Generic[MetricT, SubjectT]):
    """A metric and what it is tried on; checks share one measurement, which may take seconds.

    Attributes:
        metric: The metric.
        subject: What it is tried on.
        measure: Measures it afresh.
    """

    metric: MetricT
    subject: SubjectT
    measure: Callable[[MetricT, SubjectT], list[MetricResult]]

    @cached_property
    def first(self) -> list[MetricResult]:
        """Return what is measured."""
        return self.again()

    def again(self, **changes: Any) -> list[MetricResult]:
        """Measure afresh, on a subject that differs in fields."""
        return self.measure(self.metric, replace(self.subject, **changes))


class BrokenError(Exception):
    """A check found the contract broken; the message says how."""


def checked(name: str, check: Callable[[], str]) -> Check:
    """Run a check, and say how it went."""
    try:
        return Check(name, True, check())
    except (BrokenError, MechevalError) as problem:
        return Check(name, False, str(problem))
    except (Exception, SystemExit) as error:  # whatever a contributed metric raises is its failure
        return Check(name, False, in_words(error))


def need(condition: object, problem: str) -> None:
    """Go on where a condition holds.

    Raises:
        BrokenError: It does not.
    """
    if not condition:
        raise BrokenError(problem)


def outlined(metric: Metric, layouts: Sequence[Layout], results: Sequence[MetricResult]) -> str:
    """Check that results are those that the outline says."""
    ids, said = [result.id for result in results], [metric.id_of(layout) for layout in layouts]
    need(said == ids, f"outline() says {said}, measured are {ids}")
    return ", ".join(ids)


def deterministic(trial: Trial[Any, Any]) -> str:
    """Check that the same is measured twice."""
    need(trial.first == trial.again(), "the same subject gives other results the second time")
    return ""


def round_trip(results: Sequence[MetricResult]) -> str:
    """Check that results are the same when they are written and read."""
    for result in results:
        text = result.model_dump_json()
        again = MetricResult.model_validate_json(text).model_dump_json()
        need(text == again, f"{result.id} changes when it is written and read")
    return ""


def headlines(results: Sequence[MetricResult]) -> str:
    """Check that what should be columns is in the results."""
    shown = [(result, line) for result in results for line in result.headline]
    need(shown, "no number of it is a column: its headline names none of its results")
    for result, line in shown:
        if line.at == "verdict" or result.value is None:
            continue
        number = number_at(result, line.at.split())
        missing = isinstance(number, str) and number.startswith("there is no")
        need(not missing, f"the column '{line.title}' of {result.id}: {number}")
    return "; ".join(dict.fromkeys(line.title for _, line in shown))


def nulls(results: Sequence[MetricResult]) -> str:
    """Check that results of what was not learned have no value, and say so."""
    for result in results:
        said = result.reason and result.reason.startswith("not learned")
        need(result.value is None and said, f"{result.id} has a value where nothing was learned")
    return f"{len(results)} nulls with their reason"
