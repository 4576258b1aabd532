"""Networks side by side at one loss: which weights, what is flagged, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from source_files import write_source

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness.execute import planned_cells
from mecheval.harness.execute_pairs import planned_pairs
from mecheval.harness.matched_loss import flagged, weights_of, with_snapshots
from mecheval.harness.pair_cell import run_pair
from mecheval.harness.pair_plan import Asked
from mecheval.harness.recordings import Recordings
from mecheval.harness.request import Request, Settings
from mecheval.metrics.pairs.places import draw_places
from mecheval.reports.files import find_pairs, find_reports, read_pair, read_report
from mecheval.reports.pair_matrix import matrices_of
from mecheval.reports.validate import validate_file
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = {"steps": 24, "check_every": 4, "batch": 8, "lr": 1e-2}
MODELS = ["gru[layers=1,width=8]", "lstm[layers=1,width=8]"]
METRIC = "representation_similarity[n=24,depths=1]"
LOSSES = (5.9, 5.1)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_source(tmp_path_factory.mktemp("source"), 12)
    sizes = "kilobytes=40,max_length=12,min_length=12,vocabulary=256"
    return f"text[folder={folder},{sizes},longer=[]]"


@pytest.fixture(scope="module")
def measured(task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure two models at two losses; the cache lies beside the results."""
    root = tmp_path_factory.mktemp("measured") / "results"
    mecheval.similarity(
        MODELS, task, output=root, recipe=RECIPE, metrics=[METRIC, "language"],
        at_loss=LOSSES, snapshots=5, limit=24, cache=root.parent / "cache",
    )  # fmt: skip
    return root


def pairs(root: Path):
    return [read_pair(path, verify=True) for path in find_pairs(root / "pairs")]


def test_the_weights_are_those_nearest_to_the_loss(measured: Path) -> None:
    cells = {(r := read_report(path)).key: r for path in find_reports(measured)}
    assert {pair.identity.at_loss for pair in pairs(measured)} == set(LOSSES)
    for pair in pairs(measured):
        for side in pair.sides:
            along = {s.step: s.validation_loss for s in cells[side.key].snapshots}
            distance = {step: abs(loss - pair.identity.at_loss) for step, loss in along.items()}
            assert along[side.step] == side.validation_loss
            assert distance[side.step] == min(distance.values())
        a, b = (side.validation_loss for side in pair.sides)
        assert pair.losses_apart == abs(a - b)
    steps = {loss: {s.step for p in pairs(measured) if p.identity.at_loss == loss for s in p.sides}
             for loss in LOSSES}  # fmt: skip
    assert max(steps[LOSSES[0]]) < min(steps[LOSSES[1]])


def test_the_curve_is_of_other_weights_at_every_loss(measured: Path) -> None:
    by_loss = {loss: [p for p in pairs(measured) if p.identity.at_loss == loss] for loss in LOSSES}
    assert [len(found) for found in by_loss.values()] == [1, 1]
    values = [sorted(p.metrics[0].value for p in found) for found in by_loss.values()]
    assert not set(values[0]) & set(values[1])
    for matrix in matrices_of(pairs(measured)):
        assert matrix.task.endswith(("at loss 5.9", "at loss 5.1"))
        assert all(len(entry.values) == 1 for entry in matrix.entries.values())
    for path in find_pairs(measured / "pairs"):
        assert all(check.passed is not False for check in validate_file(path))


def test_a_snapshot_is_another_artefact_than_the_end(measured: Path, task: str) -> None:
    request = Request(
        models=(parse_spec(MODELS[0]),), tasks=(parse_spec(task),), recipe=RECIPE, snapshots=5,
        limit=24, settings=Settings(cache=measured.parent / "cache"),
    )  # fmt: skip
    (cell,) = planned_cells([request])
    places = draw_places(mecheval.load_task(task), 4, 3)
    first, middle, end = (Recordings(cell, 1, step=step) for step in (0, 12, None))
    streams = [of.streams(places, [1])[0] for of in (first, middle, end)]
    assert not np.allclose(streams[0], streams[1])
    assert not np.allclose(streams[1], streams[2])
    np.testing.assert_array_equal(Recordings(cell, 1, step=24).streams(places, [1])[0], streams[2])
    untrained = [of.streams(places, [1], trained=False)[0] for of in (middle, end)]
    np.testing.assert_array_equal(*untrained)
    np.testing.assert_array_equal(streams[0], untrained[0])


