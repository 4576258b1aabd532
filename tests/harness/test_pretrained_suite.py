"""The suite of pretrained models, on tiny ones that a hub on this machine has under their names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from harness_runs import numbers
from hf_families import build
from hf_tokenizers import byte_tokenizer
from local_hub import local_hub
from source_files import write_source

from mecheval.api import evaluate_suite
from mecheval.cli import main
from mecheval.harness.building import build_task
from mecheval.harness.measures import metrics_on
from mecheval.harness.plan import plan
from mecheval.harness.suites import load_suite
from mecheval.registry import Registry
from mecheval.reports.files import read_report
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_hub import LocalHub

    from mecheval.reports.schema import Report

SUITE = "formal-pretrained"
PYTHIA = {"num_hidden_layers": 2, "max_position_embeddings": 2048}
REPOSITORIES = {
    "EleutherAI/pythia-160m": ("step143000", "gpt_neox", PYTHIA),
    "EleutherAI/pythia-410m": ("main", "gpt_neox", {**PYTHIA, "hidden_size": 48}),
    "state-spaces/mamba-130m-hf": ("main", "mamba", {"num_hidden_layers": 2}),
}
MODELS = {"pythia-160m@step143000", "pythia-410m@main", "mamba-130m@main"}
TASKS = ("parity", "dyck", "brackets")
TUNED = 'tasks = ["parity", "dyck"]'
ANYWHERE = ("behaviour", "recovery", "readability", "exchange")
ERASED = "bottleneck[erasers=[class_mean,row_space,direction,inlp]]"
LONGER = [f"bottleneck[eraser=direction,length={times},mlp=false]" for times in (2, 4)]
MEASURED = {
    "parity": {*ANYWHERE, ERASED, *LONGER},
    "dyck": {*ANYWHERE, ERASED, *LONGER},
    "brackets": {*ANYWHERE, ERASED},
}
"""The ids of all metrics of the suite, by task."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Write a tiny checkpoint for every repository; give them by revision."""
    tasks = [build_task(parse_spec(name), Registry()) for name in TASKS]
    tokenizer = byte_tokenizer([text for task in tasks for text in task.strings])
    found = {}
    for name, (revision, family, changes) in REPOSITORIES.items():
        folder = tmp_path_factory.mktemp(family)
        rows = len(tokenizer) + 8  # more than there are tokens, as in the real ones
        module: Any = build(family, vocab_size=rows, **changes)
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found[name] = {revision: folder}
    return found


