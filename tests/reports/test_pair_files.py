"""Reports of pairs as files: their schema, what they keep, and how they are told from others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from synthetic_pairs import synthetic_pair, write_pairs
from synthetic_reports import synthetic, write

from mecheval.checks import all_passed
from mecheval.reports import schema_file
from mecheval.reports.collection import load_pairs, load_results
from mecheval.reports.content import Failure
from mecheval.reports.files import dumps, find_pairs, find_reports, read_either
from mecheval.reports.pair import PAIR_SCHEMA, PairReport
from mecheval.reports.reading import ReportError, read_pair, read_report
from mecheval.reports.schema import Report
from mecheval.reports.validate import MAX_BYTES, validate_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[dict[str, Any]], object]

GRU, LSTM = synthetic("gru"), synthetic("lstm", seed=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_pairs(tmp_path, synthetic_pair(GRU, LSTM))[0]


def failure(path: Path) -> str:
    """Return the name and detail of the one check that failed."""
    failed = [check for check in validate_file(path) if check.passed is False]
    assert len(failed) == 1, [str(check) for check in failed]
    return f"{failed[0].name}: {failed[0].detail}"


def edit(path: Path, change: Change) -> None:
    """Change a report, and seal it again."""
    from mecheval.reports.canonical import digest_of

    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))


def test_the_committed_schema_is_current() -> None:
    written = schema_file.file_of(PAIR_SCHEMA)
    assert written.name == "pair.v1.json"
    assert schema_file.committed(PAIR_SCHEMA) == schema_file.generate(PAIR_SCHEMA), (
        "mecheval/reports/pair.py changed. If a field was added, run "
        "`python -m mecheval.reports.schema_file` and commit pair.v1.json; any other change needs "
        "a new schema version."
    )
    assert written.read_text() == schema_file.dumps(schema_file.committed(PAIR_SCHEMA))
    Draft202012Validator.check_schema(schema_file.committed(PAIR_SCHEMA))


def test_every_field_is_documented() -> None:
    schema = schema_file.committed(PAIR_SCHEMA)
    parts = {**schema["$defs"], "PairReport": schema}
    assert not [
        f"{name}.{field}"
        for name, part in parts.items()
        for field, of_field in part["properties"].items()
        if "description" not in of_field
    ]


@pytest.mark.parametrize(
    "pair",
    [
        synthetic_pair(GRU, LSTM),
        synthetic_pair(GRU, synthetic("lstm", learned=False)),
        synthetic_pair(synthetic("gru", limit=4), synthetic("lstm", limit=4)),
        synthetic_pair(
            GRU, LSTM, status="error", metrics=[],
            error=Failure(type="ValueError", message="no", stage="likeness", traceback=""),
        ),
    ],
)  # fmt: skip
def test_a_whole_report_passes(tmp_path: Path, pair: PairReport) -> None:
    (path,) = write_pairs(tmp_path, pair)
    assert not [str(check) for check in validate_file(path) if check.passed is False]


@pytest.mark.parametrize(
    ("change", "name", "detail"),
    [
        (lambda c: c.pop("sides"), "follows mecheval.pair/1", "'sides' is a required property"),
        (lambda c: c.update(surprise=1), "follows mecheval.pair/1", "'surprise' was unexpected"),
        (lambda c: c.update(sides=c["sides"][:1]), "follows mecheval.pair/1", "sides: "),
        (
            lambda c: c.update(sides=c["sides"][::-1]),
            "follows mecheval.pair/1",
            "their keys are not those of the identity",
        ),
        (lambda c: c.update(key="0" * 64), "key is the hash", "the hash of the identity is"),
        (lambda c: c["sides"][0].update(title="other"), "the sides are", "title 'other' is not"),
        (lambda c: c.update(task_title="dyck"), "the sides are", "'dyck' is not of 'parity'"),
        (
            lambda c: c["sides"][0]["labels"].update(model={"layers": 5}),
            "the sides are",
            ".layers is 5, and 4 in the identity",
        ),
        (lambda c: c.update(status="error"), "status fits", "error says otherwise"),
        (lambda c: c.update(metrics=[]), "status fits", "there are no metrics"),
        (lambda c: c.update(partial=True), "status fits", "contradict each other"),
        (lambda c: c["metrics"][0].update(value=2), "numbers make sense", "outside its bounds"),
        (lambda c: c["sides"][1].update(learned=False), "numbers make sense", "did not learn"),
        (lambda c: c.update(command=["x" * MAX_BYTES]), "size", "kB"),
    ],
)
def test_what_does_not_hold_is_named(path: Path, change: Change, name: str, detail: str) -> None:
    edit(path, change)
    if "layers" in detail:
        path = path.rename(path.with_name("mine.json"))  # another label would lie elsewhere
    assert failure(path).startswith(name)
    assert detail in failure(path)


def test_two_sides_that_changed_places_are_no_pair(path: Path) -> None:
    def turn(content: dict[str, Any]) -> None:
        identity = content["identity"]
        identity["a"], identity["b"] = identity["b"], identity["a"]
        content["sides"].reverse()

    edit(path, turn)
    failed = [check.name for check in validate_file(path) if check.passed is False]
    assert "the sides are those of the identity" in failed


def test_an_edit_does_not_fit_the_digest(path: Path) -> None:
    path.write_text(path.read_text().replace('"apart": 1.0', '"apart": 2.0'))
    assert failure(path).startswith("digest is that of the values")


def test_a_report_belongs_where_its_identity_says(path: Path) -> None:
    moved = path.with_name("seed7~seed8-00000000.json")
    path.rename(moved)
    assert failure(moved).startswith("path fits the identity: it should lie at pairs/parity@1/")
    mine = moved.rename(moved.with_name("mine.json"))
    assert all_passed(validate_file(mine))


def test_what_is_said_of_models_is_a_circumstance(path: Path) -> None:
    before = json.loads(path.read_text())["digest"]
    edit(path, lambda content: content["sides"][0].update(title="gru or lstm"))
    assert json.loads(path.read_text())["digest"] == before


def test_files_are_told_apart_by_what_they_say(path: Path, tmp_path: Path) -> None:
    cells = write(tmp_path, GRU, LSTM)
    tables = tmp_path / "leaderboard.json"
    tables.write_text('{"schema": "mecheval.leaderboard/2"}')
    half = path.with_name("half.json")
    half.write_text(path.read_text()[:300])
    silent = path.with_name("silent.json")
    silent.write_text("{")
    newer = path.with_name("newer.json")
    newer.write_text('{"schema": "mecheval.pair/2"}')
    assert find_reports(tmp_path) == sorted([*cells, silent])
    assert find_pairs(tmp_path) == sorted([path, half, newer])
    assert find_pairs(path) == find_reports(path) == [path]
    found = load_pairs(tmp_path)
    assert [report.key for report in found] == [read_pair(path).key]
    reasons = {item.path.rpartition("/")[2]: item.reason for item in found.refused}
    assert reasons["half.json"].startswith("invalid: is not whole JSON")
    assert "has schema 'mecheval.pair/2'; this version" in reasons["newer.json"]
    assert [item.path.rpartition("/")[2] for item in load_results(tmp_path).refused] == [
        "silent.json"
    ]


def test_what_was_changed_or_lies_twice_or_failed_does_not_count(tmp_path: Path) -> None:
    failure = Failure(type="ValueError", message="no luck", stage="likeness", traceback="")
    failed = synthetic_pair(GRU, synthetic("lstm"), status="error", metrics=[], error=failure)
    first, _, changed = write_pairs(
        tmp_path, synthetic_pair(GRU, LSTM), failed, synthetic_pair(GRU, synthetic("gru", seed=2))
    )
    changed.write_text(changed.read_text().replace('"apart": 1.0', '"apart": 2.0'))
    first.with_name("zz.json").write_text(first.read_text())
    found = load_pairs(tmp_path)
    assert len(found) == 1
    reasons = sorted(item.reason.partition(" seed")[0] for item in found.refused)
    assert reasons == [
        f"duplicate: the same pair as {first.relative_to(tmp_path).as_posix()}",
        "error: ValueError in likeness: no luck",
        "invalid: was changed after it was written: its values do not fit its digest",
    ]
    assert repr(found) == "<1 pairs of 2 models on 1 tasks, 3 refused>"


def test_one_kind_is_not_read_as_the_other(path: Path, tmp_path: Path) -> None:
    (cell,) = write(tmp_path, GRU)
    assert isinstance(read_either(path), PairReport)
    assert isinstance(read_either(cell), Report)
    with pytest.raises(ReportError, match="is of a pair of models, and what is asked takes"):
        read_report(path)
    with pytest.raises(ReportError, match="is of a single model, and what is asked takes"):
        read_pair(cell)
    for text in ('{"schema": "mecheval.pair/2"}', "[]", '{"schema": ["mecheval.pair/1"]}'):
        path.write_text(text)
        with pytest.raises(ReportError, match=r"reads 'mecheval\.report/1' and 'mecheval\.pair/1'"):
            read_either(path)


def test_a_pair_is_read_as_it_was_written() -> None:
    written = dumps(synthetic_pair(GRU, LSTM))
    assert dumps(PairReport.model_validate_json(written)) == written
