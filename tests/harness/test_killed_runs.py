"""Real runs, killed at random moments: nothing finished is lost, nothing is half written."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from harness_runs import BRIEF, ENDLESS, alive, numbers

import mecheval
from mecheval.cli import main
from mecheval.paths import cache_folder
from mecheval.reports.files import read_report

if TYPE_CHECKING:
    from pathlib import Path

STUCK = '''
import os
import time
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task


@task(name="stuck", version=1, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Stuck(Parity):
    """Parity that hangs in a worker, and says nothing meanwhile."""

    def sample(self, rng, n, length):
        if os.getpgrp() != os.getpid():
            time.sleep(600)
        return super().sample(rng, n, length)
'''

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 143)]
GRID = ("-m", "lstm", "-t", "parity,z6", "-s", "0-1", "--recipe", "steps=20", *BRIEF)


def finished(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("seed*.json")}


def test_kill_9_at_any_moment_then_the_same_command(start, tmp_path, monkeypatch):
    rng = random.Random(0)
    output, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    kept: dict[Path, bytes] = {}
    for jobs in ("1", "2"):
        run = start(*GRID, "-o", output, "-j", jobs)
        n_before = len(finished(output))
        run.wait_for(lambda n=n_before: len(finished(output)) > n or n == 4)
        time.sleep(rng.uniform(0, 0.2))
        workers = run.workers()
        if jobs == "2":
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
        run.finish()
        assert alive(workers, seconds=5) == [], "orphans"
        now = finished(output)
        assert kept.items() <= now.items()
        for path in now:
            read_report(path)
        kept = now
    assert len(kept) > 0

    # The last run, which nobody kills, begins in this process: that has imported torch.
    assert main(["run", *GRID, "-o", str(output), "-j", "1"]) == 0
    assert kept.items() <= finished(output).items()
    assert list(output.rglob(".*.tmp")) == []

    monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path / "another cache"))
    mecheval.evaluate(
        "lstm", ["parity", "z6"], range(2), output=undisturbed, recipe={"steps": 20},
        limit=16, metrics=["recovery"],
    )  # fmt: skip
    assert numbers(output) == numbers(undisturbed)
    assert len(numbers(output)) == 4


def test_workers_end_with_their_parent_even_while_they_hang(start, tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    stuck = ("-t", "local/stuck,local/stuck[noop_rate=0.1]", "-I", tmp_path)
    run = start("-m", "lstm", *stuck, *BRIEF, "-o", tmp_path / "results", "-j", "2")
    run.wait_for(run.both_at_work)
    time.sleep(0.5)
    workers = run.workers()
    run.kill()
    assert alive(workers, seconds=5) == [], "orphans"


@pytest.mark.parametrize(("number", "code"), SIGNALS, ids=["ctrl-c", "sigterm", "sigusr2"])
def test_an_interrupt_stops_at_once_and_keeps_what_is_finished(start, tmp_path, number, code):
    mecheval.evaluate(
        "lstm", "parity", output=tmp_path, recipe={"steps": 1}, limit=16, metrics=["recovery"]
    )
    before = finished(tmp_path)
    endless = (*ENDLESS, "--snapshots", "2")
    run = start("-m", "lstm", "-t", "parity,dyck", *endless, *BRIEF, "-o", tmp_path, "-j", "2")
    # The first snapshot is taken where a training begins: a worker has its cell seconds before.
    run.wait_for(lambda: len(list(cache_folder().rglob("snapshot-0.safetensors"))) == 2)
    workers = run.workers()
    send = os.killpg if number == signal.SIGINT else os.kill
    send(run.pid, number)
    exit_code, out, err = run.finish()  # which the trainings would never come to by themselves
    assert exit_code == code
    assert out == ""
    assert err.splitlines()[-1].startswith("Interrupted. Finished cells are kept in")
    assert "Traceback" not in err
    assert alive(workers, seconds=0) == []
    assert finished(tmp_path) == before
    # A scheduler's signals let trainings write how far they came.
    n_kept = len(list(cache_folder().rglob("progress.safetensors")))
    assert n_kept == (0 if number == signal.SIGINT else 2)


def test_a_killed_worker_fails_its_cell_alone(start, tmp_path):
    run = start(
        "-m", "lstm", "-t", "parity,z6", "--recipe", "steps=100,stop_at=1.5",
        *BRIEF, "-o", tmp_path, "-j", "2",
    )  # fmt: skip
    run.wait_for(run.at_work)
    run.at_work()[0].kill()
    code, out, err = run.finish()
    assert code == 1
    assert "FAILED in" in err
    assert "The worker process was ended by SIGKILL" in err
    reports = [read_report(path) for path in finished(tmp_path)]
    assert sorted(report.status for report in reports) == ["error", "success"]
    assert "failed" in out


def test_two_runs_on_one_folder_share_the_work(start, tmp_path, capsys):
    grid = ("-m", "lstm,gru", "-t", "parity,z6", "--recipe", "steps=20", *BRIEF, "-j", "1")
    other = start(*grid, "-o", tmp_path)
    other.wait_for(other.workers)
    # The second begins in this process, which has imported torch; its worker is one of its own.
    code = main(["run", *grid, "-o", str(tmp_path)])
    out, err = capsys.readouterr()
    other_code, other_out, other_err = other.finish()
    assert (code, other_code) == (0, 0), (err, other_err)
    assert out == other_out
    done = [line for text in (err, other_err) for line in text.splitlines() if line.endswith(" s")]
    assert len(done) == len(set(map(str, finished(tmp_path)))) == 4