def test_losses_that_are_apart_are_flagged(measured: Path) -> None:
    pair = pairs(measured)[0]
    sides = [
        side.model_copy(update={"validation_loss": loss})
        for side, loss in zip(pair.sides, (2.50, 2.56), strict=True)
    ]
    (result,) = flagged(pair.metrics[:1], sides, None)
    assert "0.06 nats per token apart" in result.warnings[-1]
    (result,) = flagged(pair.metrics[:1], sides, 2.5)
    assert "nearest to loss 2.5 have 2.560" in result.warnings[-1]
    near = [sides[0], sides[1].model_copy(update={"validation_loss": 2.54})]
    assert flagged(pair.metrics[:1], near, 2.52) == pair.metrics[:1]
    unknown = [sides[0], sides[1].model_copy(update={"validation_loss": None})]
    assert flagged(pair.metrics[:1], unknown, None) == pair.metrics[:1]
    (matrix, *_) = matrices_of([pair.model_copy(update={"metrics": [result]})])
    assert any("1 pairs on text" in note and "apart" in note for note in matrix.notes)


def test_the_command_and_what_it_shows(measured: Path, task: str, capsys) -> None:
    recipe = [f"{field}={value}" for field, value in RECIPE.items()]
    argv = [
        "similarity", "-m", *MODELS, "-t", task, "-o", str(measured), "-j", "1",
        "--recipe", *recipe, "--limit", "24", "--cache", str(measured.parent / "cache"),
        "--metrics", METRIC, "language", "--snapshots", "5",
    ]  # fmt: skip
    assert main([*argv, "--at-loss", "5.9,5.1", "--dry-run", "--json"]) == 0
    rows = [*map(json.loads, capsys.readouterr().out.splitlines())]
    assert [row["state"] for row in rows] == ["cached"] * 2
    assert rows[0]["task"].endswith("at loss 5.9")
    assert main(["show", rows[0]["report"]]) == 0
    shown = capsys.readouterr().out
    assert "losses apart: " in shown
    assert " at step " in shown
    for given, sentence in {"zero": "'zero' is no number", "-1": "give nats per token"}.items():
        assert main([*argv, f"--at-loss={given}"]) == 2
        assert sentence in capsys.readouterr().err


def test_what_has_no_losses_is_refused(measured: Path) -> None:
    with pytest.raises(UsageError, match="Trainings on parity are followed by accuracy"):
        mecheval.similarity(["gru", "lstm"], "parity", at_loss=0.2)
    with pytest.raises(UsageError, match="With steps=0 nothing is trained"):
        mecheval.similarity(["gru", "lstm"], "text", at_loss=2.5, recipe={"steps": 0})
    with pytest.raises(UsageError, match="at_loss is 'low'"):
        mecheval.similarity(["gru", "lstm"], "text", at_loss="low")
    report = read_report(find_reports(measured)[0])
    assert weights_of(report.model_copy(update={"snapshots": []}), 2.5) is None


def test_snapshots_are_kept_where_a_loss_is_asked_for() -> None:
    (request,) = with_snapshots([Request(models=(), tasks=())], [2.5])
    assert request.snapshots == 16
    (request,) = with_snapshots([Request(models=(), tasks=(), snapshots=4)], [2.5])
    assert request.snapshots == 4
    (request,) = with_snapshots([Request(models=(), tasks=())], [])
    assert request.snapshots is None


def test_a_cell_without_losses_ends_its_pairs_alone(measured: Path, task: str) -> None:
    request = Request(
        models=tuple(map(parse_spec, MODELS)), tasks=(parse_spec(task),), recipe=RECIPE,
        snapshots=5, limit=24, settings=Settings(cache=measured.parent / "cache"),
    )  # fmt: skip
    _, _, (pair,) = planned_pairs([request], Asked([parse_spec(METRIC)], [5.1]))
    by_key = {(r := read_report(path)).key: r for path in find_reports(measured)}
    a, b = (by_key[cell.key] for cell in pair.cells)
    for reports, sentence in (
        ((a, b.model_copy(update={"snapshots": []})), "has no losses along its training"),
        ((a.model_copy(update={"status": "error", "snapshots": []}), b), "could not be measured"),
    ):
        report = run_pair(replace(pair, reports=reports), lambda _: None)
        assert report.status == "error"
        assert sentence in report.error.message
