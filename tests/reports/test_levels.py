"""What numbers of pairs are read against: nulls of the metric, skylines of other pairs."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from synthetic_pairs import synthetic_pair
from synthetic_reports import synthetic

from mecheval import stats
from mecheval.reports.content import Failure
from mecheval.reports.levels import FEW_SEEDS, ITSELF, NO_NULL, NOT_APART, with_levels
from mecheval.reports.pair_matrix import matrices_of

if TYPE_CHECKING:
    from mecheval.reports.pair import Level, PairReport

OWN = {"gru": [0.9, 0.8, 0.85], "lstm": [0.7, 0.72, 0.65]}


def cell(model: str, seed: int, **changes):
    return synthetic(model, seed=seed, **changes)


def seeds_of(model: str, **changes) -> list[PairReport]:
    pairs = combinations(range(3), 2)
    return [
        with_null(synthetic_pair(cell(model, i, **changes), cell(model, j, **changes), value), 0.1)
        for (i, j), value in zip(pairs, OWN[model], strict=True)
    ]


def with_null(pair: PairReport, null: float | None) -> PairReport:
    """Return a pair whose value has a null; its other number has none."""
    result = pair.metrics[0].model_copy(
        update={"references": {"null": null, "null_low": -0.2, "null_high": 0.4}}
    )
    return pair.model_copy(update={"metrics": [result]})


CROSS = with_null(synthetic_pair(cell("gru", 0), cell("lstm", 1), 0.4), 0.1)


def levels(*reports: PairReport) -> list[Level]:
    """Return the levels of the last of some reports."""
    return with_levels(reports)[-1].levels


def test_the_skyline_is_the_mean_over_seeds_of_both_models() -> None:
    own = [*seeds_of("gru"), *seeds_of("lstm")]
    value, apart = levels(*own, CROSS)
    assert value.skyline == pytest.approx((0.85 + 0.69) / 2)
    assert value.skyline_of == sorted(pair.key for pair in own)
    intervals = [
        stats.pairwise_interval(
            dict(zip(combinations(range(3), 2), of, strict=True)), unit="seed", bounds=(-1, 1)
        )
        for of in OWN.values()
    ]
    lows = [each.low for each in intervals if each is not None]
    assert value.skyline_low == pytest.approx(sum(lows) / 2)
    assert (value.null, value.null_low, value.null_high) == (0.1, -0.2, 0.4)
    assert (apart.at, apart.null, apart.no_null) == ("apart", None, NO_NULL)
    assert apart.skyline == apart.skyline_low == apart.skyline_high == 1
    assert (apart.place, apart.no_place) == (None, NO_NULL)


def test_the_place_is_0_at_the_null_and_1_at_the_skyline() -> None:
    own = [*seeds_of("gru"), *seeds_of("lstm")]
    for value, place in ((0.1, 0.0), (0.77, 1.0), (0.435, 0.5)):
        changed = with_null(synthetic_pair(cell("gru", 0), cell("lstm", 1), value), 0.1)
        (level, _) = levels(*own, changed)
        assert level.skyline_low is not None
        assert level.skyline_low > 0.1
        assert level.place == pytest.approx(place)
        assert level.no_place is None


def test_what_is_missing_has_its_reason() -> None:
    own = [*seeds_of("gru"), *seeds_of("lstm")]
    assert levels(*own, CROSS, own[0])[0].no_skyline == ITSELF
    lacking = levels(*seeds_of("gru"), CROSS)[0]
    assert lacking.no_skyline == lacking.no_place == "no two seeds of lstm with a value"
    few = levels(own[0], own[3], CROSS)[0]
    assert few.skyline == pytest.approx((0.9 + 0.7) / 2)
    assert (few.skyline_low, few.place, few.no_place) == (None, None, FEW_SEEDS)
    near = with_null(CROSS, few.skyline)
    assert levels(*own, near)[0].no_place == NOT_APART
    lost = synthetic_pair(cell("gru", 0), cell("lstm", 1, learned=False))
    assert levels(*own, lost)[0].no_null == "not learned by one of the two"


def test_skylines_are_of_the_same_task_recipe_metric_and_version() -> None:
    other_task = seeds_of("lstm", task_params={"max_length": 8})
    result = seeds_of("lstm")[0].metrics[0]
    versions = [
        pair.model_copy(update={"metrics": [result.model_copy(update={"version": 2})]})
        for pair in seeds_of("lstm")
    ]
    limited = seeds_of("lstm", limit=4)
    for others in (other_task, versions, limited):
        found = levels(*seeds_of("gru"), *others, CROSS)[0]
        assert found.no_skyline == "no two seeds of lstm with a value"


def test_they_are_circumstances_and_the_same_in_any_order() -> None:
    reports = [*seeds_of("gru"), *seeds_of("lstm"), CROSS]
    found, turned = with_levels(reports), with_levels(reports[::-1])
    assert [each.levels for each in found] == [each.levels for each in turned[::-1]]
    assert [each.levels for each in with_levels(found)] == [each.levels for each in found]


def test_matrices_have_nulls_and_skylines_beside_their_numbers() -> None:
    first, second = matrices_of([*seeds_of("gru"), *seeds_of("lstm"), CROSS])
    headers, rows = first.table()
    assert headers == ["Model", "1.", "2.", "Null"]
    assert [row[-1] for row in rows] == ["0.100", "0.100"]
    assert second.table()[0] == ["Model", "1.", "2."]
    row = next(row for row in first.rows() if (row["a"], row["b"]) == ("gru", "lstm"))
    assert (row["null"], row["skyline"]) == pytest.approx((0.1, 0.77))
    assert row["place"] == pytest.approx((0.4 - 0.1) / (0.77 - 0.1))
    assert next(row for row in first.rows() if row["a"] == row["b"])["no_skyline"] == ITSELF
    assert any("metric likeness" in note for note in first.notes)
    assert not any("metric likeness" in note for note in second.notes)


def test_versions_of_a_metric_have_matrices_of_their_own() -> None:
    result = CROSS.metrics[0].model_copy(update={"version": 2})
    newer = CROSS.model_copy(update={"metrics": [result]})
    headings = [matrix.heading for matrix in matrices_of([CROSS, newer])]
    assert "how alike (likeness version 1)" in headings
    assert "how alike (likeness version 2)" in headings


def test_models_stand_in_the_order_of_their_names_or_of_the_reports() -> None:
    pairs = [synthetic_pair(cell("lstm", 0), cell("mamba", 1)),
             synthetic_pair(cell("attention", 0), cell("lstm", 1))]  # fmt: skip
    assert matrices_of(pairs, by_name=True)[0].models == ["attention", "lstm", "mamba"]
    met = [side.title for side in pairs[0].sides]
    assert matrices_of(pairs)[0].models == [*met, "attention"]


def test_a_report_is_a_line_that_says_what_it_is_read_against() -> None:
    found = with_levels([*seeds_of("gru"), *seeds_of("lstm"), CROSS])[-1]
    first, second = sorted(("gru (seed 0)", "lstm (seed 1)"), key=str(found).index)
    assert (
        str(found)
        == repr(found)
        == (
            f"<{first} and {second} on parity: how alike 0.400 (null 0.100, seeds 0.770), "
            "positions apart 1.000 (seeds 1.000)>"
        )
    )
    lost = synthetic_pair(cell("gru", 0), cell("lstm", 1, learned=False))
    assert str(lost).endswith("on parity: no number>")
    failure = Failure(type="ValueError", message="no", stage="likeness", traceback="")
    failed = CROSS.model_copy(update={"status": "error", "error": failure})
    assert str(failed).endswith("on parity: failed in likeness (ValueError)>")
