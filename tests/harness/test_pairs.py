"""Pairs of cells: which there are, their reports, what is kept, and what contributors can add."""

from __future__ import annotations

import json
import shutil
from collections import deque
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness.execute import planned_cells
from mecheval.harness.executor import taken
from mecheval.harness.pair_plan import plan_pairs
from mecheval.harness.request import Request, Settings
from mecheval.metrics.pairs.circuit_similarity import CircuitSimilarity
from mecheval.reports.collection import load_results
from mecheval.reports.files import find_reports, pair_key, read_pair, read_report
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TWINS = ("planted/mamba-recall", "planted/mamba-recall[shift=1]")
TASK = "ar[keys=12,values=12,pairs=6]"
NOISY = "planted/mamba-recall[noise=0.2]"
CELLS: list[Path] = []
"""The folder of the reports of the cells of all three."""

MEASURED = ("interchange", "write_offset", "circuit_similarity")
BRIEF = ("--limit", "16", "--metrics", *MEASURED, "-j", "1", "--threads", "1", "--device", "cpu")

OWN = '''
from dataclasses import dataclass
from mecheval.metrics import Column, Estimate, Layout, metric
from mecheval.metrics.pairs import PairMetric, PairSubject


@metric(name="gap", version=1, family="behaviour_of_two", scope="pair",
        headline=(Column("difference of counts"),))
@dataclass(frozen=True, kw_only=True)
class Gap(PairMetric):
    """How far apart the numbers of results of two models are."""

    def measure(self, subject: PairSubject):
        a, b = (len(side.measured) for side in subject.sides)
        BROKEN
        return [self.result(layout, Estimate(abs(a - b)), 1) for layout in self.outline(subject)]
'''


def planned(*models: str, seeds: Sequence[int] = (0, 1, 2, 3), tasks: tuple[str, ...] = ("ar",)):
    request = Request(
        models=tuple(map(parse_spec, models)), tasks=tuple(map(parse_spec, tasks)), seeds=seeds
    )
    return plan_pairs(planned_cells([request]), None)


def named(pairs) -> list[tuple[str, int, str, int]]:
    cells = [sorted((c.model_title, c.identity.seed) for c in pair.cells) for pair in pairs]
    return sorted((*a, *b) for a, b in cells)


