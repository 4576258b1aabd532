"""What is checked of results: files, keys, suites, pairs, and cells that are measured again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from synthetic_pairs import synthetic_pair, write_pairs
from synthetic_reports import synthetic, write

import mecheval
from mecheval.cli import main
from mecheval.harness.devices import Devices
from mecheval.harness.events import Silence
from mecheval.harness.planned_again import planned_again
from mecheval.harness.request import Settings
from mecheval.leaderboard.check import rerun
from mecheval.leaderboard.check.keys import PLANNED, check_keys
from mecheval.leaderboard.check.rerun import Way, chosen_by_hash, measure_again
from mecheval.leaderboard.check.submission import COUNTS, MARK, SIDES, read_submission
from mecheval.reports.files import (
    cell_key,
    find_reports,
    read_report,
    report_path,
    sealed,
    write_report,
)
from mecheval.reports.reproduced import SUFFIX, read_reproduced

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.leaderboard.check.rerun import MeasuredAgain
    from mecheval.leaderboard.check.submission import Submission

HOW: dict[str, Any] = {
    "recipe": {"steps": 2, "batch": 4},
    "metrics": ["behaviour[n=16,n_longer=16]"],
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    model = "gru[layers=1,width=8]"
    mecheval.evaluate(model, "parity", seeds=[0, 1], output=folder / "results", **HOW)
    return folder / "results"


@pytest.fixture
def results(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "results")


def failures(folder: Path) -> dict[str, str]:
    submission, checked = read_submission(folder)
    planned = planned_again(submission.cells.values(), Settings())
    checked += check_keys(submission, planned, Settings())
    return {c.check.name: c.check.detail for c in checked if c.check.passed is False}


def again(folder: Path, n: int | None = None, by: str = "") -> list[MeasuredAgain]:
    submission, _ = read_submission(folder)
    planned = planned_again(submission.cells.values(), Settings())
    chosen, found = chosen_by_hash(submission, planned, n), []
    way = Way(Settings(), Devices("cpu"), None, by)
    measure_again(chosen, submission, way, listener=Silence(), heard=found.append)
    return found


def changed(folder: Path, value: float, *, seal: bool = True) -> Path:
    """Change the first number of the first report, perhaps with a digest that fits."""
    path = find_reports(folder)[0]
    report = read_report(path)
    first, *rest = report.metrics
    metrics = [first.model_copy(update={"value": value, "units": []}), *rest]
    report = report.model_copy(update={"metrics": metrics})
    path.unlink()
    write_report(sealed(report) if seal else report, path)
    return path


def test_what_was_measured_here_passes(results: Path) -> None:
    assert failures(results) == {}


def test_an_edit_is_found_by_its_digest(results: Path) -> None:
    changed(results, 0.75, seal=False)
    assert "digest is that of the values" in failures(results)


def test_a_forged_digest_is_found_by_measuring_again(results: Path) -> None:
    path = changed(results, 0.75)
    assert failures(results) == {}
    found = {each.chosen.path: each.again for each in again(results, by="somebody")}
    assert [bool(each and each.passed) for each in found.values()].count(True) == 1
    judged = found[path]
    assert judged
    assert "/1x].value was 0.75 and is " in str(judged)
    assert not (path.with_name(path.name.removesuffix(".json") + SUFFIX)).exists()


def test_what_comes_out_again_is_marked_and_shown(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = again(results, 1, by="the maintainers")
    assert found.again
    assert found.again.passed
    assert found.again.rule == "equal"
    assert found.mark
    record, problem = read_reproduced(found.mark)
    assert record, problem
    (execution,) = record.executions
    assert (execution.by, execution.n_equal) == ("the maintainers", execution.n_numbers)
    assert failures(results) == {}
    assert main(["leaderboard", "build", str(results), "-o", str(results.parent / "t")]) == 0
    table = capsys.readouterr().out
    assert "| Reproduced |" in table
    assert "1 of 2" in table
    assert "by the maintainers on " in table
    (row,) = json.loads((results.parent / "t" / "leaderboard.json").read_text())["tables"][0][
        "rows"
    ]
    assert [each["by"] for each in row["reproduced"]] == ["the maintainers"]
    assert main(["show", str(found.chosen.path)]) == 0
    assert "reproduced: by the maintainers" in capsys.readouterr().out
    assert main(["show", str(results)]) == 0
    assert "Reproduced: gru" in capsys.readouterr().out
    assert mecheval.load_results(results).to_frame().reproduced.sum() > 0


def test_a_mark_of_another_report_does_not_count(results: Path) -> None:
    (found,) = again(results, 1, by="me")
    again(results, 1, by="me, too")
    assert found.mark
    record, _ = read_reproduced(found.mark)
    assert record
    assert [each.by for each in record.executions] == ["me", "me, too"]
    report = read_report(found.chosen.path)
    report = sealed(report.model_copy(update={"learned": True, "tracking": None}))
    found.chosen.path.unlink()
    write_report(report, found.chosen.path)
    assert not any(group.reproduced for group in mecheval.load_results(results))
    assert "another report" in failures(results)[MARK]


def test_the_choice_is_dealt_by_all_numbers_and_a_salt(results: Path) -> None:
    submission, _ = read_submission(results)
    many = {
        path.with_name(f"{number}.json"): report.model_copy(update={"key": f"{number:064x}"})
        for path, report in list(submission.cells.items())[:1]
        for number in range(40)
    }
    many_keys = dict.fromkeys((r.key for r in many.values()), planned(submission))
    larger = replace(submission, cells=many)

    def order(of: Submission, salt: str = "") -> list[str]:
        return [each.report.key for each in chosen_by_hash(of, many_keys, None, salt=salt)]

    assert order(larger) == order(larger)
    assert order(larger) == order(replace(submission, cells=dict(reversed(many.items()))))
    assert order(larger) != order(larger, salt="17")
    path, report = next(iter(many.items()))
    other = {**many, path: report.model_copy(update={"digest": "f" * 64})}
    assert order(larger) != order(replace(submission, cells=other))
    assert len(chosen_by_hash(larger, many_keys, 3)) == 3


def planned(submission: Submission) -> Any:
    return next(iter(planned_again(submission.cells.values(), Settings()).values()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": 8}, "partial"),
        ({"source": "planted"}, "planted weights"),
        ({"model": "grue"}, "Unknown model 'grue'"),
        ({"version": 7}, "task.version is 7 in the report and 1 here"),
    ],
)
def test_what_does_not_count_or_is_planned_otherwise(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    params = {"max_length": 16}
    write(tmp_path / "r", synthetic(**{"task_params": params, **change}))
    found = failures(tmp_path / "r")
    assert said in found.get(COUNTS, "") + found.get(PLANNED, "")


def test_what_is_planned_otherwise_is_named_with_both_values(results: Path, tmp_path: Path) -> None:
    report = read_report(find_reports(results)[0])
    task = report.identity.task.model_copy(update={"version": 7})
    identity = report.identity.model_copy(update={"task": task})
    report = report.model_copy(update={"identity": identity, "key": cell_key(identity)})
    write_report(sealed(report), report_path(tmp_path / "r", identity, report.labels))
    said = "planned otherwise today: task.version is 7 in the report and 1 here"
    assert failures(tmp_path / "r")[PLANNED] == said


def test_the_cells_of_pairs_must_be_there_and_as_the_pair_says(tmp_path: Path) -> None:
    one, other = synthetic(), synthetic("lstm")
    pair = synthetic_pair(one, other)
    write(tmp_path / "r", one, other)
    write_pairs(tmp_path / "r", pair)
    found = failures(tmp_path / "r")
    assert SIDES not in found
    assert "Unknown metric 'likeness'" in found[PLANNED]
    write(tmp_path / "s", one)
    write_pairs(tmp_path / "s", pair)
    assert "there is no report of lstm" in failures(tmp_path / "s")[SIDES]
    sides = [side.model_copy(update={"learned": None}) for side in pair.sides]
    metrics = [m.model_copy(update={"value": None, "reason": "x"}) for m in pair.metrics]
    write_pairs(tmp_path / "r", pair.model_copy(update={"sides": sides, "metrics": metrics}))
    assert "it says of gru what" in failures(tmp_path / "r")[SIDES]


def test_the_command(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = rerun.execute
    monkeypatch.setattr(rerun, "execute", lambda *a, **kw: here(*a, **{**kw, "jobs": None}))
    command = ["leaderboard", "check", str(results)]
    assert main([*command, "--rerun", "1"]) == 0
    out = capsys.readouterr().out
    assert "planned again today it has the same key: ok in 2 of 2" in out
    assert "rule: every number equal, for the same kind of machine and versions" in out
    assert out.endswith("All checks passed.\n")
    changed(results, 0.75)
    assert main([*command, "--rerun", "all", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (wrong,) = [line for line in lines if line["passed"] is False]
    first = next(number for number in wrong["numbers"] if number["where"].endswith("/1x].value"))
    assert first["reported"] == 0.75
    assert main([*command, "--suite", "retrieval-small@1", "--quiet"]) == 1
    said = "suite retrieval-small@1: all its cells are there: FAILED: 0 of 176 cells"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rerun", "0"], "--rerun is 0"),
        (["--rerun", "some"], "--rerun is 'some'; give a number of at least 1, or all"),
        (["--by", "me"], "Give --rerun N, too"),
        (["--rerun", "1", "--by", "a\nb"], "give a name on one line"),
        (["--suite", "dmeo"], "Did you mean 'demo'"),
        (["--suite", "demo@9"], "has version 1 here, not 9"),
    ],
)
def test_bad_input_is_exit_2(
    measured: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "check", str(measured), *flags]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_no_reports_are_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "check", str(tmp_path)]) == 2
    assert "holds no reports" in capsys.readouterr().err
