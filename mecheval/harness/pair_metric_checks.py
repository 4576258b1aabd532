"""The contract of a metric of pairs, checked by running it on planted models side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.checks import Check
from mecheval.harness.building import build_task
from mecheval.harness.known_values import known_cases
from mecheval.harness.result_checks import (
    checked,
    deterministic,
    headlines,
    need,
    nulls,
    outlined,
    round_trip,
)
from mecheval.harness.selftest import pair_of
from mecheval.metrics.measuring import unmet_by_task
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.metrics.pairs import PairMetric, PairSubject


def pair_checks(metric: PairMetric) -> list[Check]:
    """Check a metric of pairs against :class:`mecheval.metrics.pairs.PairMetric`."""
    subject = _fitting(metric)
    if subject is None:
        why = "no pair of planted models meets its needs"
        return [Check(name, None, why) for name in _CHECKS]
    on = f"{subject.a.title} and {subject.b.title}"
    checks = [Check("needs are met by two planted models", True, on)]
    for name, check in _CHECKS.items():
        checks.append(checked(name, lambda check=check: check(metric, subject)))
    return checks


def _fitting(metric: PairMetric) -> PairSubject | None:
    """Return the first two planted models, on a task of theirs, that have all that is needed."""
    for case in known_cases():
        task = build_task(parse_spec(case.task), Registry())
        if case.pairs and unmet_by_task(metric, task) is None:
            return pair_of(case)
    return None


def _has_no_order(metric: PairMetric, subject: PairSubject) -> str:
    turned = replace(subject, a=subject.b, b=subject.a)
    ours, theirs = (
        {result.id: result.value for result in measure_pair(metric, of)} for of in (subject, turned)
    )
    need(ours.keys() == theirs.keys(), "which results there are depends on which model comes first")
    for id, value in ours.items():
        other = theirs[id]
        need((value is None) == (other is None), f"{id} has a value in one order only")
        near = value is None or other is None or abs(value - other) < 1e-9
        need(near, f"{id} is {value} and, with the two models exchanged, {other}")
    return ""


def _not_learned(metric: PairMetric, subject: PairSubject) -> str:
    return nulls(measure_pair(metric, replace(subject, b=replace(subject.b, learned=False))))


_CHECKS: dict[str, Callable[[PairMetric, PairSubject], str]] = {
    "results are as outlined": lambda metric, subject: outlined(
        metric, metric.outline(subject), measure_pair(metric, subject)
    ),
    "JSON there and back": lambda metric, subject: round_trip(measure_pair(metric, subject)),
    "deterministic": lambda metric, subject: deterministic(lambda: measure_pair(metric, subject)),
    "the same whichever model comes first": _has_no_order,
    "null with a reason where a model did not learn": _not_learned,
    "columns are there": lambda metric, subject: headlines(measure_pair(metric, subject)),
}
