"""A report held against the same cell measured again: by which rule, and what fails."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_reports import synthetic

from mecheval.reports.comparison.again import held_against
from mecheval.reports.schema import DataPart, Report

HERE = {"cpu": {"model": "EPYC"}, "python": "3.11", "packages": {"torch": "2.13"}}
ELSEWHERE = {**HERE, "packages": {"torch": "2.14"}}
ID = "token_accuracy/1x"


def made(value: float | None = None, *, seed: int = 0, **changes: Any) -> Report:
    report = synthetic(seed=seed, environment=HERE, **changes)
    if value is None:
        return report
    metrics = [m.model_copy(update={"value": value}) if m.id == ID else m for m in report.metrics]
    return report.model_copy(update={"metrics": metrics})


def elsewhere(report: Report) -> Report:
    return report.model_copy(update={"environment": ELSEWHERE})


def test_on_one_machine_and_versions_every_number_must_be_equal() -> None:
    same = held_against(made(), made(), [made()])
    assert (same.passed, same.rule, same.n_equal) == (True, "equal", same.n_numbers)
    assert same.n_numbers > 100
    other = held_against(made(0.995), made(0.9950001), [made()])
    assert not other.passed
    (number,) = other.numbers
    assert (number.where, number.reported, number.again) == (
        f"metrics[{ID}].value", 0.995, 0.9950001
    )  # fmt: skip
    assert "was 0.995 and is 0.995 (must be equal)" in str(other)


def test_a_number_deep_in_a_profile_counts_too() -> None:
    report = made()
    *rest, last = report.metrics
    assert last.profile
    profile = last.profile.model_copy(update={"value": [0.0, *last.profile.value[1:]]})
    changed = [*rest, last.model_copy(update={"profile": profile})]
    found = held_against(report, report.model_copy(update={"metrics": changed}), [])
    assert [number.where for number in found.numbers] == [f"metrics[{last.id}].profile.value[0]"]


def test_elsewhere_intervals_that_overlap_are_enough() -> None:
    reported, again = made(0.995), elsewhere(made(0.993))
    found = held_against(reported, again, [reported])
    assert (found.passed, found.rule) == (True, "within intervals")
    assert found.why == "other torch (2.13 and 2.14)"
    assert [(number.where, number.rule) for number in found.numbers] == [(ID, "intervals")]


def test_elsewhere_a_number_may_lie_where_another_seed_would() -> None:
    again = elsewhere(made(0.95))
    again = narrow(again)
    reported = narrow(made(0.99))
    spread = [made(value, seed=seed) for seed, value in enumerate((0.99, 0.96, 0.93, 0.98))]
    found = held_against(reported, again, spread)
    assert [(number.rule, number.passed) for number in found.numbers] == [("seeds", True)]
    close = [made(value, seed=seed) for seed, value in enumerate((0.99, 0.991, 0.99, 0.9905))]
    found = held_against(reported, again, close)
    assert not found.passed
    assert found.numbers[0].rule.startswith("outside what seeds do, 0.98")
    few = held_against(reported, again, spread[:2]).numbers[0]
    assert (few.passed, "2 seeds of the row are too few" in few.rule) == (False, True)
    equal = held_against(reported, again, [made(0.99, seed=seed) for seed in range(4)]).numbers[0]
    assert (equal.passed, "have one value" in equal.rule) == (False, True)


def narrow(report: Report) -> Report:
    """Leave the number an interval that is a point."""
    metrics = []
    for metric in report.metrics:
        own = metric.uncertainty
        if metric.id == ID and own:
            point = own.model_copy(update={"low": metric.value, "high": metric.value})
            metric = metric.model_copy(update={"uncertainty": point})
        metrics.append(metric)
    return report.model_copy(update={"metrics": metrics})


@pytest.mark.parametrize("row", [[True], [True, False]])
def test_whether_it_was_learned_may_differ_only_where_seeds_do(row: list[bool]) -> None:
    reports = [made(seed=seed, learned=learned) for seed, learned in enumerate(row)]
    found = held_against(made(), elsewhere(made(learned=False)), reports)
    (learned,) = [number for number in found.numbers if number.where == "learned"]
    assert learned.passed is (False in row)
    nulls = [number for number in found.numbers if number.where.startswith("readability")]
    assert nulls
    assert all(number.passed is (False in row) for number in nulls)


def test_other_data_and_missing_results_fail_everywhere() -> None:
    data = DataPart(test_sha256="a", pairs_sha256="b", n_test=4, n_pairs=2, disjoint=True)
    other = data.model_copy(update={"test_sha256": "c"})
    again = elsewhere(made(data=other, metrics=made().metrics[1:]))
    found = held_against(made(data=data), again, [made()])
    failed = {number.where: number.rule for number in found.numbers if not number.passed}
    assert failed["data.test_sha256"] == "must be equal"
    assert failed[ID] == "it was not measured again"


def test_what_is_said_in_other_words_is_no_number() -> None:
    reworded = [metric.model_copy(update={"title": "other words"}) for metric in made().metrics]
    assert held_against(made(), made(metrics=reworded), []).passed


def test_another_name_of_the_machine_is_the_same_kind_of_machine() -> None:
    named = made().model_copy(update={"environment": {**HERE, "hostname_hash": "ffff"}})
    assert held_against(made(), named, []).rule == "equal"
    batches = made().model_copy(update={"resources": {"batch_size": 7}})
    assert "batch size (128 and 7)" in held_against(made(), batches, []).why
