"""Paired differences over seeds, and warnings about what else differs."""

from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

import mecheval
from mecheval.errors import UsageError
from mecheval.reports.compare import Comparison, compare
from mecheval.reports.schema import Report


def shifted(report: Report, by: float) -> Report:
    """Return the report with another first value."""
    first, *rest = report.metrics
    assert first.value is not None
    changed = first.model_copy(update={"value": first.value + by})
    return report.model_copy(update={"metrics": [changed, *rest]})


def of(comparison: Comparison, metric: str):
    return next(each for each in comparison.differences if each.metric == metric)


def test_two_reports() -> None:
    one = synthetic()
    got = of(compare(one, shifted(one, -0.1)), "token_accuracy/1x")
    assert got.difference == pytest.approx(-0.1)
    assert (got.low, got.seeds) == (None, (0,))
    assert got.b - got.a == pytest.approx(-0.1)


def test_intervals_are_over_paired_seeds() -> None:
    steps = [0.01, 0.02, 0.03, 0.04]
    ones = [synthetic(seed=seed) for seed in range(4)]
    others = [shifted(report, -step) for report, step in zip(ones, steps, strict=True)]
    got = of(compare(ones, reversed(others)), "token_accuracy/1x")
    assert got.difference == pytest.approx(-0.025)
    assert got.low is not None
    assert got.high is not None
    assert -0.04 <= got.low < -0.025 < got.high <= -0.01
    same = of(compare(ones, others), "last_accuracy/1x")
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_two_models_are_compared_where_each_side_has_one() -> None:
    got = compare([synthetic("gru"), synthetic("gru", "dyck")], [synthetic("lstm", "dyck")])
    assert {each.task for each in got.differences} == {"dyck@1[max_length=16]"}
    assert got.differences[0].model == "gru[layers=4] -> lstm[layers=4]"
    assert "1 cells have no partner and are left out" in got.warnings


def test_several_models_are_paired_by_name() -> None:
    side = [synthetic("gru"), synthetic("lstm")]
    got = compare(side, side)
    assert {each.model for each in got.differences} == {"gru[layers=4]", "lstm[layers=4]"}


def test_folders_and_files(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", synthetic())
    write(tmp_path / "b", synthetic())
    assert mecheval.compare(path, str(tmp_path / "b")).differences


def test_nothing_in_common_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no cell in common"):
        compare(synthetic(seed=0), synthetic(seed=1))


def test_two_reports_of_one_cell_are_ambiguous() -> None:
    with pytest.raises(UsageError, match="two reports of gru"):
        compare([synthetic(), synthetic(limit=3)], synthetic())


def test_values_that_are_missing_are_left_out() -> None:
    got = compare(synthetic(), synthetic(learned=False))
    assert {each.metric for each in got.differences} == {
        "token_accuracy/1x", "last_accuracy/1x", "token_accuracy/2x"
    }  # fmt: skip


def test_what_else_differs_is_said() -> None:
    other = synthetic(
        recipe={"optimizer": "adamw", "lr": 0.01},
        environment={"python": "3.11.7", "packages": {"torch": "2.7.0"}},
        resources={"batch_size": 32},
        limit=8,
    )
    assert compare(synthetic(), other).warnings == [
        "batch_size differs: 128 and 32",
        "environment packages.torch differs: 2.6.0 and 2.7.0",
        "limit differs: None and 8",
        "recipe differs: lr 0.003 and 0.01",
        "1 seeds are too few for a claim; use 4 or more",
    ]


def test_equal_conditions_give_no_warning() -> None:
    side = [synthetic(seed=seed) for seed in range(4)]
    assert compare(side, side).warnings == []


def test_markdown() -> None:
    text = compare(synthetic(), shifted(synthetic(), 0.002)).to_markdown()
    assert "| parity@1[max_length=16] | token_accuracy/1x" in text
    assert "+0.002" in text
    assert "- 1 seeds are too few" in text
