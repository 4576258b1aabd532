"""Reports as one thing: what belongs together, numbers over seeds, data frames."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from headline_reports import report, result, seeds
from scipy.stats import t as student
from synthetic_reports import synthetic, write

import mecheval
from mecheval.errors import UsageError
from mecheval.reports.collection import collect, load_results
from mecheval.reports.collection.numbers import Number, difference
from mecheval.reports.schema import Failure, Headline, MetricIdentity, Profile

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.schema import Report

ID = "token_accuracy/1x"


def only(reports):
    (group,) = collect(reports).groups
    return group


def test_a_folder_is_grouped_by_model_task_and_recipe(tmp_path: Path) -> None:
    write(tmp_path, synthetic(seed=1), synthetic(seed=0), synthetic(task="dyck"))
    write(tmp_path / "small", synthetic(model_args={"layers": 2}))
    write(tmp_path / "faster", synthetic(recipe={"optimizer": "adamw", "lr": 0.01}))
    found = mecheval.load_results(tmp_path)
    assert {(str(group), group.seeds) for group in found} == {
        ("gru[layers=4] on parity@1 (lr=0.003)", (0, 1)), ("gru[layers=4] on dyck@1", (0,)),
        ("gru[layers=4] on parity@1 (lr=0.01)", (0,)), ("gru[layers=2] on parity@1", (0,)),
    }  # fmt: skip
    assert repr(found) == "<5 reports in 4 groups: 2 models, 2 tasks, seeds 0-1>"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"task_params": {"max_length": 8}}, {"limit": 8}, {"source": "random"},
        {"recipe": {"lr": 1.0}}, {"model_args": {"layers": 5}}, {"model": "lstm"},
    ],
)  # fmt: skip
def test_what_decides_numbers_separates(changes) -> None:
    assert len(collect([synthetic(), synthetic(seed=1, **changes)])) == 2


@pytest.mark.parametrize(
    "changes", [{"protocol": 9}, {"dtype": "float64"}, {"sweep": {"lr": [0.1]}}]
)
def test_what_decides_numbers_besides_separates(changes) -> None:
    plain = synthetic()
    other = plain.model_copy(update={"identity": plain.identity.model_copy(update=changes)})
    groups = collect([plain, other.model_copy(update={"key": "f" * 64})]).groups
    assert len(groups) == 2
    assert len({str(group) for group in groups}) == 2


def test_metrics_and_snapshots_do_not_separate() -> None:
    plain = synthetic()
    changes = {"metrics": [], "snapshots": 4, "seed": 1}
    other = plain.model_copy(update={"identity": plain.identity.model_copy(update=changes)})
    assert only([plain, other]).seeds == (0, 1)


def test_only_finished_reports_count_and_others_are_named(tmp_path: Path) -> None:
    failure = Failure(type="ValueError", message="no", stage="train", traceback="")
    write(
        tmp_path, synthetic(seed=0), synthetic(seed=1, status="error", metrics=[], error=failure),
        synthetic("lstm", status="not_applicable", learned=None, metrics=[]),
    )  # fmt: skip
    shutil.copy(tmp_path / "gru/parity@1/seed0.json", tmp_path / "zz_copy.json")
    (tmp_path / "broken.json").write_text("{")
    found = load_results(tmp_path)
    assert {item.path: item.reason.partition(" (")[0] for item in found.refused} == {
        "broken.json": "invalid: is not whole JSON",
        "gru/parity@1/seed1.json": "error: ValueError in train: no",
        "lstm/parity@1/seed0.json": "not applicable: the model cannot do this task",
        "zz_copy.json": "duplicate: the same cell as gru/parity@1/seed0.json",
    }
    assert repr(found).endswith("seeds 0, 4 refused>")
    with pytest.raises(UsageError, match="no file or folder"):
        load_results(tmp_path / "nowhere")


def test_over_seeds_there_are_a_mean_and_a_t_interval() -> None:
    values = [0.90, 0.94, 0.98, 0.99]
    got = only(seeds(*values)).number(ID)
    half = student.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert got.mean == pytest.approx(np.mean(values))
    assert (got.low, got.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert (got.over, got.method, got.n, got.n_seeds) == ("seed", "t", 4, 4)


def test_intervals_end_where_the_number_does() -> None:
    reports = [report(result(ID, value, bounds=(0.0, 1.0)), seed=s)
               for s, value in enumerate((0.5, 1.0))]  # fmt: skip
    got = only(reports).number(ID)
    assert (got.low, got.high) == (0.0, 1.0)
    assert only(seeds(0.5, 1.0)).number(ID).high > 1.0


def test_a_single_seed_has_the_interval_of_its_report() -> None:
    got = only(seeds(0.9)).number(ID)
    assert (got.low, got.high) == pytest.approx((0.85, 0.95))
    assert (got.over, got.method) == ("sequence", "bootstrap")


def test_equal_seeds_have_the_hull_of_their_reports_intervals() -> None:
    reports = [report(result(ID, 1.0, width=width), seed=s) for s, width in enumerate((0.1, 0.2))]
    got = only(reports).number(ID)
    assert (got.low, got.high, got.over) == (0.8, 1.2, "sequence")
    bare = [report(result(ID, 1.0, width=0), seed=seed) for seed in range(3)]
    assert (only(bare).number(ID).low, only(bare).number(ID).over) == (None, None)


def test_missing_values_are_counted_with_their_reasons() -> None:
    found = only([*seeds(0.9, None), report(seed=2)]).number(ID)
    assert (found.n, found.n_seeds, found.mean) == (1, 3, 0.9)
    assert found.reasons == {1: "no gap: 0.01", 2: "not measured"}
    assert only(seeds(None)).number(ID).mean is None


def test_verdicts_are_counted() -> None:
    reports = [report(result("mechanism", 0.9, verdict=word), seed=seed)
               for seed, word in enumerate(("direct", "induction", "induction"))]  # fmt: skip
    group = only([*reports, report(result("mechanism", None), seed=3)])
    found = group.number("mechanism", "verdict")
    assert list(found.verdicts.items()) == [("induction", 2), ("direct", 1)]
    assert (found.n, found.n_seeds, found.reasons) == (3, 4, {3: "no gap: 0.01"})
    assert group.verdicts("mechanism") == found.verdicts


def test_learned_is_counted_beside_its_gate() -> None:
    group = only([synthetic(seed=0), synthetic(seed=1, learned=False)])
    assert (group.n_learned, group.learned, group.gate) == (1, {0: True, 1: False}, None)
    assert only([report(learned=None)]).learned == {0: None}
    assert only([report()]).gate == 0.99


def test_reports_of_one_seed_are_one_where_they_hold_other_metrics() -> None:
    first = report(result(ID, 0.9))
    more = report(result("recovery/state", 0.4), key="f" * 64)
    group = only([first, more])
    assert group.seeds == (0,)
    assert group.number(ID).mean == 0.9
    assert group.number("recovery/state").mean == 0.4


def test_versions_of_a_metric_are_never_mixed() -> None:
    old, new = (result(ID, value, version=v) for v, value in ((1, 0.1), (2, 0.9)))
    group = only([report(old, seed=0), report(new, seed=1)])
    got = group.number(ID)
    assert got.values == {1: 0.9}
    assert got.reasons == {0: "measured with version 1: other seeds with version 2"}
    both = only([report(old), report(new, key="f" * 64)])
    assert both.number(ID).values == {0: 0.9}


def test_files_of_a_metric_are_never_mixed() -> None:
    def made(value: float, file: str, seed: int, finished: str) -> Report:
        whole = report(result("mine", value, "Mine"), seed=seed, finished=finished)
        metric = MetricIdentity(name="mine", version=1, params={}, file_sha256=file * 64)
        identity = whole.identity.model_copy(update={"metrics": [metric]})
        return whole.model_copy(update={"identity": identity})

    group = only([made(0.1, "a", 0, "2026-01-01"), made(0.9, "b", 1, "2026-01-02")])
    got = group.number("mine")
    assert got.values == {1: 0.9}
    assert got.reasons == {0: "measured with another file of the metric than the latest seed"}


def test_differences_are_paired_by_seed() -> None:
    a, b = (only(seeds(*values)) for values in ((0.9, 0.8, 0.7), (0.8, 0.6, 0.3)))
    got = a.minus(b, ID)
    assert got.values == pytest.approx({0: 0.1, 1: 0.2, 2: 0.4})
    assert a.minus(only(seeds(0.8, 0.6)), ID).reasons.keys() == {2}


def test_the_interval_of_a_difference_is_what_two_leave_open() -> None:
    left = Number(0.5, 0.4, 0.6, "sequence", "wilson", (0.0, 1.0))
    right = Number(0.9, 0.8, 1.0, "sequence", "wilson", (0.0, 1.0))
    assert difference(left, right)[:3] == pytest.approx((0.4, 0.2, 0.6))
    assert difference(left, right).bounds == (-1.0, 1.0)
    assert difference(left, Number(reason="no gap")).reason == "no gap"
    assert difference(left, Number(0.9)).low is None


def test_profiles_over_seeds() -> None:
    profiles = [
        Profile(
            axes=["layer"], index={"layer": [0, 1, 2]}, value=[value, 0.5, None],
            low=[0.0, 0.4, None], high=[1.0, 0.6, None],
            marks={"trivial": [True, value > 0.3, False]}, series={"floor": [0.1, 0.2, 0.3]},
        )
        for value in (0.2, 0.4)
    ]  # fmt: skip
    group = only([report(result(ID, 0.9, profile=p), seed=s) for s, p in enumerate(profiles)])
    found = group.profile(ID)
    assert found is not None
    np.testing.assert_allclose(found.mean_X, [0.3, 0.5, np.nan])
    half = student.ppf(0.975, 1) * 0.1
    np.testing.assert_allclose(found.low_X, [0.3 - half, np.nan, np.nan])
    np.testing.assert_array_equal(found.n_X, [2, 2, 0])
    np.testing.assert_array_equal(found.marks["trivial"], [True, False, False])
    assert found.values_SX.shape == (2, 3)
    floor = group.profile(ID, series="floor")
    assert floor is not None
    np.testing.assert_allclose(floor.mean_X, [0.1, 0.2, 0.3])
    single = only([report(result(ID, 0.9, profile=profiles[0]))]).profile(ID)
    assert single is not None
    np.testing.assert_allclose(single.high_X, [1.0, 0.6, np.nan])
    assert group.profile("nothing") is None
    assert group.profile(ID, "nothing") is None


def test_selecting() -> None:
    found = collect(
        [
            report(model="mamba", labels={}, model_args={"layers": 4, "width": 8}),
            report(model="mamba", labels={"layers": 2}, model_args={"layers": 2, "width": 8}),
            report(model="mamba", labels={"layers": 2}, task="dyck",
                   model_args={"layers": 2, "width": 8}, recipe={"lr": 0.01}),
        ]
    )  # fmt: skip

    def titles(**chosen):
        return [str(group) for group in found.select(**chosen)]

    assert titles(model="mamba") == ["mamba on parity@1"], "what was asked for by just this name"
    assert titles(model="mamba[width=8]") == [str(group) for group in found]
    assert titles(model="mamba[layers=2]") == ["mamba[layers=2] on parity@1",
                                               "mamba[layers=2] on dyck@1"]  # fmt: skip
    assert titles(model="gru") == []
    assert titles(task="dyck") == titles(task="dyck@1") == ["mamba[layers=2] on dyck@1"]
    assert titles(task="dyck@2") == []
    assert titles(task="parity[max_length=16]") == titles(task="parity")
    assert titles(recipe={"lr": 1e-2}) == ["mamba[layers=2] on dyck@1"]
    with pytest.raises(UsageError, match="Malformed name"):
        found.select(model="mamba[")


def test_a_recipe_that_was_swept_is_not_selected_by_its_default() -> None:
    plain = report()
    identity = plain.identity.model_copy(update={"sweep": {"lr": [0.003, 0.01]}})
    swept = plain.model_copy(update={"identity": identity, "key": "f" * 64})
    assert len(collect([plain, swept]).select(recipe={"lr": 0.003})) == 1


def test_the_data_frame_has_a_row_per_number() -> None:
    whole = result(ID, 0.9, references={"floor": 0.5}, scalars={"cost": None}, verdict="induction")
    frame = collect([report(whole, seed=3), *seeds(None)]).to_frame()
    assert list(frame.columns) == [
        "model", "task", "recipe", "seed", "metric", "result", "path", "value", "low", "high", "n",
        "verdict", "reason", "learned", "gate", "gate_on", "tracking", "reproduced",
    ]  # fmt: skip
    assert list(frame.path[frame.seed == 3]) == ["", "floor", "cost"]
    assert list(frame.value[frame.seed == 3].fillna(-1)) == [0.9, 0.5, -1]
    first = frame[(frame.seed == 3) & (frame.path == "")].iloc[0]
    assert (first.model, first.metric, first.result, first.verdict, first.n, first.learned) == (
        "gru", "token_accuracy", ID, "induction", 64, True
    )  # fmt: skip
    assert (first.low, first.high) == pytest.approx((0.85, 0.95))
    assert frame[frame.seed == 0].iloc[0].reason == "no gap: 0.01"
    assert frame.value.dtype == float
    assert (first.recipe, first.gate) == ("adamw, learning rate 0.003", 0.99)
    both = collect([report(whole, recipe={"clip": clip}) for clip in (1, 2)]).to_frame()
    assert list(both.recipe.unique()) == [
        f"adamw, learning rate 0.003 (clip={clip})" for clip in (1, 2)
    ]
    assert len(collect([]).to_frame()) == 0


def test_the_data_frame_may_hold_profiles() -> None:
    (one,) = collect([synthetic()]).groups
    frame = collect([synthetic()]).to_frame(profiles=True)
    row = frame[frame.path == "profile=grid layer=2 position=7"].iloc[0]
    assert row.value == one.number("recovery/block_in", row.path).mean


def test_a_notebook_shows_tables_and_runs_nothing() -> None:
    evil = "hf:<img src=x onerror=alert(1)>"
    reports = [
        report(result(ID, 0.5, Headline(title=evil)), seed=0, model=evil),
        report(result(ID, None, reason=evil), seed=1, model=evil),
    ]
    html = collect(reports)._repr_html_()
    assert "<table>" in html
    assert "<img" not in html
    assert "&lt;img" in html


def test_values_that_were_changed_by_hand_do_not_count(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["metrics"][0]["value"] = 0.9999
    path.write_text(json.dumps(content))
    (refused,) = load_results(tmp_path).refused
    assert refused.reason.endswith("do not fit its digest")


def test_a_checkpoint_whose_folder_was_renamed_is_one_model() -> None:
    def of(name: str, seed: int, weights: str = "a") -> Report:
        plain = synthetic(name, seed=seed)
        changes = {"commit": "sha256:" + "c" * 64, "weights_sha256": weights * 64}
        model = plain.identity.model.model_copy(update=changes)
        return plain.model_copy(
            update={"identity": plain.identity.model_copy(update={"model": model})}
        )

    assert str(only([of("hf:old", 0), of("hf:new", 1)])) == "hf:new on parity@1"
    two = collect([of("hf:ckpt", 0), of("hf:ckpt", 1, weights="b")])
    assert len({group.name.model for group in two}) == 2


def test_old_reports_have_no_labels_and_load(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    del content["labels"], content["digest"]
    for metric in content["metrics"]:
        metric.pop("headline")
        metric.pop("metric")
        metric.pop("units")
    path.write_text(json.dumps(content))
    found = load_results(tmp_path)
    assert not found.refused
    assert found.columns
