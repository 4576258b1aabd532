"""Whatever a file holds, reading it as a report ends in a report or in one sentence."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from synthetic_reports import synthetic, write

from mecheval.checks import all_passed
from mecheval.errors import UsageError
from mecheval.leaderboard.admission import admit
from mecheval.recipe import PROTOCOL
from mecheval.reports import json_files
from mecheval.reports.collection import load_results
from mecheval.reports.files import cell_key, dumps, find_reports, read_report, write_report
from mecheval.reports.reading import SEALED_FROM, ReportError
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.reports.schema import Report


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(dumps(synthetic())) | fields)


def within(*keys: str | int, value: Any) -> str:
    content = part = json.loads(dumps(synthetic()))
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return json.dumps(content)


DEEP = json.loads("[" * 500 + "]" * 500)
CONTENTS = {
    "deep": "[" * 100_000,
    "deep and closed": "[" * 100_000 + "]" * 100_000,
    "deep in a field": within("identity", "task", "params", value={"a": DEEP}),
    "deep in the environment": changed(environment={"a": DEEP}),
    "half a pair as schema": '{"schema": "\\ud800"}',
    "half a pair in a name": within("identity", "model", "name", value="\ud800"),
    "half a pair in a parameter": within("identity", "task", "params", value={"\ud800": 1}),
    "huge version": within("identity", "task", "version", value=1e308),
    "huge whole version": within("identity", "task", "version", value=10**400),
    "negative version": within("identity", "task", "version", value=-1),
    "huge seed": within("identity", "seed", value=2**80),
    "huge parameter": within("identity", "task", "params", value={"a": 10**300}),
    "infinite": within("identity", "task", "params", value={"a": "INF"}).replace('"INF"', "1e999"),
    "huge value": within("metrics", 0, "value", value=1e308),
    "more digits than are read": '{"schema": ' + "1" * 10_000 + "}",
    "not a number": within("resources", value="NAN").replace('"NAN"', "NaN"),
    "binary": bytes(range(256)).decode("latin-1"),
    "other encoding": "\u00ff\u00fe\u0000",
    "a list": "[]",
    "a schema that is a list": '{"schema": [' + "1, " * 5000 + "1]}",
    "long schema": json.dumps({"schema": "x" * 12_000}),
    "another schema": '{"schema": "mecheval.report/2"}',
    "path as key": changed(key="../../etc/passwd"),
    "digest that is none": changed(digest="x"),
    "escape in a name": within("identity", "task", "name", value="a\x1b[31m"),
    "markup in a name": within("identity", "task", "name", value="<img src=x onerror=alert(1)>"),
    "mathematics in a name": within("identity", "model", "name", value="$\\frac{$"),
    "escape in an argument": within("identity", "model", "args", value={"path": "a\x1b[31m"}),
    "override in an argument": within("identity", "task", "params", value={"a": ["\u202e"]}),
    "escape in an argument's name": within("identity", "model", "args", value={"a\x1b": 1}),
    "line in a recipe": within("identity", "recipe", value={"optimizer": "a\nb"}),
    "line at the end of a recipe": within("identity", "recipe", value={"optimizer": "a\n"}),
    "escape in a sweep": within("identity", "sweep", value={"lr": ["\x1b"]}),
    "long argument": within("identity", "model", "args", value={"path": "a" * 5000}),
    "long argument's name": within("identity", "model", "args", value={"a" * 5000: 1}),
    "deep in an argument": within("identity", "model", "args", value={"a": [{"b": "\x1b"}]}),
    "escape in what was asked for": changed(labels={"model": {"size": "\x1b[31m"}}),
    "escape in a configuration": within("metrics", 0, "config", value={"a": "\x1b[31m"}),
    "labels of another model": changed(labels={"model": {"layers": 99}}),
    "labels of another run": changed(labels={"run": {"lr": 99}}),
    "override in a title": within("metrics", 0, "title", value="a\u202eb"),
    "long title": within("metrics", 0, "title", value="a" * 5000),
    "long name": within("identity", "model", "name", value="a" * 5000),
    "line in an id": within("metrics", 0, "id", value="a\nb"),
    "control in a label": within("metrics", 0, "scalars", value={"\x00": 1}),
    "profile of another shape": within("metrics", 3, "profile", "value", value=[[1, 2], [3]]),
    "profile of words": within("metrics", 3, "profile", "value", 0, 0, value="a"),
    "profile without labels": within("metrics", 3, "profile", "index", value={}),
    "marks of another shape": within("metrics", 3, "profile", "marks", value={"trivial": [True]}),
    "empty": "",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_wrong_is_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "gru" / "parity@1" / "seed0.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENTS[name].encode("utf-8", "surrogatepass"))
    with pytest.raises(ReportError) as caught:
        read_report(path)
    said = str(caught.value)
    assert "seed0.json" in said
    assert caught.value.problem in said
    assert len(said) < 600
    assert said.isprintable()
    failed = [check for check in validate_file(path) if check.passed is False]
    assert len(failed) == 1
    assert len(failed[0].detail) < 400
    (refused,) = admit(tmp_path).refused
    assert refused.reason.startswith("invalid: ")


def test_a_report_that_both_schemas_take_passes_both(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    assert all_passed(validate_file(path))
    assert read_report(path).status == "success"


def not_files(folder: Path) -> dict[str, Path]:
    """Make things that are found under the name of a report, and are none."""
    made = {kind: folder / f"{kind}.json" for kind in ("circle", "nowhere", "pipe", "socket")}
    made["circle"].symlink_to(made["circle"])
    made["nowhere"].symlink_to(folder / "nothing")
    os.mkfifo(made["pipe"])
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(made["socket"]))
    return made | {
        "folder": folder,
        "long": folder / ("a" * 300),
        "device": type(folder)("/dev/zero"),
    }


@pytest.mark.parametrize(
    "kind", ["circle", "nowhere", "pipe", "socket", "folder", "long", "device"]
)
def test_what_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = not_files(tmp_path)[kind]
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_report(path)
    assert "None" not in str(caught.value)
    assert not all_passed(validate_file(path))


def test_a_folder_of_such_things_is_gone_through(tmp_path: Path) -> None:
    made = not_files(tmp_path)
    (tmp_path / "folder.json").mkdir()
    (good,) = write(tmp_path / "folder.json", synthetic())
    names = {path.name for path in find_reports(tmp_path)}
    assert names == {f"{kind}.json" for kind in ("circle", "nowhere", "pipe", "socket", "seed0")}
    collection = admit(tmp_path)
    refused = collection.refused
    assert collection.reports == [read_report(good)]
    assert len(refused) == 4
    with pytest.raises(UsageError, match="There is no file or folder"):
        find_reports(made["long"])


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "seed0.json"
    with path.open("wb") as file:
        file.truncate(json_files.MOST_BYTES + 1)
    monkeypatch.setattr(type(path), "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(ReportError, match="it has more than 64 MB"):
        read_report(path)


def of_protocol(number: int) -> Report:
    report = synthetic()
    identity = report.identity.model_copy(update={"protocol": number})
    return report.model_copy(update={"identity": identity, "key": cell_key(identity)})


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "value": lambda c: c["metrics"][0].update(value=0.9999),
    "a digit beyond those written": lambda c: c["metrics"][0].update(
        value=c["metrics"][0]["value"] + 1e-12
    ),
    "verdict": lambda c: c["metrics"][0].update(verdict="induction"),
    "profile": lambda c: c["metrics"][3]["profile"]["value"][0].__setitem__(0, 0.5),
    "learned": lambda c: c.update(learned=None),
    "a metric less": lambda c: c["metrics"].pop(),
    "seeds": lambda c: c.update(seeds={"init": 3}),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_change_is_seen_by_the_digest(
    edit: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match="changed after it was written"):
        read_report(path, verify=True)
    assert read_report(path).digest == content["digest"], "it can still be looked at"
    failed = [check for check in validate_file(path) if check.passed is False]
    assert "digest is that of the values" in [check.name for check in failed]


def test_what_is_written_otherwise_or_elsewhere_has_the_same_digest(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content |= {"finished": "2027-01-01", "environment": {}, "command": ["x"], "resources": {}}
    path.write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert read_report(path, verify=True).digest == content["digest"]


def test_older_reports_never_had_a_digest_and_newer_ones_cannot_have_lost_it(
    tmp_path: Path,
) -> None:
    for number, sealed in ((SEALED_FROM - 1, False), (SEALED_FROM, True), (PROTOCOL, True)):
        (path,) = write(tmp_path / str(number), of_protocol(number))
        content = json.loads(path.read_text())
        content["metrics"][0]["value"] = 0.5
        path.write_text(json.dumps(content | {"digest": None}))
        del content["digest"]
        for text in (path.read_text(), json.dumps(content)):
            path.write_text(text)
            (check,) = (c for c in validate_file(path) if c.name == "digest is that of the values")
            assert check.passed is (False if sealed else None)
            assert len(load_results(path.parent).refused) == sealed
            if sealed:
                with pytest.raises(ReportError, match="it has lost its digest"):
                    read_report(path, verify=True)
            assert read_report(path).digest is None, "it can still be looked at"


def test_writing_again_does_not_bless_a_change(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["metrics"][0]["value"] = 0.5
    path.write_text(json.dumps(content))
    write_report(read_report(path), tmp_path / "copy.json")
    with pytest.raises(ReportError, match="changed after it was written"):
        read_report(tmp_path / "copy.json", verify=True)


def test_a_changed_report_is_set_aside_when_its_cell_is_written(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["metrics"][0]["value"] = 0.5
    path.write_text(json.dumps(content))
    write(tmp_path, synthetic())
    (aside,) = path.parent.glob("seed0.stale-*.json")
    assert json.loads(aside.read_text()) == content
    assert read_report(path, verify=True).metrics[0].value != 0.5
