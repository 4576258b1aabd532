"""``mecheval show``: cards of tasks, models, metrics and reports."""

import json
import re
from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

from mecheval.cli import main
from mecheval.cli.docs import attributes, parameters
from mecheval.cli.printing import print_card
from mecheval.metrics import configured_metric
from mecheval.registry import Registry
from mecheval.reports import grid_checks
from mecheval.spec import Spec, parse_assignments


def card(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["show", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    shown = card(capsys, "task", "dyck[k=3]")
    assert shown["version"] == 1
    assert shown["source"].partition(":")[0].endswith("task_registry/dyck.py")
    values = {parameter["name"]: parameter for parameter in shown["parameters"]}
    assert values["k"] == {"name": "k", "value": 3, "doc": "Number of bracket types, 1 to 4."}
    assert values["max_length"]["doc"].startswith("Most symbols of a training sequence")
    assert shown["answers"] == [".", ")", "]", "}"]
    assert shown["variables"] == {"depth": "5 values", "top": "4 values"}
    assert shown["floors"]["last4"] > shown["floors"]["majority"] > shown["chance"]
    assert shown["mechanisms"] == ["recovery", "readability", "bottleneck", "exchange"]


@pytest.mark.parametrize("name", ["gru", "pythia-160m", "mamba[size=formal]"])
def test_a_model(capsys: pytest.CaptureFixture[str], name: str) -> None:
    shown = card(capsys, "model", name)
    assert all(shown[field] for field in ("summary", "architecture", "reference", "source", "size"))
    assert {"optimizer", "lr", "steps"} <= {field["name"] for field in shown["recipe"]}
    assert all(field["doc"] for field in (*shown["parameters"], *shown["recipe"]))


def test_a_size_changes_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    shown = card(capsys, "model", "gru[size=formal]")
    values = {parameter["name"]: parameter["value"] for parameter in shown["parameters"]}
    assert (shown["size"], values["width"]) == ("formal", 128)


@pytest.mark.parametrize("name", [e.name for e in Registry().entries("metric")])
def test_a_metric(capsys: pytest.CaptureFixture[str], name: str) -> None:
    shown = card(capsys, "metric", name)
    metric = configured_metric(Spec(name), Registry())
    assert shown["version"] == metric.card.version
    values = {parameter["name"]: parameter["value"] for parameter in shown["parameters"]}
    assert values == metric.params
    assert all(parameter["doc"] for parameter in shown["parameters"])
    assert shown["measures"]
    titles = shown["columns"]
    assert len(titles) == len(set(titles)) > 0
    assert not [title for title in titles if "{" in title or "PART" in title]
    file, line = shown["source"].split(":")
    source = Path(file).read_text().splitlines()
    base = type(metric).__base__
    assert base
    assert source[int(line) - 1] == f"class {type(metric).__name__}({base.__name__}):"


@pytest.mark.parametrize("entry", [e.name for e in Registry().entries("task")])
def test_every_parameter_of_every_task_is_documented(entry: str) -> None:
    documented = parameters(Registry().load("task", entry))
    assert not [parameter["name"] for parameter in documented if not parameter["doc"]]


@pytest.mark.parametrize("name", [e.name for e in Registry().entries("metric")])
def test_every_parameter_is_shown_as_it_is_given(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["show", "metric", name]) == 0
    shown = re.findall(r"^  (\w+) = (.*)$", capsys.readouterr().out, re.MULTILINE)
    params = configured_metric(Spec(name), Registry()).params
    assert [key for key, _ in shown] == list(params)
    for key, value in shown:
        assert parse_assignments(f"{key}={value}") == {key: params[key]}


def test_columns_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "metric", "recovery"]) == 0
    assert (
        "columns:\n  midway, by the stream\n  gone from the token at layer\n"
        "  at the readout at layer\n  midway, by the memory\n  of layer\n"
        "  midway, by COMPONENT\nparameters:\n"
    ) in capsys.readouterr().out
    assert main(["show", "metric", "bottleneck"]) == 0
    out = capsys.readouterr().out
    assert "columns: VARIABLE: information lost by erasing, VARIABLE: costliest at layer\n" in out
    assert "\n  variables = []\n" in out


def test_a_parameter_that_is_none_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_card({"parameters": [{"name": "most", "value": None}]}, as_json=False)
    assert capsys.readouterr().out == "parameters:\n  most = none\n"


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "task", "parity"]) == 0
    out = capsys.readouterr().out
    assert "  noop_rate = 0.5\n      Probability of the identity;" in out
    assert "symbols: <bos>, 0, 1\n" in out
    assert main(["show", "metric", "recovery"]) == 0
    assert "measures:\n  Share of the clean-corrupted gap" in capsys.readouterr().out


