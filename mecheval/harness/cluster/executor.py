"""Submits packs of cells through submitit, and learns of them from the store alone."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import MechevalError, UsageError
from mecheval.harness import store
from mecheval.harness.cluster import scheduler, submissions
from mecheval.harness.cluster.following import follow
from mecheval.harness.cluster.jobs import Pack, Planning
from mecheval.harness.failure import now
from mecheval.harness.packs import packed, sharing_a_training
from mecheval.own_code.explaining import message_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.harness.cluster.options import Options
    from mecheval.harness.events import Listener, Outcome
    from mecheval.harness.request import Cell, Request

_OFTEN_ENOUGH = 100_000  # times that a job may reach its time limit and go on
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_APPEAR = 30.0


@dataclass(frozen=True)
class Cluster:
    """An executor whose workers are the jobs of a cluster.

    Attributes:
        options: What each job gets.
        requests: What is asked for, with absolute paths, which jobs can follow.
        root: The output folder, which all nodes share.
    """

    options: Options
    requests: tuple[Request, ...]
    root: Path

    @classmethod
    def of(cls, options: Options, requests: Sequence[Request]) -> Cluster:
        """Return what runs requests; all have the same output and settings."""
        found = tuple(_anywhere(request, options.device) for request in requests)
        root = found[0].output
        if root is None:
            raise UsageError("Jobs of a cluster need a folder that all nodes share; give --output.")
        return cls(options, found, root)

    def planned(self, told: Callable[[str], None]) -> list[Cell]:
        """Return the cells, as a job plans them: this process imports no torch.

        Args:
            told: Is told which job that is.

        Raises:
            UsageError: A request cannot be met, or the job could not be submitted.
        """
        folder = submissions.new_folder(self.root)
        planning = Planning(self.requests)
        (job,) = self._submitted([planning], folder, self.options.planning())
        told(f"job {job.job_id} plans; -E plan=here does so in this process")
        result = _result_of(job, folder, self.options.cluster)
        if isinstance(result, MechevalError):
            raise result
        return result

    def submit(
        self, cells: Sequence[Cell], asked: Sequence[Cell] | None = None
    ) -> submissions.Submission:
        """Submit cells that no job is at work on.

        Args:
            cells: The cells that are to be measured.
            asked: All that were asked for, for the record; the same if None.

        Returns:
            The record, with the jobs.

        Raises:
            UsageError: The cluster refuses them.
            StorageError: The record could not be written.
        """
        n = min(self.options.most_jobs, len(sharing_a_training(cells)))
        packs = [[cell.key for cell in pack] for pack in packed(cells, n) if pack] if n else []
        seeds = {cell.key: cell.identity.seed for cell in cells}
        folder, created = submissions.new_folder(self.root), now()
        parts = [
            Pack(self._of({seeds[key] for key in keys}), tuple(keys), self.root, created)
            for keys in packs
        ]
        jobs = self._submitted(parts, folder, self.options) if parts else []
        submission = submissions.Submission(
            created=created,
            command=self.requests[0].settings.command,
            cluster=self.options.cluster,
            cells=submissions.rows_of(cells if asked is None else asked, self.root),
            jobs={job.job_id: tuple(keys) for job, keys in zip(jobs, packs, strict=True)},
        )
        submissions.write_submission(submission, folder)
        return submission

    def in_flight(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Return the jobs that are to measure cells already, queued or running, by the keys."""
        records = list(submissions.read_submissions(self.root).values())
        found = submissions.jobs_of(records)
        since = {key: r.created for r in records for keys in r.jobs.values() for key in keys}
        jobs = {
            cell.key: found[cell.key]
            for cell in cells
            if cell.key in found and not store.failed_since(cell, since[cell.key])
        }
        states = scheduler.states(self.options.cluster, jobs.values())
        alive = jobs.values() if states is None else states
        return {key: job for key, job in jobs.items() if job in alive}

    def run(self, cells: Sequence[Cell], listener: Listener) -> Iterator[Outcome]:
        """Submit the cells that no job is at work on, and yield the outcomes of all as they come.

        Args:
            cells: The cells.
            listener: Is told what happens.

        Raises:
            UsageError: The cluster refuses them.
            StorageError: A report could not be written.
        """
        jobs = self.in_flight(cells)
        missing = [cell for cell in cells if cell.key not in jobs]
        if missing:
            jobs |= submissions.jobs_of([self.submit(missing, cells)])
        yield from follow(cells, jobs, listener, cluster=self.options.cluster, root=self.root)

    def _of(self, seeds: set[int]) -> tuple[Request, ...]:
        """Narrow the requests to seeds, so that less is planned again."""
        narrowed = (
            replace(request, seeds=tuple(s for s in request.chosen_seeds if s in seeds))
            for request in self.requests
        )
        return tuple(request for request in narrowed if request.seeds)

    def _submitted(self, jobs: Sequence[Any], folder: Path, options: Options) -> list[Any]:
        """Submit what jobs do, as one array.

        Raises:
            UsageError: submitit is not installed, or the cluster refuses them.
        """
        try:
            import submitit
        except ImportError:
            raise UsageError(
                "--executor slurm needs submitit. Run `pip install 'mecheval[slurm]'`."
            ) from None
        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        try:
            executor = submitit.AutoExecutor(
                folder, cluster=options.cluster, slurm_max_num_timeout=_OFTEN_ENOUGH
            )
            executor.update_parameters(**options.parameters())
            if len(jobs) == 1:
                return [executor.submit(jobs[0])]
            with executor.batch():
                return [executor.submit(job) for job in jobs]
        except (RuntimeError, OSError) as error:
            raise UsageError(f"The jobs could not be submitted: {message_of(error)}") from error


def _anywhere(request: Request, device: str) -> Request:
    """Return a request whose paths hold on every node, for the device of the jobs."""
    settings = request.settings
    included = tuple(path.absolute() for path in settings.include_paths)
    cache = settings.cache and settings.cache.absolute()
    settings = replace(settings, include_paths=included, cache=cache, device=device)
    return replace(request, settings=settings, output=request.output and request.output.absolute())


def _result_of(job: Any, folder: Path, cluster: str) -> Any:
    """Wait for what a job returns.

    Raises:
        UsageError: It ended and returned nothing.
    """
    from submitit.core.utils import pickle_load

    path = Path(job.paths.result_pickle)
    since = time.monotonic()
    while not path.exists():
        states = scheduler.states(cluster, [job.job_id])
        if states is None or states:
            since = time.monotonic()
        elif time.monotonic() - since > _SECONDS_TO_APPEAR:  # shared folders show files late
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    else:
        status, result = pickle_load(path)
        if status == "success":
            return result
    raise UsageError(
        f"Job {job.job_id} could not plan; its log is {submissions.log_of(folder, job.job_id)}. "
        "-E plan=here plans in this process."
    )
