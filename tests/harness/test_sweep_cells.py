"""Cells with a sweep, with snapshots, and cells that are trained together."""

from __future__ import annotations

import pytest
from harness_runs import numbers

import mecheval
from mecheval.errors import UsageError
from mecheval.harness.companions import with_companions
from mecheval.harness.plan import plan
from mecheval.harness.request import Request, Settings
from mecheval.reports.files import cell_key, find_reports, read_report
from mecheval.reports.schema import Identity
from mecheval.reports.validate import validate_file
from mecheval.spec import parse_spec

BRIEF = {"limit": 16, "metrics": ["recovery"], "device": "cpu"}
RECIPE = {"steps": 20, "check_every": 10, "batch": 8}
TINY = "transformer[layers=1,width=16]"


def request(models: str = "lstm", tasks: str = "parity", **changes) -> Request:
    return Request(
        models=tuple(map(parse_spec, models.split())),
        tasks=tuple(map(parse_spec, tasks.split())),
        **changes,
    )


def test_the_member_that_is_best_on_validation_is_measured(tmp_path):
    sweep = {"lr": [1e-9, 1e-2]}
    recipe = {**RECIPE, "steps": 150}
    report = mecheval.evaluate(
        "lstm[layers=1]", "parity", sweep=sweep, recipe=recipe, output=tmp_path, **BRIEF
    )[0]
    assert report.identity.sweep == sweep
    assert report.training is not None
    low, high = report.training.sweep
    assert (low.chosen, high.chosen) == (False, True)
    assert low.validation_accuracy < high.validation_accuracy
    assert high.validation_accuracy == report.training.validation_accuracy
    assert (low.values, high.values) == ({"lr": 1e-9}, {"lr": 1e-2})
    plain = mecheval.evaluate("lstm[layers=1]", "parity", recipe={**recipe, "lr": 1e-2}, **BRIEF)[0]
    assert plain.metrics == report.metrics
    assert plain.training is not None
    assert plain.training.weights_sha256 == report.training.weights_sha256
    path = find_reports(tmp_path)[0]
    assert "sweep.lr=1e-09~0.01" in path.name
    assert all(check.passed is not False for check in validate_file(path))


def test_an_identity_without_a_sweep_hashes_as_before_there_were_sweeps():
    identity = Identity.model_validate({
        "protocol": 1,
        "task": {"name": "parity", "version": 1, "params": {"rate": 0.5, "length": 16.0}},
        "model": {"name": "lstm", "args": {"layers": 1}, "source": "scratch"},
        "recipe": {"lr": 0.01, "steps": 20}, "metrics": [], "seed": 0, "dtype": "float32",
    })  # fmt: skip
    assert cell_key(identity) == "58c67a2683cac4657f156ad3aebeac843f55fd46b182a15b1013f4de90349c9c"
    asked = (
        {}, {"sweep": {}}, {"sweep": {"lr": [1e-3]}}, {"sweep": {"lr": [1e-3, 1e-2]}},
        {"snapshots": 2}, {"snapshots": 3},
    )  # fmt: skip
    assert len({plan(request(**changes))[0].key for changes in asked}) == 5


def test_a_sweep_of_which_all_diverge_is_a_report_and_the_others_go_on(tmp_path):
    reports = mecheval.evaluate(
        "lstm[layers=1]", ["parity", "z6"], sweep={"lr": [1e37, 1e38]}, recipe=RECIPE,
        output=tmp_path, snapshots=2, **BRIEF,
    )  # fmt: skip
    assert [report.status for report in reports] == ["success", "success"]
    for report in reports:
        assert report.learned is False
        assert report.training is not None
        assert report.training.stopped == "diverged"
        assert not any(run.chosen for run in report.training.sweep)
        assert all("diverged" in run.reason for run in report.training.sweep)
        assert {metric.value for metric in report.metrics} == {None}
        assert {metric.name for metric in report.metrics} == {"behaviour", "recovery"}
        reasons = {metric.reason for metric in report.metrics}
        assert reasons == {report.training.reason}
        assert "every run of the sweep diverged" in reasons.pop()
        assert report.snapshots == []
    for path in find_reports(tmp_path):
        assert all(check.passed is not False for check in validate_file(path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sweep": {"lrr": [1.0]}}, "Unknown argument 'lrr' of recipe. Did you mean 'lr'?"),
        ({"sweep": {"lr": [1e-3]}, "recipe": {"lr": 1e-2}}, "'lr' is both set and swept"),
        ({"sweep": {"lr": []}}, "lists no values"),
        ({"sweep": {"lr": [1e-3]}, "recipe": {"steps": 0}}, "Model 'lstm' is not trained"),
        ({"snapshots": 2, "recipe": {"steps": 0}}, "so --snapshots has nothing to do"),
        ({"snapshots": 1}, "give --snapshots at least 2"),
        ({"settings": Settings(ensemble=0)}, "give --ensemble a number of at least 1"),
    ],
)
def test_what_can_be_wrong_with_a_request(changes, sentence):
    with pytest.raises(UsageError) as caught:
        plan(request(**changes))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_and_titles_name_the_sweep(tmp_path):
    cell = plan(request(sweep={"lr": [1e-3, 3e-3]}, snapshots=4, output=tmp_path))[0]
    assert cell.path.name == "seed0+snapshots=4,sweep.lr=0.001~0.003.json"
    assert cell.model_title == "lstm (best lr)"