def test_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic("lstm", "dyck", learned=False))
    assert main(["show", "report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "model: lstm[layers=4]" in out
    assert "learned: no" in out
    assert "| readability/top" in out
    assert "not learned: token accuracy 0.612" in out
    assert card(capsys, "report", str(path))["identity"]["model"]["name"] == "lstm"


def test_a_report_without_a_gate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic("lstm", recipe={"optimizer": "adamw", "gate": 0.0}))
    assert main(["show", "report", str(path)]) == 0
    assert "learned: not asked (no gate)" in capsys.readouterr().out


def test_a_report_says_how_far_its_grids_can_be_relied_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = synthetic("lstm", "parity")
    (path,) = write(tmp_path / "without", report)
    assert main(["show", "report", str(path)]) == 0
    assert grid_checks.CAPTION not in capsys.readouterr().out
    beside = {"split_half": 0.81, "split_half_corrected": 0.895, "distance_rank_patch": 0.97}
    metrics = [
        result.model_copy(update={"scalars": beside}) if result.name == "recovery" else result
        for result in report.metrics
    ]
    (path,) = write(tmp_path / "with", report.model_copy(update={"metrics": metrics}))
    assert main(["show", "report", str(path)]) == 0
    out = capsys.readouterr().out
    assert grid_checks.CAPTION in out
    table = out.partition(grid_checks.CAPTION)[2]
    assert [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]] == [
        *grid_checks.HEADERS
    ]
    assert re.search(r"\| recovery/block_in +\| 0\.810 +\| 0\.895 +\| 0\.97 ", table)


@pytest.mark.parametrize(
    ("name", "field"),
    [("gru", "model"), ("dyck[k=3]", "task"), ("recovery", "metric"), ("demo", "suite")],
)
def test_what_a_name_stands_for_is_found_out(
    capsys: pytest.CaptureFixture[str], name: str, field: str
) -> None:
    assert card(capsys, name) == card(capsys, field, name)
    assert field in card(capsys, name)


def test_a_file_is_a_report_and_a_folder_many(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (path, _) = write(tmp_path, synthetic("lstm"), synthetic("gru", seed=1))
    assert card(capsys, str(path)) == card(capsys, "report", str(path))
    for words in ([str(tmp_path)], ["folder", str(tmp_path)], ["report", str(tmp_path)]):
        assert main(["show", *words]) == 0
        out = capsys.readouterr().out
        assert "| lstm" in out
        assert "| gru" in out
    assert main(["show", str(tmp_path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["model"] for row in rows} == {"lstm", "gru"}


def test_a_name_of_several_things_is_asked_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "demo", synthetic())
    assert main(["show", "demo"]) == 2
    assert capsys.readouterr().err == (
        "mecheval: 'demo' is a suite and a folder. Write `mecheval show suite demo` or "
        "`mecheval show folder demo`.\n"
    )
    assert main(["show", "folder", "demo"]) == 0
    assert main(["show", "demo/"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model"], "`mecheval show model` needs a name"),
        (
            ["grau"],
            "'grau' is no task, model, metric or suite, and no file or folder. Did you mean",
        ),
        (["nowhere.json"], "no file or folder"),
        (["tsk", "dyck"], "Unknown kind 'tsk'. Did you mean 'task'?"),
        (["task", "dyck", "gru"], "shows one thing, not 3"),
        (["task", "dick"], "Unknown task 'dick'. Did you mean 'dyck'?"),
        (["task", "dyck[depth=2]"], "Unknown argument 'depth' of dyck"),
        (["task", "dyck[k=2"], "Malformed name"),
        (["model", "grau"], "Unknown model 'grau'. Did you mean 'gru'?"),
        (["parity@7"], "There is no version '7' of task 'parity': it has version 1."),
        (["behaviour@0"], "There is no version '0' of metric 'behaviour'"),
        (["metric", "recovry"], "Unknown metric 'recovry'. Did you mean 'recovery'?"),
        (["report", "nowhere.json"], "cannot be read"),
    ],
)
def test_unknown_names_are_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["show", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_attributes_are_read_from_docstrings() -> None:
    text = "A thing.\n\nAttributes:\n    one: First\n        line.\n    two: Second.\n\nNotes: x."
    assert attributes(text) == {"one": "First line.", "two": "Second."}
    assert attributes("A thing.") == {}
