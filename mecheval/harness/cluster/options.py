"""What ``-E`` says of jobs: where they are queued, what each of them gets, how many run at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

PLANS = ("job", "here")
CLUSTERS = ("slurm", "local")
_TIMES_PARALLEL = 4
_MOST_JOBS = 1000  # the largest job array of a SLURM that nobody configured


@dataclass(frozen=True, kw_only=True)
class Options:
    """Resources of the jobs.

    Attributes:
        partition: Partition of the cluster; None for its default one.
        gpus: GPUs of a job; one is what a cell uses.
        cpus: Cores of a job; cells run side by side on them where there is no GPU.
        minutes: Time limit of a job. What is not finished then is queued again.
        parallel: Most jobs that run at the same time.
        memory: Memory of a job in GB; None for the partition's default.
        account: Account that is charged; None for the user's default.
        qos: Quality of service; None for the default.
        constraint: Features that nodes must have; None for none.
        jobs: Most jobs that the cells are dealt out to; None for four times ``parallel``.
        plan: ``job`` plans in a short job first, ``here`` in this process, which imports torch.
        cluster: ``slurm``; ``local`` runs jobs as processes of this machine, to try things out.
    """

    partition: str | None = None
    gpus: int = 0
    cpus: int = 1
    minutes: int = 60
    parallel: int = 20
    memory: int | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    jobs: int | None = None
    plan: str = "job"
    cluster: str = "slurm"

    @property
    def most_jobs(self) -> int:
        """Return how many jobs cells are dealt out to at most.

        More than run at once, so that those that take longer than foreseen are evened out.
        """
        return min(_MOST_JOBS, self.jobs or _TIMES_PARALLEL * self.parallel)

    @property
    def device(self) -> str:
        """Return what cells run on there."""
        return "cuda" if self.gpus else "cpu"

    def planning(self) -> Options:
        """Return the resources of the job that plans: no GPU, a few minutes."""
        return replace(self, gpus=0, cpus=1, minutes=min(self.minutes, 15))

    def parameters(self) -> dict[str, Any]:
        """Return what submitit's executor calls these."""
        found: dict[str, Any] = {"timeout_min": self.minutes, "stderr_to_stdout": True}
        if self.cluster == "local":
            return {**found, "gpus_per_node": self.gpus}
        more = {"account": self.account, "qos": self.qos, "constraint": self.constraint}
        optional = {
            "slurm_partition": self.partition, "mem_gb": self.memory,
            "gpus_per_node": self.gpus or None,
            **{f"slurm_{name}": value for name, value in more.items()},
        }  # fmt: skip
        return {
            **found, "name": "mecheval", "cpus_per_task": self.cpus,
            "slurm_array_parallelism": self.parallel,
            # The signal may come a minute early; training needs a step and a write after it.
            "slurm_signal_delay_s": min(90, 15 * self.minutes),
            **{name: value for name, value in optional.items() if value is not None},
        }  # fmt: skip


NUMBERS = {"gpus": 0, "cpus": 1, "minutes": 1, "parallel": 1, "memory": 1, "jobs": 1}
"""The options that are whole numbers, with their least values."""

_CHOICES = {"plan": PLANS, "cluster": CLUSTERS}


def read_options(given: Mapping[str, Any]) -> Options:
    """Read what ``-E`` assigns.

    Raises:
        UsageError: An option is unknown, or its value is none that it can have.
    """
    known = [each.name for each in fields(Options)]
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise unknown("option of -E", name, known, see="`mecheval run --help`")
        if name in NUMBERS:
            least = NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(
                    f"-E {name} cannot be {quoted(str(value))}; give a whole number of at least "
                    f"{least}."
                )
        elif name in _CHOICES and value not in _CHOICES[name]:
            raise unknown(f"value of -E {name}", str(value), _CHOICES[name],
                          see=f"these: {', '.join(_CHOICES[name])}")  # fmt: skip
        checked[name] = value if name in NUMBERS else str(value)
    return Options(**checked)
