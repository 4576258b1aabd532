"""Results for other programs: data sets, data frames, LaTeX with ranks, the hub."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from synthetic_reports import synthetic, write

from mecheval.cli import main
from mecheval.leaderboard.export.latex import as_latex
from mecheval.leaderboard.export.scores import ranked
from mecheval.reports.collection import collect
from mecheval.reports.collection.ranks import ALONE, NO_COMMON_SEED, ONE_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from local_hub import LocalHub

    from mecheval.reports.schema import Report

ID = "token_accuracy/1x"


def scored(
    model: str, values: Sequence[float], task: str = "parity", first: int = 0
) -> list[Report]:
    found = []
    for seed, value in enumerate(values, first):
        report = synthetic(model, task, seed)
        metrics = [
            m.model_copy(update={"value": value}) if m.id == ID else m for m in report.metrics
        ]
        found.append(report.model_copy(update={"metrics": metrics}))
    return found


def test_models_are_ranked_over_the_seeds_that_all_have() -> None:
    reports = scored("gru", [0.9, 0.91, 0.2], first=0) + scored("lstm", [0.8, 0.81], first=0)
    reports += scored("mamba", [0.7, 0.71, 0.99, 0.99])
    (ranking,) = ranked(collect(reports))
    assert ranking.seeds == (0, 1)
    assert [(each.model, each.rank) for each in ranking.ranks] == [
        ("gru", 1), ("lstm", 2), ("mamba", 3)
    ]  # fmt: skip
    assert [round(each.score or 0, 3) for each in ranking.ranks] == [0.905, 0.805, 0.705]


def test_rank_intervals_hold_what_seeds_leave_open() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.normal(0.8, 0.05, 4).tolist() for _ in range(2)]
    reports = (
        scored("gru", alike[0]) + scored("lstm", alike[1]) + scored("mamba", [0.1] * 3 + [0.11])
    )
    ranks = {each.model: each for each in ranked(collect(reports))[0].ranks}
    assert {(ranks[name].low, ranks[name].high) for name in ("gru", "lstm")} == {(1, 2)}
    assert (ranks["mamba"].rank, ranks["mamba"].low, ranks["mamba"].high) == (3, 3, 3)


def test_equal_seeds_are_no_certain_rank() -> None:
    reports = scored("gru", [0.995] * 4) + scored("lstm", [0.996] * 4)
    (ranking,) = ranked(collect(reports))
    assert [(each.rank, each.low, each.high) for each in ranking.ranks] == [(1, 1, 2), (2, 1, 2)]


def test_what_cannot_be_ranked_says_why() -> None:
    alone, apart = scored("gru", [0.9, 0.8]), scored("lstm", [0.9], first=5)
    assert [each.reason for each in ranked(collect(alone))[0].ranks] == [ALONE]
    found = ranked(collect(alone + apart))[0].ranks
    assert {(each.rank, each.reason) for each in found} == {(None, NO_COMMON_SEED)}
    one = ranked(collect(scored("gru", [0.9]) + scored("lstm", [0.8])))[0].ranks
    assert [(each.rank, each.low, each.reason) for each in one] == [
        (1, None, ONE_SEED), (2, None, ONE_SEED)
    ]  # fmt: skip


def test_several_tasks_are_ranked_over_the_models_that_have_them_all() -> None:
    reports = scored("gru", [0.9, 0.91]) + scored("gru", [0.5, 0.51], "dyck")
    reports += scored("lstm", [0.8, 0.81]) + scored("lstm", [0.7, 0.71], "dyck")
    reports += scored("mamba", [0.99, 0.98])
    overall, *_ = ranked(collect(reports))
    assert (overall.of, overall.left_out) == ("dyck@1, parity@1", ["mamba"])
    assert [(each.model, each.score, each.rank) for each in overall.ranks] == [
        ("gru", 1.5, 1.5), ("lstm", 1.5, 1.5)
    ]  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    reports = [synthetic(model, seed=seed) for model in ("gru", "lstm") for seed in (0, 1)]
    write(tmp_path / "results", *reports, synthetic("mamba", limit=8))
    return tmp_path / "results"


def export(results: Path, *flags: str) -> int:
    out = str(results.parent / "out")
    return main(["leaderboard", "export", str(results), "-o", out, *flags])


def test_the_files_hold_every_number_and_are_read_by_datasets(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", results.parent / "cache")
    assert export(results) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "partial: measured with --limit 8" in err
    folder = results.parent / "out"
    table = pd.read_csv(folder / "numbers.csv")
    datasets.disable_progress_bars()
    try:
        numbers, cells = (
            datasets.load_dataset(str(folder / "datasets"), name, split="train")
            for name in ("numbers", "cells")
        )
    finally:
        datasets.enable_progress_bars()
    assert (len(table), len(cells)) == (len(numbers), 4)
    assert table.value.dropna().tolist() == [v for v in numbers["value"] if v is not None]
    assert json.loads(cells[0]["identity"])["model"]["name"] == "gru"
    assert r"\toprule" in (folder / "tables.tex").read_text()


def test_one_format_alone_and_unknown_ones(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(results, "--to", "latex", "--quiet") == 0
    assert [path.name for path in (results.parent / "out").iterdir()] == ["tables.tex"]
    assert export(results, "--to", "latx") == 2
    assert "Did you mean 'latex'" in capsys.readouterr().err
    assert export(results, "--push-to-hub", "nobody") == 2
    assert "Write --push-to-hub OWNER/NAME" in capsys.readouterr().err
    assert export(results, "--to", "csv", "--push-to-hub", "a/b") == 2


def test_latex_obeys_nothing_in_names() -> None:
    from mecheval.leaderboard.board import build

    found = collect(scored("gru", [0.9, 0.8]) + scored(r"hf:a_b/c\input{x}%", [0.9, 0.7]))
    text = as_latex(build(found), ranked(found), "50% & more")
    assert r"hf:a\_b/c\textbackslash{}input\{x\}\%" in text
    assert r"50\% \& more" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_a_suites_cells_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(results, "--suite", "retrieval-small@1", "--to", "csv") == 1
    assert "0 of 176 cells of retrieval-small@1 count" in capsys.readouterr().err
    command = ["leaderboard", "build", str(results), "--suite", "retrieval-small@1", "-o"]
    assert main([*command, str(results.parent / "t")]) == 1
    names = {path.name for path in (results.parent / "t").iterdir()}
    assert {"retrieval-small@1.md", "retrieval-small@1.json"} <= names
    assert (
        (results.parent / "t" / "retrieval-small@1.md")
        .read_text()
        .startswith("# Leaderboard of retrieval-small@1\n")
    )


def test_the_data_sets_are_pushed_only_when_asked_for(
    results: Path, hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed = hub.accepting({})
    assert export(results, "--quiet") == 0
    assert pushed == {}
    assert export(results, "--push-to-hub", "somebody/results") == 0
    assert "Pushed to " in capsys.readouterr().err
    assert set(pushed) == {"README.md", "numbers.parquet", "cells.parquet"}
    written = results.parent / "out" / "datasets"
    assert {name: base64.b64decode(text) for name, text in pushed.items()} == {
        name: (written / name).read_bytes() for name in pushed
    }


def test_a_hub_that_cannot_be_reached_loses_nothing(
    results: Path, hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.accepting({})
    hub.cut_off()
    assert export(results, "--push-to-hub", "somebody/results") == 3
    err = capsys.readouterr().err
    assert "could not be pushed to somebody/results" in err
    assert (results.parent / "out" / "datasets" / "numbers.parquet").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from local_hub import local_hub

    with local_hub(tmp_path / "hub", monkeypatch) as found:
        yield found
