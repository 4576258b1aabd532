"""The executor of clusters: what is submitted, what is learned from the store, what status says."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness import store
from mecheval.harness.cluster import executor, following, scheduler, submissions
from mecheval.harness.cluster.executor import Cluster
from mecheval.harness.cluster.jobs import Pack, Sightings
from mecheval.harness.cluster.options import Options, read_options
from mecheval.harness.cluster.running import execute_on, submit_to
from mecheval.harness.cluster.states import all_rows, states_of
from mecheval.harness.events import Outcome, Progress, Silence
from mecheval.harness.failure import failed, failure_of, now
from mecheval.harness.request import Cell, Request, Settings
from mecheval.reports.schema import Report
from mecheval.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

submits = pytest.mark.skipif(
    find_spec("submitit") is None, reason="submitting needs the extra 'slurm'"
)
HERE = Options(plan="here", parallel=3)


class Jobs:
    """Stands in for a cluster: keeps what is submitted, and answers as its scheduler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packs: dict[str, Pack] = {}
        self.alive: dict[str, str] = {}
        self.step = lambda: None
        self._time = 0.0
        monkeypatch.setattr(Cluster, "_submitted", self._submitted)
        monkeypatch.setattr(scheduler, "states", self._states)
        clock = SimpleNamespace(monotonic=lambda: self._time, sleep=self._sleep)
        monkeypatch.setattr(following, "time", clock)

    def _submitted(self, packs: list[Pack], *_: object) -> list[Any]:
        ids = [f"{len(self.packs) + i}_0" for i in range(len(packs))]
        self.packs |= dict(zip(ids, packs, strict=True))
        self.alive |= dict.fromkeys(ids, "PENDING")
        return [SimpleNamespace(job_id=id) for id in ids]

    def _states(self, _: str, jobs: Any) -> dict[str, str]:
        return {job: self.alive[job] for job in jobs if job in self.alive}

    def _sleep(self, seconds: float) -> None:
        self._time += seconds
        self.step()


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(monkeypatch)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_in(tmp_path)


def cluster_in(root: Path, **changes: Any) -> Cluster:
    request = Request(
        models=(Spec("lstm"), Spec("gru")), tasks=(Spec("parity"),), seeds=(0, 1, 2),
        recipe={"steps": 20}, output=root, settings=Settings(**changes),
    )  # fmt: skip
    return Cluster.of(HERE, [request])


class Told(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, note: str) -> None:
        self.lines.append(note)

    def started(self, cell: Any) -> None:
        self.lines.append(f"started {cell.key[:8]}")

    def progressed(self, cell: Any, progress: Progress) -> None:
        self.lines.append(f"{cell.key[:8]} {progress.stage} {progress.step}")


def finish(cell: Cell) -> None:
    report = Report(
        key=cell.key, status="success", partial=False, created=now(), finished=now(),
        identity=cell.identity, labels=cell.labels, command=[], learned=False,
    )  # fmt: skip
    store.save(report, cell)


def fail(cell: Cell) -> None:
    store.save(failed(cell, failure_of(ValueError("no"), "train")), cell)


def cells_of(cluster: Cluster) -> list[Cell]:
    from mecheval.harness.execute import planned_cells

    return planned_cells(cluster.requests)


@submits
def test_jobs_carry_the_request_and_keys_alone(cluster, jobs) -> None:
    submission = submit_to(cluster, Silence())
    assert submission is not None
    cells = {cell.key: cell for cell in cells_of(cluster)}
    carried = [key for pack in jobs.packs.values() for key in pack.keys]
    assert sorted(carried) == sorted(cells)
    assert submission.jobs == {job: pack.keys for job, pack in jobs.packs.items()}
    for pack in jobs.packs.values():
        assert pickle.loads(pickle.dumps(pack)) == pack
        assert b"Identity" not in pickle.dumps(pack)
        seeds = {cells[key].identity.seed for key in pack.keys}
        assert {s for request in pack.requests for s in request.chosen_seeds} == seeds
        assert pack.checkpoint().function == pack


