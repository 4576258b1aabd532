"""Keys and paths are pure functions of a cell; reports are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_reports import synthetic

from mecheval.errors import StorageError, UsageError
from mecheval.reports import files
from mecheval.reports.files import Labels, cell_key, find_reports, read_report, report_path, slug
from mecheval.reports.schema import (
    Identity,
    MetricIdentity,
    ModelPart,
    Report,
    TaskIdentity,
)


def identity(**changes) -> Identity:
    parts = {
        "protocol": 1,
        "task": TaskIdentity(name="parity", version=1, params={"max_length": 16, "rate": 0.5}),
        "model": ModelPart(name="lstm", args={"layers": 2}, source="scratch"),
        "recipe": {"lr": 0.001, "clip": 1.0},
        "metrics": [MetricIdentity(name="behaviour", version=1, params={})],
        "seed": 0,
        "dtype": "float32",
    }
    return Identity(**{**parts, **changes})


def report(**changes) -> Report:
    chosen = changes.pop("identity", None) or identity()
    parts = {
        "key": cell_key(chosen),
        "status": "success",
        "partial": False,
        "learned": True,
        "created": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:01+00:00",
        "identity": chosen,
    }
    return Report(**{**parts, **changes})


def test_a_key_ignores_how_a_number_is_written():
    assert cell_key(identity(recipe={"lr": 1e-3, "clip": 1})) == cell_key(identity())
    assert cell_key(identity(recipe={"clip": 1.0, "lr": 0.001})) == cell_key(identity())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"limit": 10},
        {"dtype": "float64"},
        {"recipe": {"lr": 0.001, "clip": True}},
        {"recipe": {"lr": 0.0010000001, "clip": 1.0}},
        {"protocol": 2},
    ],
)
def test_a_key_sees_everything_else(changes):
    assert cell_key(identity(**changes)) != cell_key(identity())


def test_fields_that_came_later_leave_older_keys_as_they_are():
    content = {
        "protocol": 1, "seed": 0, "dtype": "float32", "limit": None,
        "task": {"name": "parity", "version": 1, "params": {"max_length": 16, "rate": 0.5},
                 "sample_sha256": None},
        "model": {"name": "lstm", "args": {"layers": 2}, "source": "scratch", "revision": None,
                  "commit": None, "weights_sha256": None, "file_sha256": None},
        "recipe": {"lr": 0.001, "clip": 1},
        "metrics": [{"name": "behaviour", "version": 1, "params": {}}],
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert cell_key(identity()) == hashlib.sha256(text.encode()).hexdigest()
    edited = MetricIdentity(name="behaviour", version=1, params={}, file_sha256="a" * 64)
    assert cell_key(identity(metrics=[edited])) != cell_key(identity())


def test_a_key_survives_writing_and_reading(tmp_path):
    path = tmp_path / "seed0.json"
    files.write_report(report(), path)
    assert cell_key(read_report(path).identity) == cell_key(identity())


def test_the_default_path():
    assert report_path(Path("r"), identity()) == Path("r/lstm/parity@1/seed0.json")


def test_the_path_of_what_differs():
    labels = Labels(
        model={"width": 64, "layers": 4},
        task={"noop_rate": 0.25},
        run={"limit": 100, "metrics": ["recovery", "readability"], "fast": True},
    )
    assert report_path(Path("r"), identity(), labels) == Path(
        "r/lstm+layers=4,width=64/parity@1+noop_rate=0.25/"
        "seed0+fast=true,limit=100,metrics=recovery~readability.json"
    )


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("pythia-160m", "pythia-160m"),
        ("local/toy", "local--toy"),
        ("local--toy", "local-toy-"),
        ("hf:org/name", "hf-org-name-"),
        ("hf:/tmp/a b/c", "hf-tmp-a-b-c-"),
        ("..", "-"),
    ],
)
def test_folder_names(name, folder):
    assert slug(name).startswith(folder)
    assert (slug(name) == folder) == (not folder.endswith("-"))


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_folder_names_are_safe_and_do_not_collide(left, right):
    assert "/" not in slug(left)
    assert slug(left) not in (".", "..")
    assert len(slug(left)) <= 100
    assert (slug(left) == slug(right)) == (left == right)


@given(st.text(max_size=300), st.text(max_size=300))
def test_arguments_in_paths_are_safe_and_do_not_collide(left, right):
    labels = [Labels.model_construct(model={"a": text}) for text in (left, right)]
    first, second = (report_path(Path("r"), identity(), each) for each in labels)
    assert len(first.parts) == 4
    assert all(len(part) < 200 for part in first.parts)
    assert (first == second) == (left == right)


def test_a_report_says_first_what_matters(tmp_path):
    path = tmp_path / "a" / "seed0.json"
    files.write_report(report(), path)
    text = path.read_text()
    assert text.endswith("}\n")
    first = ["schema", "status", "learned", "partial", "key", "digest", "identity"]
    assert list(json.loads(text))[:7] == first
    assert list(json.loads(text)["identity"])[:3] == ["model", "task", "seed"]
    assert [file.name for file in path.parent.iterdir()] == ["seed0.json"]


def test_the_results_of_a_metric_stand_before_their_evidence():
    metric = json.loads(files.dumps(synthetic()))["metrics"][-1]
    assert list(metric)[:3] == ["id", "title", "value"]
    assert list(metric)[-3:] == ["profile", "profiles", "units"]


def test_equal_reports_are_equal_bytes():
    turned = dict(reversed(synthetic().environment.items()))
    assert files.dumps(synthetic(environment=turned)) == files.dumps(synthetic())


def test_a_report_is_short_enough_to_read():
    """With one number a line, this one would have 859 lines."""
    text = files.dumps(synthetic())
    assert text.count("\n") < 330
    long = [line for line in text.splitlines() if len(line) > 100]
    assert all(line.endswith(("],", "]")) for line in long), "only rows of numbers are long"


def test_numbers_of_profiles_have_ten_digits():
    metric = synthetic().metrics[3]
    assert metric.profile
    cut = metric.profile.model_copy(update={"value": [1 / 3, None, [2 / 3]]})
    written = json.loads(
        files.dumps(synthetic(metrics=[metric.model_copy(update={"profile": cut})]))
    )
    assert written["metrics"][0]["profile"]["value"] == [0.3333333333, None, [0.6666666667]]


def test_what_is_stored_is_what_is_read(tmp_path):
    path = tmp_path / "seed0.json"
    files.write_report(synthetic(), path)
    assert files.as_stored(synthetic()) == read_report(path)
    assert files.dumps(read_report(path)) == path.read_text()


def test_reports_written_otherwise_are_read_as_before(tmp_path):
    path = tmp_path / "seed0.json"
    old = json.loads(files.dumps(synthetic()))
    path.write_text(json.dumps(old, sort_keys=True, indent=1))
    assert read_report(path) == files.as_stored(synthetic()).model_copy(update={"digest": None})


def test_not_a_number_becomes_null(tmp_path):
    path = tmp_path / "seed0.json"
    files.write_report(report(resources={"seconds": float("nan")}), path)
    assert json.loads(path.read_text())["resources"] == {"seconds": None}


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "seed0.json"
    files.write_report(report(), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"seed0\.json \(No space left.*Free some space"):
        files.write_report(report(learned=False), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["seed0.json"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/seed0\.json.*Give another folder with --output"):
        files.write_report(report(), tmp_path / "file" / "seed0.json")


def test_a_report_of_another_cell_is_set_aside(tmp_path):
    path = tmp_path / "seed0.json"
    older = report(identity=identity(metrics=[MetricIdentity(name="m", version=0, params={})]))
    files.write_report(older, path)
    files.write_report(report(), path)
    assert read_report(path).key == report().key
    assert read_report(tmp_path / f"seed0.stale-{older.key[:8]}.json").key == older.key
    assert find_reports(tmp_path) == [path]


def test_a_report_of_the_same_cell_is_replaced(tmp_path):
    path = tmp_path / "seed0.json"
    files.write_report(report(status="error"), path)
    files.write_report(report(), path)
    assert read_report(path).status == "success"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unreadable_report_is_set_aside(tmp_path):
    path = tmp_path / "seed0.json"
    path.write_text("{")
    files.write_report(report(), path)
    assert (tmp_path / "seed0.stale-unreadab.json").read_text() == "{"


def test_reports_are_found_in_order_without_what_is_hidden(tmp_path):
    for name in ("b/seed0.json", "a/seed1.json", ".locks/x.json", "a/.seed1.json.0.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = find_reports(tmp_path)
    assert found == [tmp_path / "a/seed1.json", tmp_path / "b/seed0.json"]
    assert find_reports(found[0]) == [found[0]]
    with pytest.raises(UsageError, match="There is no file or folder"):
        find_reports(tmp_path / "nowhere")


def test_tables_among_reports_are_no_reports(tmp_path):
    tables = tmp_path / "tables" / "leaderboard.json"
    tables.parent.mkdir()
    tables.write_text(json.dumps({"refused": [], "schema": "mecheval.leaderboard/1", "tables": []}))
    files.write_report(report(), tmp_path / "seed0.json")
    newer = tmp_path / "seed1.json"
    newer.write_text('{"schema": "mecheval.report/2"}')
    (tmp_path / "seed2.json").write_text('{"schema": "mecheval.rep')
    assert [path.name for path in find_reports(tmp_path)] == [f"seed{i}.json" for i in range(3)]
    assert find_reports(tables) == [tables]  # a file that is named is not left out


def changed(**changes) -> str:
    content = json.loads(files.dumps(report()))
    for name, value in changes.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (files.dumps(report())[:200], "seed0.json is not whole JSON"),
        ("", "seed0.json is not whole JSON"),
        ("[]", "has no field 'schema'"),
        (changed(schema="mecheval.report/2"), "has schema 'mecheval.report/2'"),
        (changed(schema=None), "has no field 'schema'"),
        (changed(status=None), "lacks the field 'status'"),
        (changed(identity={}), "lacks the field 'identity.model'"),
        (changed(extra=1), "has an unknown field 'extra'"),
        (changed(status="fine"), "has a wrong field 'status'"),
    ],
)
def test_what_is_wrong_with_a_report_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "seed0.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_report(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_report_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.json cannot be read \(No such file"):
        read_report(tmp_path / "nothing.json")