@pytest.fixture(scope="module", autouse=True)
def _cells(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Measure the cells of all pairs once; :func:`similarity` finds them in its folder."""
    CELLS.append(tmp_path_factory.mktemp("cells"))
    models, metrics = [*TWINS, NOISY], list(MEASURED[:-1])
    mecheval.evaluate(models, TASK, output=CELLS[0], limit=16, metrics=metrics, device="cpu")


def model_title(report) -> str:
    return str(Spec(report.identity.model.name, report.labels.model))


def similarity(output: Path, *argv: str, models: Sequence[str] = TWINS) -> int:
    if not output.exists() or not any(output.iterdir()):
        for path in find_reports(CELLS[0]):
            if model_title(read_report(path)) in models:
                copied = output / path.relative_to(CELLS[0])
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copied)
    return main(["similarity", "-m", *models, "-t", TASK, "-o", str(output), *BRIEF, *argv])


def files(output: Path) -> list[Path]:
    return sorted((output / "pairs").rglob("*.json"))


def content(path: Path) -> dict:
    timed = ("created", "finished", "environment", "resources", "command")
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in timed}


def test_seeds_of_one_model_and_models_of_different_seeds() -> None:
    lstm, gru = ("gru", "lstm")
    assert named(planned("lstm", "gru", seeds=(0, 1, 2))) == sorted([
        *((name, i, name, j) for name in ("gru", "lstm") for i, j in ((0, 1), (0, 2), (1, 2))),
        *((lstm, (i + 1) % 3, gru, i) for i in range(3)),
    ])  # fmt: skip
    assert named(planned("lstm", "gru", seeds=(5,))) == [("gru", 5, "lstm", 5)]


def test_tasks_do_not_mix_and_recipes_are_models_of_their_own() -> None:
    pairs = planned("lstm", "gru", seeds=(0,), tasks=("ar", "ar[pairs=4]"))
    assert [pair.a.task_title for pair in pairs] == ["ar", "ar[pairs=4]"]
    requests = [
        Request(models=(parse_spec("lstm"),), tasks=(parse_spec("ar"),), recipe={"steps": steps})
        for steps in (10, 20)
    ]
    (pair,) = plan_pairs(planned_cells(requests), None)
    assert {cell.recipe.steps for cell in pair.cells} == {10, 20}


def test_a_task_has_the_metrics_that_fit_it() -> None:
    by_task = {task: planned("lstm", "gru", seeds=(0,), tasks=(task,)) for task in ("ar", "parity")}
    names = {task: [m.name for m in pair.identity.metrics] for task, (pair,) in by_task.items()}
    assert names == {
        "ar": [
            "circuit_similarity",
            "feature_depth",
            "feature_similarity",
            "representation_similarity",
        ],
        "parity": ["feature_depth", "feature_similarity", "representation_similarity"],
    }


def test_a_pair_has_no_order() -> None:
    ours, theirs = planned("lstm", "gru", seeds=(0,)), planned("gru", "lstm", seeds=(0,))
    assert [pair.key for pair in ours] == [pair.key for pair in theirs]
    assert ours[0].a.key < ours[0].b.key


@pytest.mark.parametrize(
    ("models", "tasks", "metrics", "sentence"),
    [
        (("lstm",), ("ar",), None, "There is no pair to compare. Give at least two models"),
        (("lstm", "gru"), ("ar",), ("recovery",), "recovery is no metric of pairs"),
        (("lstm", "gru"), ("ar",), ("nothing",), "Unknown metric 'nothing'"),
    ],
)
def test_what_cannot_be_compared_is_refused(models, tasks, metrics, sentence) -> None:
    request = Request(models=tuple(map(parse_spec, models)), tasks=tuple(map(parse_spec, tasks)))
    with pytest.raises(UsageError, match=sentence):
        plan_pairs(
            planned_cells([request]), None if metrics is None else [*map(parse_spec, metrics)]
        )


def test_workers_take_pairs_of_networks_that_nobody_is_at_work_on() -> None:
    queue, at_work, free = deque(planned("lstm", "gru", seeds=(0, 1, 2))), [], True
    while free:
        networks = {cell.key for pair in at_work for cell in pair.cells}
        left = list(queue)
        free = [p for p in left if networks.isdisjoint(cell.key for cell in p.cells)]
        at_work.append(taken(queue, at_work))
        assert at_work[-1] is (free or left)[0]
        assert list(queue) == [pair for pair in left if pair is not at_work[-1]]
    assert len(at_work) >= 3  # at least two pairs of six networks, and one that waits


def test_a_report_per_pair_and_the_same_command_keeps_it(tmp_path: Path, capsys) -> None:
    assert similarity(tmp_path) == 0
    printed = capsys.readouterr()
    assert "| 1. planted/mamba-recall" in printed.out
    assert "positions apart, value" in printed.out
    (path,) = files(tmp_path)
    report = read_pair(path, verify=True)
    assert report.key == pair_key(report.identity)
    assert [side.key for side in report.sides] == [report.identity.a, report.identity.b]
    assert report.metrics[0].scalars["positions_apart_value"] == 1
    assert report.partial
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert similarity(tmp_path) == 0
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == written
    assert "1 cells are already there, 0 to do" in capsys.readouterr().err
    assert similarity(tmp_path, "--dry-run") == 0
    assert "| cached |" in capsys.readouterr().out


def test_what_is_lost_or_changed_is_made_again(tmp_path: Path, capsys) -> None:
    assert similarity(tmp_path) == 0
    (path,) = files(tmp_path)
    before = content(path)
    path.unlink()
    assert similarity(tmp_path) == 0
    assert content(path) == before
    path.write_text(path.read_text().replace('"n_scored": ', '"n_scored": 1'))
    assert similarity(tmp_path) == 0
    assert "was changed after it was written" in capsys.readouterr().err
    assert content(path) == before
    assert [p.name for p in path.parent.iterdir() if ".stale-unreadab" in p.name]


def test_reports_of_pairs_are_none_of_cells(tmp_path: Path) -> None:
    assert similarity(tmp_path) == 0
    assert len(find_reports(tmp_path)) == 2
    assert not load_results(tmp_path).refused


def test_in_memory_as_in_a_folder(tmp_path: Path) -> None:
    kept = mecheval.similarity(list(TWINS), TASK, output=tmp_path, limit=16, metrics=list(MEASURED))
    (in_memory,) = mecheval.similarity(list(TWINS), TASK, limit=16, metrics=list(MEASURED))
    assert in_memory.metrics == kept[0].metrics
    assert in_memory.digest == kept[0].digest


def test_side_by_side_workers_give_the_same(tmp_path: Path) -> None:
    models = [*TWINS, NOISY]
    assert similarity(tmp_path / "one", models=models) == 0
    assert similarity(tmp_path / "two", "-j", "2", models=models) == 0
    ours, theirs = files(tmp_path / "one"), files(tmp_path / "two")
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert len(ours) == 3
    assert list(map(content, ours)) == list(map(content, theirs))


def test_a_contributed_metric_of_pairs(tmp_path: Path, capsys) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("BROKEN", ""))
    own = ("--include-path", str(file), "--metrics", "local/gap")
    assert similarity(tmp_path / "results", *own) == 0
    assert "difference of counts" in capsys.readouterr().out
    for path in files(tmp_path / "results"):
        by_id = {result.id: result.value for result in read_pair(path).metrics}
        assert by_id["local/gap"] == 0
    assert main(["validate", "local/gap", "-I", str(file)]) == 0
    assert "the same whichever model comes first: ok" in capsys.readouterr().out


def test_a_metric_that_fails_ends_its_pair_alone(tmp_path: Path, capsys) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("BROKEN", 'raise ValueError("out of luck")'))
    own = ("--include-path", str(file), "--metrics", "local/gap")
    assert similarity(tmp_path / "results", *own) == 1
    assert "out of luck" in capsys.readouterr().err
    (path,) = files(tmp_path / "results")
    report = read_pair(path)
    assert (report.status, report.error and report.error.type) == ("error", "ValueError")
    file.write_text(OWN.replace("BROKEN", ""))
    assert similarity(tmp_path / "results", *own) == 0


def test_a_metric_of_pairs_leaves_the_cells_of_a_suite_as_they_are(tmp_path, capsys) -> None:
    suite = tmp_path / "twins.toml"
    suite.write_text(
        'summary = "twins"\nmetrics = ["interchange"]\n'
        f"[[grid]]\nmodels = {list(TWINS)}\ntasks = ['{TASK}']\n"
    )
    argv = ["--suite", str(suite), "-o", str(tmp_path / "out"), "-j", "1", "--limit", "16"]
    assert main(["run", *argv, "--quiet"]) == 0
    assert main(["similarity", *argv, "--metrics", "circuit_similarity"]) == 0
    assert "2 cells are already there" in capsys.readouterr().err
    assert len(find_reports(tmp_path / "out")) == 2


def test_run_names_the_command_for_pairs() -> None:
    request = Request(
        models=(parse_spec("lstm"),), tasks=(parse_spec("ar"),),
        metrics=(parse_spec("circuit_similarity"),), settings=Settings(),
    )  # fmt: skip
    from mecheval.harness.plan import plan

    with pytest.raises(UsageError, match="mecheval similarity --metrics circuit_similarity"):
        plan(request)


def test_workers_find_contributed_metrics_by_name(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("BROKEN", ""))
    own = ("--include-path", str(file), "--metrics", "local/gap", "-j", "2")
    models = [*TWINS, NOISY]
    assert similarity(tmp_path / "results", *own, models=models) == 0
    for path in files(tmp_path / "results"):
        assert {result.id for result in read_pair(path).metrics} >= {"local/gap"}


def test_metrics_as_objects_and_the_arithmetic(tmp_path: Path) -> None:
    asked = {"limit": 16, "output": tmp_path, "jobs": 2, "dtype": "float64"}
    (report,) = mecheval.similarity(
        list(TWINS), TASK, metrics=["interchange", CircuitSimilarity(n_permutations=50)], **asked
    )
    assert report.metrics[0].config["n_permutations"] == 50
    assert {side.labels.run["dtype"] for side in report.sides} == {"float64"}
    with pytest.raises(UsageError, match="'nonsense'"):
        mecheval.similarity(list(TWINS), TASK, nonsense=1)


def test_the_first_failure_can_be_the_last(tmp_path: Path, capsys) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("BROKEN", 'raise ValueError("out of luck")'))
    own = ("--include-path", str(file), "--metrics", "local/gap")
    models = [*TWINS, NOISY]
    assert similarity(tmp_path / "results", *own, "--fail-fast", models=models) == 1
    assert len(files(tmp_path / "results")) == 1
    assert capsys.readouterr().err.count("out of luck") == 1


def test_lines_for_programs(tmp_path: Path, capsys) -> None:
    assert similarity(tmp_path, "--dry-run", "--json") == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["state"] == "to do"
    assert similarity(tmp_path, "--quiet", "--json") == 0
    rows = [*map(json.loads, capsys.readouterr().out.splitlines())]
    assert {row["number"] for row in rows} >= {"correlation of circuits", "positions apart, value"}
    assert all(row["a"] == TWINS[0] and row["n"] == 1 for row in rows)
    assert row["key"] == read_pair(files(tmp_path)[0]).key