def test_outcomes_are_reports_that_appear(cluster, jobs) -> None:
    cells = cells_of(cluster)
    finish(cells[0])
    waiting = cells[1:]

    def step() -> None:
        cell = waiting.pop(0)
        Sightings(cluster.root).progressed(cell, Progress("train", 7, 20))
        (fail if cell is cells[2] else finish)(cell)

    jobs.step = step
    told = Told()
    outcomes = execute_on(cluster, told)
    assert [o.cell.key for o in outcomes] == [cell.key for cell in cells]
    assert [o.kept for o in outcomes] == [True] + 5 * [False]
    assert Counter(o.report.status for o in outcomes) == {"success": 5, "error": 1}
    assert sum(line.startswith("started") for line in told.lines) == 5
    assert not any(cells[0].key in pack.keys for pack in jobs.packs.values())


def test_where_cells_are_is_told_on_the_way(cluster, jobs, monkeypatch) -> None:
    cells = cells_of(cluster)
    looks = []

    def step() -> None:
        looks.append(len(looks))
        if len(looks) == 1:  # its job says where it is before it ends
            (job,) = (job for job, pack in jobs.packs.items() if cells[3].key in pack.keys)
            monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", job)
            Sightings(cluster.root).started(cells[3])
            return
        for cell in cells:
            Sightings(cluster.root).finished(Outcome(cell, None))
            finish(cell)

    jobs.step = step
    told = Told()
    execute_on(cluster, told)
    assert f"{cells[3].key[:8]} start 0" in told.lines
    assert not submissions.sightings(cluster.root)


def test_a_job_that_is_over_fails_its_cells(cluster, jobs) -> None:
    cells = cells_of(cluster)
    jobs.step = jobs.alive.clear
    outcomes = execute_on(cluster, Silence())
    assert {o.report.error.type for o in outcomes} == {"JobEnded"}
    assert "Job 0_0 is over and wrote no report" in " ".join(
        o.report.error.message for o in outcomes
    )
    assert all(store.written_report(cell).status == "error" for cell in cells)


def test_a_scheduler_that_does_not_answer_decides_nothing(cluster, jobs, monkeypatch) -> None:
    monkeypatch.setattr(scheduler, "states", lambda *_: None)
    n_looks = 0

    def step() -> None:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 50:
            for cell in cells_of(cluster):
                finish(cell)

    jobs.step = step
    assert all(o.report.status == "success" for o in execute_on(cluster, Silence()))


def test_the_same_command_submits_what_is_missing(cluster, jobs) -> None:
    cells = cells_of(cluster)
    assert submit_to(cluster, Silence()) is not None
    told = Told()
    assert submit_to(cluster, told) is None
    assert told.lines == ["6 cells are with jobs that were submitted before"]
    finish(cells[0])
    fail(cells[1])
    jobs.alive.popitem()
    over = set(list(jobs.packs.values())[-1].keys) - {cells[0].key}
    before = set(jobs.packs)
    assert submit_to(cluster, Silence()) is not None
    again = {key for job, pack in jobs.packs.items() if job not in before for key in pack.keys}
    assert again == over | {cells[1].key}


def test_states(cluster, jobs) -> None:
    cells = cells_of(cluster)
    submit_to(cluster, Silence())
    of = submissions.jobs_of(submissions.read_submissions(cluster.root).values())
    finish(cells[0])
    fail(cells[1])
    jobs.alive[of[cells[2].key]] = "RUNNING"
    submissions.see(
        cluster.root, cells[2].key, Progress("train", 3, 20), job=of[cells[2].key], host="n1"
    )
    jobs.alive = {job: s for job, s in jobs.alive.items() if job != of[cells[3].key]}
    with store.claimed(cluster.root, cells[4].key, wait=False):
        found = states_of(all_rows(cluster.root), cluster.root)
    states = {each.cell.key: each.state for each in found}
    assert [states[cell.key] for cell in cells[:5]] == [
        "done", "failed", "running", "missing" if of[cells[2].key] != of[cells[3].key] else "",
        "running",
    ]  # fmt: skip
    assert states[cells[5].key] == ("queued" if of[cells[5].key] in jobs.alive else "missing")
    assert next(each.at for each in found if each.cell.key == cells[2].key).step == 3


