"""Runs on a real SLURM of one node: whatever happens to jobs, reports are those of a local run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from harness_runs import numbers
from slurm_cluster import SlurmCluster, lacking, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(lacking() is not None, reason=lacking() or "SLURM can be started"),
    pytest.mark.xdist_group("slurm"),
]

SLOW = '''
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task

print("GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), file=sys.stderr, flush=True)


@task(name="slow", version=1, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Slow(Parity):
    """Parity whose examples take as long as the environment says, until a file is there."""

    def sample(self, rng, n, length):
        if not Path(os.environ.get("QUICK_WITH", "no such file")).exists():
            time.sleep(float(os.environ.get("SECONDS_PER_SAMPLE", "0")))
        return super().sample(rng, n, length)
'''
STEPS = 60
PATIENT = 1800.0
"""Seconds that a job may take on a machine that is busy with other things."""


class Place:
    """A cluster, a task, and what a local run reports."""

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        (folder / "slow.py").write_text(SLOW)
        self.grid = (
            "-m", "lstm", "-t", "local/slow", "-I", str(folder / "slow.py"),
            "--recipe", f"steps={STEPS},check_every=20", "--limit", "16", "--metrics", "recovery",
        )  # fmt: skip
        code, _, err = self.finish(self.start("local", cluster=False))
        assert code == 0, err
        self.local = self.reports("local")

    def start(
        self, name: str, *more: str, seconds: float = 0.0, cluster: bool = True, seeds: str = "0-1"
    ) -> subprocess.Popen:
        """Start a run with a cache and an output of its own."""
        where = ("--executor", "slurm") if cluster else ("-j", "2")
        command = [sys.executable, "-m", "mecheval", "run", *self.grid, "-s", seeds, *where, *more]
        return subprocess.Popen(
            [*command, "-o", str(self.folder / name)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**self.cluster.environment, "SECONDS_PER_SAMPLE": str(seconds),
                 "MECHEVAL_CACHE": str(self.folder / f"cache-{name}"), "OMP_NUM_THREADS": "1",
                 "QUICK_WITH": str(self.folder / f"{name}.quick")},
        )  # fmt: skip

    def reports(self, name: str) -> dict[str, dict]:
        """Return the reports of a run without what may differ between two."""
        found = numbers(self.folder / name)
        return {path: report for path, report in found.items() if not path.startswith(".")}

    def finish(self, process: subprocess.Popen) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=PATIENT)
        return process.returncode, out, err

    def training(self, name: str) -> bool:
        """Say whether a job of a run is in the middle of a training."""
        for path in (self.folder / name / ".submissions" / "seen").glob("*.json"):
            try:
                seen = json.loads(path.read_text())
            except OSError:
                continue
            if seen["stage"] == "train" and 0 < seen["step"] < STEPS:
                return True
        return False

    def kept(self, name: str) -> list[Path]:
        """Return the checkpoints of trainings under way."""
        return list((self.folder / f"cache-{name}").rglob("progress.safetensors"))

    def release(self) -> None:
        """Let jobs that were queued again begin at once; SLURM holds them for two minutes."""
        for job in self.cluster.jobs():
            subprocess.run(
                ["scontrol", "update", f"jobid={job}", "StartTime=now"],
                env=self.cluster.environment, check=False, capture_output=True,
            )  # fmt: skip

    def end_of(self, process: subprocess.Popen) -> tuple[int, str, str]:
        """Wait for a run, and release its jobs meanwhile."""
        until = time.monotonic() + PATIENT
        while process.poll() is None and time.monotonic() < until:
            self.release()
            time.sleep(2)
        return self.finish(process)

    def logs(self, name: str) -> str:
        folder = self.folder / name / ".submissions"
        return "\n".join(path.read_text() for path in folder.rglob("*_log.out"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield Place(cluster, tmp_path_factory.mktemp("runs"))
    finally:
        cluster.stop()


def test_jobs_report_what_a_local_run_does_and_the_login_node_needs_no_torch(place) -> None:
    blocked = place.folder / "no torch"
    (blocked / "torch").mkdir(parents=True)
    (blocked / "torch" / "__init__.py").write_text("raise ImportError('not on the login node')")
    # Jobs inherit the environment, so that the block is lifted where they begin.
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mecheval.cli import main; "
    command = [sys.executable, "-c", code + "sys.exit(main())", str(blocked), "run", *place.grid,
               "-s", "0-1"]  # fmt: skip
    done = subprocess.run(
        [*command, "--executor", "slurm", "-E", "minutes=30", "-o", str(place.folder / "plain")],
        env={**place.cluster.environment, "MECHEVAL_CACHE": str(place.folder / "cache-plain")},
        capture_output=True, text=True, timeout=PATIENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr, place.logs("plain"))
    assert "plans; -E plan=here" in done.stderr
    assert place.reports("plain") == place.local


def test_a_preempted_job_goes_on_from_where_it_was(place) -> None:
    run = place.start("preempted", "-E", "minutes=30,plan=here,jobs=1", seconds=0.5)
    wait_for(lambda: place.training("preempted"), seconds=PATIENT)
    n_cores = str(os.cpu_count())
    place.cluster.run("sbatch", "-p", "high", "-c", n_cores, "-o", "/dev/null", "--wrap", "sleep 5")
    wait_for(lambda: place.kept("preempted"), seconds=60)
    wait_for(lambda: not place.training("preempted") or place.kept("preempted"), seconds=60)
    code, _, err = place.end_of(run)
    assert code == 0, (err, place.logs("preempted"))
    assert place.reports("preempted") == place.local


def test_a_job_at_its_time_limit_is_queued_again(place) -> None:
    given = ("-E", "minutes=4,plan=here")
    run = place.start("limited", *given, seconds=40.0, seeds="0")
    wait_for(lambda: "Requeued job" in place.logs("limited"), seconds=PATIENT)
    (place.folder / "limited.quick").touch()
    code, _, err = place.end_of(run)
    assert code == 0, (err, place.logs("limited"))
    of_seed = {path: report for path, report in place.local.items() if "seed0" in path}
    assert place.reports("limited") == of_seed


def test_a_killed_job_fails_its_cells_and_the_same_command_measures_them(place) -> None:
    given = ("-E", "minutes=30,plan=here,jobs=1")
    run = place.start("killed", *given, seconds=0.5)
    wait_for(lambda: place.training("killed"), seconds=PATIENT)
    (job,) = place.cluster.jobs()
    place.cluster.run("scancel", "--signal=KILL", job)
    code, _, err = place.finish(run)
    assert code == 1, err
    assert "JobEnded" in err
    code, _, err = place.finish(place.start("killed", *given))
    assert code == 0, (err, place.logs("killed"))
    assert place.reports("killed") == place.local


def test_two_submissions_at_once_and_two_gpus(place) -> None:
    given = ("-E", "minutes=30,plan=here,gpus=1")
    runs = [place.start("twice", *given) for _ in range(2)]
    ended = [place.finish(run) for run in runs]
    assert [code for code, _, _ in ended] == [0, 0], (ended, place.logs("twice"))
    assert ended[0][1] == ended[1][1]
    assert place.reports("twice") == place.local
    seen = {line for line in place.logs("twice").splitlines() if line.startswith("GPU")}
    assert seen
    assert seen <= {"GPU 0", "GPU 1"}


def test_detached_jobs_are_seen_by_status(place) -> None:
    given = ("--detach", "-E", "minutes=30,plan=here")
    code, out, err = place.finish(place.start("detached", *given))
    assert code == 0, err
    assert len(out.split()) == 2
    code, again, err = place.finish(place.start("detached", *given))
    assert (code, again) == (0, "")
    assert "no job was submitted" in err

    def states() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mecheval", "status", "--json", "-o",
             str(place.folder / "detached")],
            env=place.cluster.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [json.loads(line)["state"] for line in done.stdout.splitlines()]

    assert set(states()) <= {"queued", "running", "done"}
    wait_for(lambda: not place.cluster.jobs(), seconds=PATIENT)
    assert states() == ["done", "done"]
    assert place.reports("detached") == place.local