@pytest.fixture
def hub(
    checkpoints: dict[str, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalHub]:
    """Serve them; workers find what was downloaded, and nothing else."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with local_hub(tmp_path / "hub", monkeypatch) as found:
        found(checkpoints)
        yield found


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[dict[str, str]], str]:
    """Write the suite with other text in some places; give its file."""

    def write(by_text: dict[str, str]) -> str:
        text = load_suite(SUITE).path.read_text(encoding="utf-8")
        for old, new in by_text.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "own.toml").write_text(text, encoding="utf-8")
        return str(tmp_path / "own.toml")

    return write


def check_whole(report: Report, measured: set[str]) -> None:
    """Check that a report has all results of all metrics, and a reason where there is no value."""
    task = build_task(parse_spec(report.identity.task.name), Registry())
    assert (report.status, report.error, report.learned) == ("success", None, True)
    assert {result.metric for result in report.metrics} == measured
    parts: dict[str, set[str]] = {}
    for result in report.metrics:
        parts.setdefault(result.metric, set()).add(result.id.rpartition("]")[2].rpartition("/")[2])
        assert (result.value is None) == bool(result.reason), result.id
        assert result.value is not None or not result.reason.startswith("not applicable"), result.id
    for metric, found in parts.items():
        if metric.startswith(("readability", "bottleneck", "exchange")):
            assert found >= set(task.variables), metric


def test_it_can_be_planned_where_the_hub_is(hub: LocalHub) -> None:
    suite = load_suite(SUITE)
    tuned, frozen = ([*plan(request)] for request in suite.requests())
    assert len(tuned) + len(frozen) == suite.n_cells
    assert {cell.model_title for cell in tuned} == MODELS == {cell.model_title for cell in frozen}
    assert {cell.identity.model.source for cell in tuned} == {"pretrained"}
    assert {(cell.recipe.steps, cell.recipe.gate_on) for cell in tuned} == {(2000, "last")}
    assert {(cell.recipe.steps, cell.recipe.gate) for cell in frozen} == {(0, 0.0)}
    assert not [cell.notes for cell in (*tuned, *frozen) if cell.notes]
    for cell in (*tuned, *frozen):
        task = build_task(parse_spec(cell.identity.task.name), Registry())
        asked = [metric.id for metric in metrics_on(task, cell.metrics, Registry())]
        assert (len(asked), set(asked)) == (len(set(asked)), MEASURED[cell.identity.task.name])


def test_every_grid_runs_and_every_null_has_its_reason(
    hub: LocalHub,
    changed: Callable[[dict[str, str]], str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = write_source(tmp_path_factory.mktemp("source"))
    brief = {
        '"pythia-160m", "pythia-410m", "mamba-130m"': '"mamba-130m"',
        TUNED: TUNED + "\nrecipe = { steps = 3, gate = 0.0 }",
        '"parity", "dyck"': '"parity"',
        ",inlp]": "]",  # it takes most of the time
        '"brackets"': f'"brackets[folder={folder},max_length=32,min_length=32]"',
    }
    suite = changed(brief)
    reports = evaluate_suite(suite, [0], limit=8, output=tmp_path / "results", device="cpu")
    assert [report.error for report in reports] == [None, None]
    assert [report.training.steps for report in reports if report.training] == [3, 0]
    for report in reports:
        shorter = ERASED.replace(",inlp", "")
        measured = MEASURED[report.identity.task.name] - {ERASED} | {shorter}
        check_whole(report, measured)
    hub.cut_off()
    again = evaluate_suite(suite, [0], limit=8, output=tmp_path / "results", device="cpu")
    assert [report.finished for report in again] == [report.finished for report in reports]


@pytest.mark.slow
def test_the_whole_of_it_from_the_command_line(
    hub: LocalHub,
    changed: Callable[[dict[str, str]], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learning = TUNED + "\nrecipe = { steps = 150, lr = 1e-2, gate = 0.0 }"
    suite = changed({TUNED: learning, "seeds = [0, 1, 2, 3]": "seeds = [0]"})
    results, tables = tmp_path / "results", tmp_path / "tables"
    monkeypatch.chdir(tmp_path)
    argv = ["run", "--suite", suite, "--output", str(results), "--jobs", "1", "--device", "cpu"]
    assert main(argv) == 0
    reports = [read_report(path) for path in sorted(results.rglob("seed*.json"))]
    assert len(reports) == 9
    steps = {report.identity.task.name: report.identity.recipe["steps"] for report in reports}
    assert steps == {"parity": 150, "dyck": 150, "brackets": 0}
    for report in reports:
        check_whole(report, MEASURED[report.identity.task.name])
    known = {r.metric for report in reports for r in report.metrics if r.value is not None}
    assert known == set().union(*MEASURED.values())

    before = numbers(results)
    capsys.readouterr()
    hub.cut_off()
    assert main([*argv, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 9
    assert numbers(results) == before

    assert main(["leaderboard", "build", str(results), "--output", str(tables)]) == 0
    assert "refused" not in capsys.readouterr().err
    table = (tables / "leaderboard.md").read_text(encoding="utf-8")
    assert all(model in table for model in MODELS)
    assert main(["leaderboard", "claims", suite, str(results)]) == 0
    claims = capsys.readouterr().out
    assert "not measured" not in claims
    assert "no report has the result" not in claims
    assert "no cell has a number" not in claims
    assert "1 of 4 seeds" in claims
    assert main(["report", str(results), "--output", str(tables / "report.md")]) == 0
    pictures = {path.name for path in tables.glob("*.png")}
    for figure in ("dyck@1-state-top", "brackets@1-layers-readability", "all-tasks-lateness"):
        assert any(figure in name for name in pictures), figure