def test_status_of_a_request_and_of_all_that_was_submitted(cluster, jobs, capsys) -> None:
    root = str(cluster.root)
    assert main(["status", "-o", root]) == 2
    assert "Nothing went to a cluster" in capsys.readouterr().err
    submit_to(cluster, Silence())
    finish(cells_of(cluster)[0])
    assert main(["status", "-o", root]) == 1
    out = capsys.readouterr().out
    assert "6 cells: 1 done, 5 queued" in out
    assert "| lstm  | parity | 1    | queued | job" in out
    grid = ["-m", "lstm", "-t", "parity", "--recipe", "steps=20", "-o", root]
    assert main(["status", *grid]) == 0
    assert "1 cells: 1 done" in capsys.readouterr().out
    assert main(["status", *grid, "--json", "-s", "0-1"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["seed"], row["state"]) for row in rows] == [(0, "done"), (1, "queued")]


def test_a_record_that_is_none_is_named(cluster, jobs) -> None:
    submit_to(cluster, Silence())
    (folder,) = submissions.read_submissions(cluster.root)
    (folder / "submission.json").write_text("{")
    with pytest.raises(UsageError, match=r"submission.json is no record of a submission"):
        all_rows(cluster.root)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"partitoin": "gpu"}, r"Did you mean 'partition'"),
        ({"gpus": -1}, r"-E gpus cannot be '-1'; give a whole number of at least 0"),
        ({"minutes": 0}, "at least 1"), ({"cpus": 1.5}, "whole number"),
        ({"parallel": True}, "whole number"), ({"plan": "there"}, "Unknown value 'there' of -E"),
    ],
)  # fmt: skip
def test_options_are_checked(given, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_options(given)


def test_options_as_submitit_calls_them() -> None:
    options = read_options({"partition": "gpu", "gpus": 1, "cpus": 4, "memory": 16})
    found = options.parameters()
    assert (found["slurm_partition"], found["gpus_per_node"], found["mem_gb"]) == ("gpu", 1, 16)
    assert (found["cpus_per_task"], found["timeout_min"]) == (4, 60)
    assert "gpus_per_node" not in options.planning().parameters()
    assert options.most_jobs == 80
    assert read_options({"jobs": 5}).most_jobs == 5


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--executor", "slrum"], "Did you mean 'slurm'"),
        (["--detach"], "--detach is for jobs of a cluster: give --executor slurm as well"),
        (["-E", "gpus=1"], "-E is for jobs"),
        (["--executor", "slurm", "-j", "2"], "--jobs has no meaning for jobs of a cluster"),
        (["--executor", "slurm", "--shard", "0/2"], "--shard has no meaning"),
        (["--executor", "slurm", "-E", "gpus=x"], "-E gpus cannot be 'x'"),
    ],
)  # fmt: skip
def test_flags_that_contradict_are_one_sentence(flags, sentence, capsys) -> None:
    assert main(["run", "-m", "lstm", "-t", "parity", *flags]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


def test_without_submitit_the_extra_is_named(cluster, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'mecheval\[slurm\]'"):
        submit_to(cluster, Silence())


@submits
def test_without_slurm_it_says_so(cluster, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"could not be submitted: Could not detect .srun."):
        submit_to(cluster, Silence())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit's Popen
@submits
def test_jobs_of_this_machine_report_what_a_run_does(tmp_path) -> None:
    request = Request(
        models=(Spec("lstm"),), tasks=(Spec("parity"),), recipe={"steps": 1}, limit=16,
        metrics=(Spec("recovery"),), output=tmp_path,
    )  # fmt: skip
    cluster = Cluster.of(Options(cluster="local", plan="here"), [request])
    (outcome,) = execute_on(cluster, Silence())
    assert outcome.report.status == "success", outcome.report.error
    assert executor.submissions.sightings(tmp_path) == {}
    (kept,) = execute_on(cluster, Silence())
    assert kept.kept
