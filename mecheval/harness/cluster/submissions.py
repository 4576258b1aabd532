"""What was submitted: a record per submission in the output folder, which any process can read.

``OUTPUT/.submissions/TIME-ID/submission.json`` names the cells that were asked for and the jobs
that they went to; beside it lie the jobs' logs. ``OUTPUT/.submissions/seen/KEY.json`` says where a
cell is that a job is at work on.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from mecheval.errors import UsageError
from mecheval.paths import is_dir
from mecheval.reports.documents import write_document
from mecheval.reports.files import SUBMISSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.harness.events import Progress
    from mecheval.harness.request import Cell

_RECORD, _SEEN = "submission.json", "seen"


class CellRow(BaseModel):
    """A cell that was asked for: its key, where its report belongs in the output folder, names."""

    model_config = ConfigDict(frozen=True)

    key: str
    path: str
    model: str
    task: str
    seed: int


class Submission(BaseModel):
    """What one command asked for, and which job does what.

    Attributes:
        created: When, UTC.
        command: The command line.
        cluster: What runs the jobs.
        cells: All cells that were asked for, those that were finished included.
        jobs: The keys of the cells of every job, by the job's id.
    """

    model_config = ConfigDict(frozen=True)

    created: str
    command: tuple[str, ...]
    cluster: str
    cells: tuple[CellRow, ...]
    jobs: dict[str, tuple[str, ...]]


class Sighting(BaseModel):
    """Where a cell is that a job is at work on; see :class:`mecheval.harness.events.Progress`."""

    model_config = ConfigDict(frozen=True)

    key: str
    job: str
    host: str
    stage: str
    step: int = 0
    total: int = 0
    accuracy: float | None = None


def rows_of(cells: Iterable[Cell], root: Path) -> tuple[CellRow, ...]:
    """Return what a record says of cells."""
    return tuple(
        CellRow(
            key=cell.key,
            path="" if cell.path is None else cell.path.relative_to(root).as_posix(),
            model=cell.model_title,
            task=cell.task_title,
            seed=cell.identity.seed,
        )
        for cell in cells
    )


def new_folder(root: Path) -> Path:
    """Return a folder for another submission, which is not there yet."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return root / SUBMISSIONS / f"{now}-{secrets.token_hex(3)}"


def write_submission(submission: Submission, folder: Path) -> None:
    """Write a record.

    Raises:
        StorageError: It could not be written.
    """
    write_document(folder / _RECORD, submission.model_dump_json(indent=1) + "\n")


def read_submissions(root: Path) -> dict[Path, Submission]:
    """Return the records of an output folder by their folders, oldest first.

    Raises:
        UsageError: One is none.
    """
    found = {}
    for path in sorted((root / SUBMISSIONS).glob(f"*/{_RECORD}")):
        try:
            found[path.parent] = Submission.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UsageError(
                f"{path} is no record of a submission ({type(error).__name__}). Remove its folder "
                "if its jobs are over."
            ) from error
    return found


def jobs_of(submissions: Iterable[Submission]) -> dict[str, str]:
    """Return the latest job of every key that went to one."""
    return {key: job for each in submissions for job, keys in each.jobs.items() for key in keys}


def log_of(folder: Path, job: str) -> Path:
    """Return where the log of a job lies."""
    return folder / f"{job}_0_log.out"


def see(root: Path, key: str, progress: Progress, *, job: str, host: str) -> None:
    """Write where a cell is.

    Raises:
        StorageError: It could not be written.
    """
    sighting = Sighting(
        key=key, job=job, host=host, stage=progress.stage, step=progress.step,
        total=progress.total, accuracy=progress.accuracy,
    )  # fmt: skip
    write_document(_seen(root, key), sighting.model_dump_json() + "\n")


def forget(root: Path, key: str) -> None:
    """Remove what was said of a cell that ended."""
    _seen(root, key).unlink(missing_ok=True)


def sightings(root: Path, among: Sequence[str] | None = None) -> dict[str, Sighting]:
    """Return where cells are, by their keys; what cannot be read is left out.

    Args:
        root: The output folder.
        among: The keys that are looked for; None for all.
    """
    folder = root / SUBMISSIONS / _SEEN
    if not is_dir(folder):
        return {}
    paths = folder.glob("*.json") if among is None else (_seen(root, key) for key in among)
    found = {}
    for path in paths:
        try:
            sighting = Sighting.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue  # it ended this moment
        found[sighting.key] = sighting
    return found


def _seen(root: Path, key: str) -> Path:
    return root / SUBMISSIONS / _SEEN / f"{key[:16]}.json"