def test_metrics_are_followed_along_training(tmp_path):
    report = mecheval.evaluate(
        "lstm[layers=1,width=16]", "parity", snapshots=3, output=tmp_path,
        recipe={"steps": 160, "check_every": 40, "lr": 1e-2, "stop_at": 1.5, "gate": 0.0,
                "gate_on": "token"}, **BRIEF,
    )[0]  # fmt: skip
    first, middle, last = report.snapshots
    assert [snapshot.step for snapshot in report.snapshots] == [0, 80, 160]
    assert first.validation_accuracy < last.validation_accuracy
    assert middle.validation_accuracy == report.training.curve[1][2]
    ids = [metric.id for metric in report.metrics]
    for snapshot in report.snapshots:
        assert [result.id for result in snapshot.metrics] == ids
    for result, metric in zip(last.metrics, report.metrics, strict=True):
        assert (result.value, result.reason) == (metric.value, metric.reason)
    untrained = mecheval.evaluate(
        "lstm[layers=1,width=16]", "parity", recipe={"steps": 0, "gate": 0.0}, **BRIEF
    )[0]
    assert [result.value for result in first.metrics] == [m.value for m in untrained.metrics]
    path = find_reports(tmp_path)[0]
    assert read_report(path) == report
    assert all(check.passed is not False for check in validate_file(path))


def test_snapshots_have_no_gate():
    report = mecheval.evaluate(
        "lstm[layers=1,width=16]", "parity", snapshots=2, recipe=RECIPE, **BRIEF
    )[0]
    assert report.learned is False
    for snapshot in report.snapshots:
        reasons = [result.reason or "" for result in snapshot.metrics]
        assert not any(reason.startswith("not learned") for reason in reasons)
    assert report.snapshots[-1].metrics[0].value == report.metrics[0].value


def test_seeds_are_trained_together_where_that_is_asked_for(tmp_path):
    def run(name, **settings):
        return mecheval.evaluate(
            TINY, "parity", seeds=[0, 1, 2], recipe=RECIPE, output=tmp_path / name,
            cache=tmp_path / f"cache {name}", **settings, **BRIEF,
        )  # fmt: skip

    alone, together = run("alone"), run("together", ensemble=8)
    assert [report.identity.seed for report in together] == [0, 1, 2]
    assert [report.training.together for report in alone] == [1, 1, 1]
    assert [report.training.together for report in together] == [3, 3, 3]
    for one, other in zip(alone, together, strict=True):
        assert one.key == other.key
        losses = [[loss for _, loss, _ in report.training.curve] for report in (one, other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert numbers(tmp_path / "alone").keys() == numbers(tmp_path / "together").keys()


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, [(0, (1, 2, 3)), (1, ()), (2, ()), (3, ())]),
        (2, [(0, (2,)), (1, (3,)), (2, ()), (3, ())]),
        (9, [(0, ()), (1, ()), (2, ()), (3, ())]),
    ],
)
def test_the_first_of_a_group_trains_the_others(workers, expected):
    settings = Settings(device="cuda")
    cells = plan(request(seeds=(0, 1, 2, 3), settings=settings))
    found = with_companions(cells, workers=workers)
    assert [(cell.identity.seed, cell.companions) for cell in found] == expected


def test_what_is_trained_together():
    def companions(tasks="parity", models="lstm gru", **changes):
        cells = plan(request(models, tasks, seeds=(0, 1), **changes))
        return [cell.companions for cell in with_companions(cells, workers=1)]

    cuda, cpu = Settings(device="cuda"), Settings(device="cpu")
    assert companions(settings=cuda) == [(1,), (1,), (), ()]
    assert companions(settings=cpu) == [()] * 4
    assert companions(settings=Settings(device="cpu", ensemble=4)) == [(1,), (1,), (), ()]
    assert companions(settings=Settings(device="cuda", ensemble=1)) == [()] * 4
    varied = "parity[min_length=4,max_length=8]"
    assert companions(varied, settings=cuda) == [()] * 4
    assert companions(models="gpt2[weights=random]", settings=cuda) == [(), ()]
    staged = {"curriculum": [0.5, 1.0]}
    assert companions(settings=cuda, recipe=staged) == [()] * 4
