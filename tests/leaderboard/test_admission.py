"""What does not count is refused by name, with the reason."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

from mecheval.errors import UsageError
from mecheval.leaderboard.admission import admit
from mecheval.reports.schema import Failure


def reasons(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in admit(root).refused}


def test_whole_reports_count(tmp_path: Path) -> None:
    write(tmp_path, synthetic(seed=0), synthetic(seed=1, learned=False))
    collection = admit(tmp_path)
    assert [report.identity.seed for report in collection.reports] == [0, 1]
    assert not collection.refused


def test_partial_reports_are_refused(tmp_path: Path) -> None:
    write(tmp_path, synthetic(limit=8))
    assert reasons(tmp_path) == {
        "gru/parity@1/seed0+limit=8.json": "partial: measured with --limit 8"
    }


def test_random_weights_are_refused(tmp_path: Path) -> None:
    write(tmp_path, synthetic("gpt2", source="random"))
    assert reasons(tmp_path)["gpt2/parity@1/seed0.json"].startswith("random weights")


def test_failed_cells_are_refused(tmp_path: Path) -> None:
    failure = Failure(type="ValueError", message="no", stage="train", traceback="")
    write(tmp_path, synthetic(status="error", learned=None, metrics=[], error=failure))
    assert reasons(tmp_path) == {"gru/parity@1/seed0.json": "error: ValueError in train: no"}


def test_cells_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    write(tmp_path, synthetic(status="not_applicable", learned=None, metrics=[]))
    assert reasons(tmp_path)["gru/parity@1/seed0.json"].startswith("not applicable")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text[:100], "invalid: is not whole JSON"),
        (lambda text: text.replace('"status"', '"state"'), "invalid: "),
        (lambda text: "[]", "invalid: has no field 'schema'"),
    ],
)
def test_unreadable_reports_are_refused(tmp_path: Path, edit, reason: str) -> None:
    (path,) = write(tmp_path, synthetic())
    path.write_text(edit(path.read_text()))
    assert reasons(tmp_path)["gru/parity@1/seed0.json"].startswith(reason)


def test_reports_that_were_changed_are_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["metrics"][0]["value"] = 0.9999
    path.write_text(json.dumps(content))
    assert reasons(tmp_path)["gru/parity@1/seed0.json"].endswith("do not fit its digest")
    del content["digest"]
    path.write_text(json.dumps(content))
    assert not reasons(tmp_path), "reports of old have none"


def test_reports_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["metrics"][0]["value"] = content["digest"] = None
    path.write_text(json.dumps(content))
    assert reasons(tmp_path)["gru/parity@1/seed0.json"].startswith("invalid: numbers make sense")


def test_numbers_under_another_key_are_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    content = json.loads(path.read_text())
    content["identity"]["recipe"]["lr"], content["digest"] = 1.0, None
    path.write_text(json.dumps(content))
    assert reasons(tmp_path)["gru/parity@1/seed0.json"].startswith("invalid: key is the hash")


def test_a_copy_does_not_count_twice(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    shutil.copy(path, tmp_path / "zz_copy.json")
    collection = admit(tmp_path)
    assert len(collection.reports) == 1
    assert collection.refused[0].reason == "duplicate: the same cell as gru/parity@1/seed0.json"


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file or folder"):
        admit(tmp_path / "nowhere")
