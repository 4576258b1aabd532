"""Paired differences over seeds or examples, what is compared, and what else differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from headline_reports import report, result
from scipy.stats import ttest_rel
from synthetic_reports import synthetic, write

import mecheval
from mecheval.errors import UsageError
from mecheval.reports.collection import collect
from mecheval.reports.comparison import Comparison, Difference, compare
from mecheval.reports.schema import DataPart, Headline, MetricIdentity, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ID = "token_accuracy/1x"
A, B = [0.90, 0.92, 0.95, 0.97], [0.80, 0.85, 0.83, 0.90]


def side(values: list[float], model: str = "gru", **changes: Any) -> list[Report]:
    return [report(result(ID, value, "Right"), seed=seed, model=model, **changes)
            for seed, value in enumerate(values)]  # fmt: skip


def only(comparison: Comparison, result: str = ID) -> Difference:
    (found,) = (each for each in comparison.differences if each.result == result)
    return found


def test_intervals_and_p_values_are_those_of_the_paired_t_test() -> None:
    got = only(compare(side(A), reversed(side(B))))
    expected = ttest_rel(B, A)
    assert got.difference == pytest.approx(np.mean(B) - np.mean(A))
    assert (got.a, got.b) == pytest.approx((np.mean(A), np.mean(B)))
    assert got.p == pytest.approx(expected.pvalue)
    assert (got.low, got.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (got.n, got.unit, got.over, got.seeds) == (4, "seed", "seed", (0, 1, 2, 3))


def data(test: str = "a" * 64, pairs: str = "b" * 64) -> DataPart:
    return DataPart(test_sha256=test, pairs_sha256=pairs, n_test=4, n_pairs=4, disjoint=True)


def example(units: Sequence[float | None], model: str = "gru", **changes: Any) -> Report:
    counted = [unit for unit in units if unit is not None]
    whole = result(ID, float(np.mean(counted)), "Right", units=list(units))
    return report(whole, model=model, **{"data": data(), **changes})


U, V = [1.0, 0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0, 0.5]


def test_one_seed_is_paired_by_example_where_the_examples_are_the_same() -> None:
    got = only(compare(example(U), example(V, "lstm")))
    expected = ttest_rel(V, U)
    assert got.p == pytest.approx(expected.pvalue)
    assert (got.low, got.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (got.n, got.unit, got.over) == (5, "sequence", "sequence")


def test_examples_that_one_side_left_out_are_left_out_of_both() -> None:
    got = only(compare(example([1.0, None, 0.0, 1.0, 0.5]), example([0.5, 0.0, 1.0, None, 0.0])))
    assert (got.a, got.b, got.difference, got.n) == (0.5, 0.5, 0.0, 3)
    assert got.p == pytest.approx(ttest_rel([0.5, 1.0, 0.0], [1.0, 0.0, 0.5]).pvalue)
    got = only(compare(example([1.0, None]), example([0.5, 0.0], "lstm")))
    assert (got.unit, got.p) == ("seed", None), "a single pair is not enough"


@pytest.mark.parametrize(
    "changes",
    [{"data": data(test="c" * 64)}, {"data": data(pairs="c" * 64)}, {"data": None}],
)
def test_other_examples_are_not_paired(changes: dict[str, Any]) -> None:
    got = only(compare(example(U), example(V, "lstm", **changes)))
    assert (got.n, got.unit, got.p) == (1, "seed", None)
    assert got.low == pytest.approx(np.mean(V) - np.mean(U) - 0.1), "what two intervals leave open"


def test_several_seeds_are_paired_by_seed_though_examples_are_there() -> None:
    ours = [example(U), example([1.0] * 5, seed=1)]
    got = only(compare(ours, [example(V, "lstm"), example([0.5] * 5, "lstm", seed=1)]))
    assert (got.n, got.unit) == (2, "seed")


def test_equal_differences_have_no_t_test() -> None:
    got = only(compare(side([0.5, 0.7]), side([0.6, 0.8], "lstm")))
    assert got.p is None
    assert (got.low, got.high) == pytest.approx((0.0, 0.2))
    assert "\u00b9" in compare(side([0.5, 0.7]), side([0.6, 0.8], "lstm")).to_markdown()


def test_other_files_and_versions_of_a_metric_are_not_compared() -> None:
    def side(value: float, model: str, **edition: Any) -> Report:
        whole = report(
            result(ID, 0.9, "Right"), result("mine", value, "Mine", version=edition["version"]),
            model=model,
        )  # fmt: skip
        metric = MetricIdentity(name="mine", params={}, **edition)
        identity = whole.identity.model_copy(update={"metrics": [metric]})
        return whole.model_copy(update={"identity": identity})

    here = {"version": 1, "file_sha256": "a" * 64}
    for there, said in (
        (here, ""), ({"version": 2, "file_sha256": "b" * 64}, "mine has version 1 and 2"),
        ({"version": 1, "file_sha256": "b" * 64}, "mine is of another file on either side"),
    ):  # fmt: skip
        got = compare(side(0.1, "gru", **here), side(0.9, "lstm", **there))
        compared = {each.result for each in got.differences}
        assert compared == ({ID} if said else {ID, "mine"})
        assert any(warning.startswith(said) for warning in got.warnings) == bool(said) or not said


def test_p_values_are_corrected_over_all_differences() -> None:
    def two(first: list[float], second: list[float]) -> list[Report]:
        return [
            report(result(ID, a, "Right"), result("mine/a", b, "Mine"), seed=seed)
            for seed, (a, b) in enumerate(zip(first, second, strict=True))
        ]

    got = compare(two(A, A), two(B, [0.9, 0.95, 0.9, 0.99]))
    p = sorted(each.p or 0.0 for each in got.differences)
    corrected = sorted(each.p_corrected or 0.0 for each in got.differences)
    assert corrected == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_verdicts_are_counted_and_not_tested() -> None:
    def decided(word: str, seed: int) -> Report:
        how = Headline(title="How", at="verdict")
        return report(result("mechanism", 1.0, how, verdict=word), seed=seed)

    ours = [decided("induction", seed) for seed in range(2)]
    got = only(compare(ours, [decided("direct", 0), decided("induction", 1)]), "mechanism")
    assert got.verdicts == ("induction (2 of 2)", "direct (1 of 2), induction (1 of 2)")
    assert got.p is None


def test_what_is_compared_stands_with_gate_and_recipe() -> None:
    one, other = compare(side(A), side(B, "lstm", recipe={"gate": 0.7, "lr": 0.01})).sides
    assert (one.side, one.model, one.learned) == ("A", "gru", "4 of 4 (gate 0.99)")
    assert (other.side, other.model, other.learned) == ("B", "lstm", "4 of 4 (gate 0.7)")
    assert other.recipe == "adamw, learning rate 0.01"


def test_seeds_that_one_side_has_alone_count_nowhere() -> None:
    def decided(word: str, seed: int, model: str) -> Report:
        how = Headline(title="How", at="verdict")
        return report(result("mechanism", 1.0, how, verdict=word), seed=seed, model=model)

    left = [decided("induction" if seed > 1 else "direct", seed, "gru") for seed in range(4)]
    got = compare(left, [decided("mixed", seed, "lstm") for seed in (2, 3, 4)])
    assert [(each.seeds, each.learned) for each in got.sides] == [
        ((2, 3), "2 of 2 (gate 0.99)")
    ] * 2
    assert only(got, "mechanism").verdicts == ("induction (2 of 2)", "mixed (2 of 2)")
    assert "3 reports have no partner and are left out" in got.warnings


def test_two_models_are_compared_where_each_side_has_one() -> None:
    got = compare([synthetic("gru"), synthetic("gru", "dyck")], [synthetic("lstm", "dyck")])
    assert {each.task for each in got.differences} == {"dyck@1"}
    assert got.differences[0].model == "gru -> lstm"
    assert "1 report has no partner and is left out" in got.warnings


def test_several_models_are_paired_by_name() -> None:
    reports = [synthetic("gru"), synthetic("lstm")]
    assert {each.model for each in compare(reports, reports).differences} == {"gru", "lstm"}


def test_recipes_are_paired_where_a_side_has_several() -> None:
    slow, fast = (side(A[:2], recipe={"lr": lr}) for lr in (0.001, 0.01))
    one = compare(slow, fast)
    assert {each.model for each in one.differences} == {"gru (lr=0.001) -> gru (lr=0.01)"}
    same = compare([*slow, *fast], [*slow, *fast])
    assert [each.difference for each in same.differences] == [0, 0]
    with pytest.raises(UsageError, match=r"2 recipes of gru on parity@1: 'lr=0.001' and 'lr=0.01'"):
        compare([*slow, *fast], side(A[:2], recipe={"lr": 0.1}))


def test_folders_files_and_collections(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "a", synthetic())
    write(tmp_path / "b", synthetic())
    assert mecheval.compare(path, str(tmp_path / "b")).differences
    assert mecheval.compare(collect([synthetic()]), path).differences
    path.write_text("{")
    with pytest.raises(UsageError, match="is not whole JSON"):
        mecheval.compare(path, tmp_path / "b")


def test_nothing_in_common_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no cell in common"):
        compare(synthetic(seed=0), synthetic(seed=1))


def test_values_that_are_missing_are_left_out() -> None:
    got = compare(synthetic(), synthetic(learned=False))
    assert {each.result for each in got.differences} == {
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
        "1 seed is too few for a claim; use 4 or more",
    ]


def test_equal_conditions_give_no_warning() -> None:
    reports = [synthetic(seed=seed) for seed in range(4)]
    assert compare(reports, reports).warnings == []


def test_markdown() -> None:
    text = compare(side(A), side(B, "lstm")).to_markdown()
    assert "| A    | gru   | parity@1 | 0-3   | 4 of 4 (gate 0.99) | adamw, learning rate" in text
    assert "gru -> lstm on parity@1" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| Right "))
    got = only(compare(side(A), side(B, "lstm")))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "Right", "0.935", "0.845", "-0.090", f"[{got.low:.3f}, {got.high:.3f}]",
        f"{got.p:.3f}", f"{got.p:.3f}", "4 seeds",
    ]  # fmt: skip
    assert "corrected for the one difference here" in text
    few = compare(side(A[:2]), side(B[:2])).to_markdown()
    assert "- 2 seeds are too few" in few


def test_layers_are_written_as_layers() -> None:
    def at(layer: float, model: str) -> Report:
        where = Headline(title="Where", at="layer", kind="layer")
        return report(result("mine/a", 0.5, where, scalars={"layer": layer}), model=model)

    text = compare(at(1.0, "gru"), at(3.0, "lstm")).to_markdown()
    (row,) = (line for line in text.splitlines() if line.startswith("| Where "))
    assert [cell.strip() for cell in row.split("|")[1:5]] == ["Where", "1", "3", "+2"]


def test_json() -> None:
    content = json.loads(compare(side(A), side(B, "lstm")).to_json())
    assert content["schema"] == "mecheval.comparison/1"
    assert [each["side"] for each in content["sides"]] == ["A", "B"]
    assert content["differences"][0]["p_corrected"] == content["differences"][0]["p"]
