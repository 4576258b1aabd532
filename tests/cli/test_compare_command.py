"""``mecheval compare``: what its two sides may be, and one sentence where they are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from headline_reports import report, result
from synthetic_reports import write

from mecheval.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.schema import Report


def cell(seed: int, model: str, layers: int = 4, task: str = "parity", lr: float = 0.003) -> Report:
    value = 0.5 + 0.01 * len(model) + 0.01 * seed**2 + lr
    return report(
        result("token_accuracy/1x", value, "Right"), seed=seed, model=model, task=task,
        model_args={"layers": layers}, labels={} if layers == 4 else {"layers": layers},
        recipe={"lr": lr},
    )  # fmt: skip


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    for name, reports in {
        "a": [cell(seed, model) for seed in (0, 1) for model in ("gru", "mamba")],
        "b": [cell(seed, "gru", layers=2) for seed in (0, 1)],
        "c": [cell(seed, "gru", task="dyck") for seed in (0, 1)],
        "d": [cell(seed, "mamba", lr=0.01) for seed in (0, 1)],
    }.items():
        write(folder / name, *reports)
    return folder


def compared(capsys: pytest.CaptureFixture[str], *argv: object) -> set[tuple[str, str]]:
    assert main(["compare", *map(str, argv), "--json"]) == 0
    return {(d["model"], d["task"]) for d in json.loads(capsys.readouterr().out)["differences"]}


def test_models_are_looked_up_among_results(results, capsys):
    assert compared(capsys, "gru", "gru[layers=2]") == {("gru -> gru[layers=2]", "parity@1")}


def test_recipes_are_looked_up_among_results(results, capsys):
    assert compared(capsys, "lr=0.003", "lr=1e-2") == {
        ("mamba (lr=0.003) -> mamba (lr=0.01)", "parity@1")
    }


def test_folders_are_compared(results, capsys):
    found = compared(capsys, results / "a", results / "a")
    assert found == {("gru", "parity@1"), ("mamba", "parity@1")}
    assert main(["compare", str(results / "b"), str(results / "d")]) == 0
    assert "gru[layers=2] -> mamba on parity@1" in capsys.readouterr().out


def test_tasks_may_be_chosen(results, capsys):
    both = {("gru", "parity@1"), ("gru", "dyck@1")}
    assert compared(capsys, "gru", "gru") == both
    assert compared(capsys, "gru", "gru", "--tasks", "dyck") == {("gru", "dyck@1")}
    assert compared(capsys, "gru", "gru", "--tasks", "dyck,parity@1") == both


def test_results_may_lie_elsewhere(results, capsys):
    results.rename(results.parent / "elsewhere")
    assert main(["compare", "gru", "gru"]) == 2
    assert capsys.readouterr().err == (
        "mecheval: 'gru' is no file or folder, and there is no folder results in which a model or "
        "a recipe could be looked up. Give --results one.\n"
    )
    assert compared(capsys, "gru", "gru", "--results", "elsewhere")


def test_markdown_names_gate_and_recipe(results, capsys):
    assert main(["compare", "gru", "gru[layers=2]"]) == 0
    printed = capsys.readouterr()
    assert "2 of 2 (gate 0.99)" in printed.out
    assert "adamw, learning rate 0.003" in printed.out
    assert "| Right  |" in printed.out
    assert printed.err == ""


def test_what_does_not_count_is_named(results, capsys):
    (results / "broken.json").write_text("{")
    for argv in (["gru", "mamba"], ["results", "./results"]):
        assert main(["compare", *argv]) == 0
        err = capsys.readouterr().err
        assert "left out results/broken.json: invalid: is not whole JSON" in err
        assert err.count("\n") == 1, "once, whichever sides are looked up in it"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["gur", "gru"], "Unknown model, file or folder 'gur'. Did you mean 'gru'?"),
        (["gru", "mamba[layers=9]"], "Unknown model, file or folder 'mamba[layers=9]'"),
        (["slow", "mamba"], "One side has 2 recipes of mamba on parity@1"),
        (["gru", "gru", "--tasks", "dyck@"], "Malformed name 'dyck@'"),
        (["gru", "gru", "--tasks", "dycks"], "Unknown task 'dycks'. Did you mean 'dyck'?"),
        (["lr=7", "gru"], "was trained with 'lr=7', unless by a sweep"),
        (["gru[", "gru"], "Malformed name 'gru['"),
        (["empty", "gru"], "The folder empty holds no finished reports"),
        (["gru"], "The following arguments are required: B"),
        (["", ""], "A side is empty. Give a file or folder of reports, a model or a recipe."),
        (["gru", " "], "A side is empty."),
        (["gru", "gru", "--results", ""], "A path is empty."),
        (["gru", "gru", "--tasks", ""], "--tasks is empty."),
        (["gru", "x" * 300], "Unknown model, file or folder 'xxx"),
        (["gru", "slow/page.md"], "slow/page.md is a text for readers, and no report. Give the"),
    ],
)
def test_a_side_that_is_not_there_is_one_sentence_and_exit_2(results, argv, sentence, capsys):
    (results.parent / "empty").mkdir()
    write(results.parent / "slow", cell(0, "mamba", lr=0.1))
    (results.parent / "slow" / "page.md").write_text("# x")
    assert main(["compare", *argv]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_model_that_several_could_be_is_refused_with_their_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for layers in (2, 3):
        write(tmp_path / "results" / str(layers), cell(0, "gru", layers=layers))
    assert main(["compare", "gru", "gru[layers=2]"]) == 2
    assert "2 models in results fit 'gru': gru[layers=2], gru[layers=3]." in capsys.readouterr().err
