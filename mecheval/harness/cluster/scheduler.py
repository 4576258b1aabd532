"""Which jobs there are: asked of the scheduler, and never of its accounting, which many lack."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PENDING, RUNNING = "PENDING", "RUNNING"


def states(cluster: str, jobs: Iterable[str]) -> dict[str, str] | None:
    """Return the states of those jobs that are not over, by their ids.

    A job that waits to run again after it was preempted, or reached its time limit, is pending.

    Args:
        cluster: ``slurm`` or ``local``.
        jobs: The ids.

    Returns:
        The states, in SLURM's words; None where the scheduler does not answer.
    """
    wanted = set(jobs)
    if not wanted:
        return {}
    if cluster == "local":
        return {job: RUNNING for job in wanted if _runs_here(job)}
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i|%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (line.strip().partition("|") for line in answer.stdout.splitlines())
    return {job: state for job, _, state in lines if job in wanted}


def _runs_here(job: str) -> bool:
    try:
        status = Path("/proc", job, "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
