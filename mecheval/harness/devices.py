"""Which device cells run on, and how many at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from mecheval.errors import UsageError
from mecheval.escape import quoted


class Devices(NamedTuple):
    """Where cells run.

    Attributes:
        kind: ``cpu`` or ``cuda``.
        visible: The CUDA devices to share among workers, as CUDA_VISIBLE_DEVICES names them.
    """

    kind: str
    visible: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """Return how many cells run side by side by default: one per core, or one per GPU."""
        return len(self.visible) or cores()


def find_devices(asked: str) -> Devices:
    """Read ``--device``: auto, cpu, cuda, or cuda:N.

    Raises:
        UsageError: The text is something else, or there is no such device.
    """
    kind, _, number = asked.partition(":")
    if asked == "cpu" or (asked == "auto" and not _may_have_gpu()):
        return Devices("cpu")
    if kind not in ("auto", "cuda") or (number and not number.isdigit()):
        raise UsageError(f"Unknown device {quoted(asked)}. Give auto, cpu, cuda or cuda:N.")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto" and not count:
        return Devices("cpu")
    if int(number or 0) >= count:
        raise UsageError(f"Device '{asked}' is not there: torch sees {count} CUDA devices.")
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = given.split(",") if given else [str(i) for i in range(count)]
    return Devices("cuda", (visible[int(number)],) if number else tuple(visible))


def cores() -> int:
    """Return how many cores this process may use.

    SLURM's share counts where it is smaller: without task affinity, a job may see the whole node.
    """
    linux = sys.platform == "linux"
    seen = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(seen, int(share)) if share.isdigit() and int(share) else seen


def _may_have_gpu() -> bool:
    """Say whether a GPU is possible, without the seconds that importing torch takes."""
    nodes = [*Path("/dev").glob("nvidia[0-9]*"), Path("/dev/dxg"), Path("/dev/kfd")]
    return any(node.exists() for node in nodes)
