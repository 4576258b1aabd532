"""Whether a state is tracked: follows from the results, in old reports too; is in every table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from synthetic_reports import synthetic

from mecheval.cli.summary import summary
from mecheval.leaderboard import board, tables
from mecheval.reports.collection import collect
from mecheval.reports.comparison.compare import compare
from mecheval.reports.display import line
from mecheval.reports.files import dumps, read_report, write_report
from mecheval.reports.schema import Report
from mecheval.reports.tracking import tracking_of
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = "the model takes at most 33 positions and this length needs 65"


def report(
    last: float | None = None,
    *,
    reason: str | None = None,
    learned: bool | None = True,
    model: str = "gru",
    seed: int = 0,
) -> Report:
    """Return a report with this last-position accuracy at four times the length, if any."""
    plain = synthetic(model, seed=seed, learned=learned)
    results = list(plain.metrics)
    if last is not None or reason is not None:
        update = {"id": "last_accuracy/4x", "value": last, "reason": reason}
        results.insert(2, results[1].model_copy(update=update | {"uncertainty": None}))
    fields = {name: value for name, value in plain if name != "schema_"}
    return Report(**{**fields, "metrics": results, "tracking": None, "tracking_reason": None})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (report(0.9), (True, None)),
        (report(0.899), (False, None)),
        (report(), (None, "no test at 4 times the training length")),
        (report(reason=LIMIT), (None, LIMIT)),
        (report(1.0, learned=False), (None, "not learned")),
        (report(1.0, learned=None), (None, "not measured")),
        (report(learned=False), (None, "no test at 4 times the training length")),
    ],
)
def test_it_follows_from_behaviour(given: Report, expected: tuple[bool | None, str | None]) -> None:
    assert tracking_of(given.learned, given.metrics) == expected
    assert (given.tracking, given.tracking_reason) == expected


def test_what_others_call_accuracy_at_that_length_is_not_it() -> None:
    only = [result for result in report(0.95).metrics if result.id != "last_accuracy/4x"]
    token = only[0].model_copy(update={"id": "token_accuracy/4x"})
    assert tracking_of(True, [*only, token]).value is None


def test_reports_from_before_there_was_the_mark_have_it_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gru" / "parity@1" / "seed0.json"
    write_report(report(0.95), path)
    content = json.loads(path.read_text())
    for name in ("tracking", "tracking_reason"):
        del content[name]
    path.write_text(json.dumps(content))
    old = read_report(path, verify=True)
    assert old.tracking is True
    assert old.digest == content["digest"]
    write_report(old, path)
    assert read_report(path, verify=True).tracking is True
    assert not [check for check in validate_file(path) if check.passed is False]


def test_a_mark_that_the_results_contradict_is_refused(tmp_path: Path) -> None:
    content = json.loads(dumps(report(0.5)))
    assert content["tracking"] is False
    with pytest.raises(ValidationError, match="it is True, and by the results False"):
        Report.model_validate({**content, "tracking": True})
    path = tmp_path / "seed0.json"
    path.write_text(json.dumps({**content, "tracking": True}))
    failed = [check.detail for check in validate_file(path) if check.passed is False]
    assert any("tracking" in detail for detail in failed)


SEEDS = [report(0.95, seed=0), report(0.6, seed=1), report(0.5, learned=False, seed=2)]


def test_seeds_that_track_are_counted_as_those_that_learned() -> None:
    (group,) = collect(SEEDS)
    assert group.tracking == {0: True, 1: False, 2: None}
    assert (group.n_learned, group.n_tracking, group.untested) == (2, 1, "")
    (untested,) = collect([report(seed=0), report(reason=LIMIT, seed=1)])
    assert untested.n_tracking is None
    assert untested.untested == f"no test at 4 times the training length; {LIMIT}"
    (none,) = collect([report(0.5, learned=False, seed=seed) for seed in range(2)])
    assert none.n_tracking == 0


def test_tables_have_the_mark_where_something_was_tested() -> None:
    text = summary(SEEDS)
    assert "| Learned | Tracking |" in text.replace("  ", " ")
    assert "| 2 of 3  | 1 of 3   |" in text
    assert "still right at 4 times the length, in 0.9 of all words" in text
    assert "racking" not in summary([report(seed=0), report(seed=1)])
    single = summary(
        [report(0.95), report(0.5, model="lstm"), report(0.9, model="h3", learned=False)]
    )
    cells = [row.split("|")[-2].strip() for row in single.splitlines() if "| parity@1" in row]
    assert cells[:3] == ["yes", "no", ""]


def test_a_leaderboard_has_the_mark_in_every_form() -> None:
    built = board.build(collect([*SEEDS, report(0.95, model="lstm")]))
    text = tables.markdown(built)
    assert "| Learned | Tracking |" in text
    assert "| 2 of 3  | 1 of 3   |" in text
    assert "Tracking: whether" in text
    csv = tables.as_csv(built).splitlines()
    assert csv[0].startswith("task,version,model,recipe,seeds,learned,gate,gate_on,tracking,")
    rows = json.loads(tables.as_json(built))["tables"][0]["rows"]
    assert [(row["n_learned"], row["n_tracking"], row["untested"]) for row in rows] == [
        (2, 1, ""),
        (1, 1, ""),
    ]
    untested = board.build(collect([report(seed=0)]))
    assert "racking" not in tables.markdown(untested)
    (row,) = json.loads(tables.as_json(untested))["tables"][0]["rows"]
    assert (row["n_tracking"], row["untested"]) == (None, "no test at 4 times the training length")


def test_a_comparison_and_a_line_have_it_too() -> None:
    other = [report(0.95, model="lstm", seed=seed) for seed in range(3)]
    text = compare(SEEDS, other).to_markdown()
    assert "| Learned | Tracking |" in text
    assert "| 2 of 3  | 1 of 3   |" in text
    plain = [report(seed=seed) for seed in range(3)]
    assert "racking" not in compare(plain, [report(model="lstm", seed=0)]).to_markdown()
    assert ", tracking; token accuracy" in line(report(0.95))
    assert "tracking" not in line(report(0.5))


def test_a_data_frame_has_it_by_seed() -> None:
    frame = collect(SEEDS).to_frame()
    marks = frame.groupby("seed")["tracking"].first()
    assert marks.to_dict() == {0: True, 1: False, 2: None}
    assert set(frame["gate_on"]) == {"token"}
