"""Sums and differences over seeds: paired within a task, independent across tasks."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from synthetic_reports import synthetic

from mecheval.reports.collection import collect
from mecheval.reports.collection.contrasts import Estimate, contrast, signed_least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection import Group

ID = "token_accuracy/1x"


def group(
    task: str, values: Sequence[float | None], model: str = "gru", **more: Sequence[float]
) -> Group:
    """Return a group whose reports have given accuracies, and perhaps others under other ids."""
    made = []
    for seed, value in enumerate(values):
        report = synthetic(model, task, seed)
        reason = None if value is not None else "not learned: 0.5"
        first = report.metrics[0].model_copy(update={"value": value, "reason": reason})
        others = [
            first.model_copy(update={"id": id, "value": each[seed]}) for id, each in more.items()
        ]
        made.append(report.model_copy(update={"metrics": [first, *others]}))
    (only,) = collect(made).groups
    return only


A, B = [0.9, 0.8, 0.75, 0.85], [0.5, 0.45, 0.3, 0.4]


def test_two_results_of_a_network_are_paired():
    both = group("parity", A, last=B)
    found = contrast([both.term(1, ID), both.term(-1, "last")])
    theirs: Any = ttest_rel(A, B)
    assert found.mean == pytest.approx(np.mean(A) - np.mean(B))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.p(0.0) == pytest.approx(theirs.pvalue)
    assert found.values == pytest.approx({i: A[i] - B[i] for i in range(4)})
    assert (found.n, found.over) == (4, "seed")


def test_two_tasks_are_independent():
    found = contrast([group("parity", A).term(1, ID), group("dyck", B).term(-1, ID)])
    theirs: Any = ttest_ind(A, B, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.p(0.0) == pytest.approx(theirs.pvalue)
    assert found.values == {}
    assert (found.n, found.over) == (4, "seed")
    again = contrast([group("parity", A).term(1, ID), group("dyck", B[::-1]).term(-1, ID)])
    assert (again.low, again.high) == pytest.approx((found.low, found.high)), "no seed is a pair"


def test_two_models_on_one_task_are_paired_as_they_learned_from_the_same_words():
    ours, theirs = group("parity", A), group("parity", B, "lstm")
    found = contrast([ours.term(1, ID), theirs.term(-1, ID)])
    paired: Any = ttest_rel(A, B)
    assert (found.low, found.high) == pytest.approx(tuple(paired.confidence_interval(0.95)))
    minus = ours.minus(theirs, ID)
    assert (minus.mean, minus.low, minus.high) == (found.mean, found.low, found.high)


def test_a_task_that_was_not_learned_leaves_no_number():
    found = contrast([group("parity", A).term(1, ID), group("dyck", [None] * 4).term(-1, ID)])
    assert (found.mean, found.low, found.n) == (None, None, 0)
    some = [0.5, None, 0.4, 0.6]
    assert contrast([group("parity", A).term(1, ID), group("dyck", some).term(-1, ID)]).n == 3


def test_where_no_seed_differs_the_reports_own_intervals_are_left():
    found = contrast(
        [group("parity", [1.0] * 4).term(1, ID), group("dyck", [1.0] * 4).term(-1, ID)]
    )
    assert found.mean == 0
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert (found.over, found.p(0.0)) == ("sequence", None)


def estimate(low: float, high: float) -> Estimate:
    return Estimate(mean=(low + high) / 2, low=low, high=high, over="seed")


ENDS = [(-3, -2), (-2, -1), (-1, 2), (-2, 1), (1, 3), (2, 5)]


@pytest.mark.parametrize(("a", "b"), [*itertools.product(ENDS, ENDS)])
def test_the_smaller_of_two_has_the_sign_of_their_product(a, b):
    found = signed_least(estimate(*a), estimate(*b))
    means = sum(a) / 2, sum(b) / 2
    assert found.mean == pytest.approx(np.sign(np.prod(means)) * min(map(abs, means)))
    decided = [np.sign(ends[0]) if ends[0] * ends[1] > 0 else 0 for ends in (a, b)]
    assert found.low is not None
    assert found.high is not None
    assert (found.high < 0) == (decided[0] * decided[1] < 0)
    assert (found.low > 0) == (decided[0] * decided[1] > 0)
    corners = [np.sign(x * y) * min(abs(x), abs(y)) for x in a for y in b]
    assert found.low <= min(corners)
    assert found.high >= max(corners)


def test_it_is_how_much_nearer_a_number_is_to_one_than_to_another():
    rng = np.random.default_rng(0)
    for s, p, q in rng.normal(size=(200, 3)):
        found = signed_least(*(Estimate(mean=each) for each in (q - p, 2 * s - p - q)))
        assert found.mean == pytest.approx(abs(s - p) - abs(s - q))


def test_its_interval_errs_seldom_where_one_of_two_is_zero():
    """By hand: four seeds of two differences, one of which is 0 and the other far from it."""
    rng, wrong, n = np.random.default_rng(1), 0, 400
    for _ in range(n):
        tasks = [group_values(rng, mean) for mean in (0.0, 2.0)]
        found = signed_least(*(contrast_of(values) for values in tasks))
        assert found.low is not None
        assert found.high is not None
        wrong += found.low > 0 or found.high < 0
    assert wrong / n == pytest.approx(0.05, abs=0.025)


def group_values(rng: np.random.Generator, mean: float) -> list[float]:
    return list(rng.normal(mean, 0.5, 4))


def contrast_of(values: list[float]) -> Estimate:
    from mecheval.reports.collection.contrasts import summed
    from mecheval.reports.collection.numbers import Number

    return summed([{seed: Number(value) for seed, value in enumerate(values)}])


def test_its_p_value_is_the_larger_one():
    a, b = contrast_of([0.1, 0.2, 0.15, 0.3]), contrast_of([-1.0, -0.2, -0.9, -0.1])
    both = [each.p(0.0) or 0.0 for each in (a, b)]
    assert signed_least(a, b).p(0.0) == max(both)
    assert max(both) > min(both)
