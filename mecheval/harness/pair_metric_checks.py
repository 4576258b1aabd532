"""The contract of a metric of pairs, checked by running it on planted models side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.checks import Check
from mecheval.harness.building import build_task
from mecheval.harness.known_values import known_cases
from mecheval.harness.result_checks import (
    Trial,
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

    PairTrial = Trial[PairMetric, PairSubject]


def pair_checks(metric: PairMetric) -> list[Check]:
    """Check a metric of pairs against :class:`mecheval.metrics.pairs.PairMetric`."""
    subject = _fitting(metric)
    if subject is None:
        why = "no pair of planted models meets its needs"
        return [Check(name, None, why) for name in _CHECKS]
    on = f"{subject.a.title} and {subject.b.title}"
    checks = [Check("needs are met by two planted models", True, on)]
    trial = Trial(metric, subject, measure_pair)
    for name, check in _CHECKS.items():
        checks.append(checked(name, lambda check=check: check(trial)))
    return checks


def _fitting(metric: PairMetric) -> PairSubject | None:
    """Return the first two planted models, on a task of theirs, that have all that is needed."""
    for case in known_cases():
        task = build_task(parse_spec(case.task), Registry())
        if case.pairs and unmet_by_task(metric, task) is None:
            return pair_of(case)
    return None


def _outlined(trial: PairTrial) -> str:
    return outlined(trial.metric, trial.metric.outline(trial.subject), trial.first)


def _has_no_order(trial: PairTrial) -> str:
    turned = trial.again(a=trial.subject.b, b=trial.subject.a)
    ours, theirs = ({result.id: result.value for result in of} for of in (trial.first, turned))
    need(ours.keys() == theirs.keys(), "which results there are depends on which model comes first")
    for id, value in ours.items():
        other = theirs[id]
        need((value is None) == (other is None), f"{id} has a value in one order only")
        near = value is None or other is None or abs(value - other) < 1e-9
        need(near, f"{id} is {value} and, with the two models exchanged, {other}")
    return ""


def _not_learned(trial: PairTrial) -> str:
    return nulls(trial.again(b=replace(trial.subject.b, learned=False)))


_CHECKS: dict[str, Callable[[PairTrial], str]] = {
    "results are as outlined": _outlined,
    "JSON there and back": lambda trial: round_trip(trial.first),
    "deterministic": deterministic,
    "the same whichever model comes first": _has_no_order,
    "null with a reason where a model did not learn": _not_learned,
    "columns are there": lambda trial: headlines(trial.first),
}
