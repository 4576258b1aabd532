"""Curves of trainings in a tracker, where that is asked for; nothing of it decides any number.

The trackers are those that accelerate wraps (``log_with`` of its ``Accelerator``); each training is
one of their runs.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""The trackers, with the packages of which each needs one."""

PROJECT = "mecheval"


def check_tracker(name: str) -> None:
    """Check that a tracker is known and installed.

    Raises:
        UsageError: It is not.
    """
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS, see=f"these: {', '.join(TRACKERS)}")
    packages = TRACKERS[name]
    if not any(importlib.util.find_spec(package) for package in packages):
        raise UsageError(
            f"--log-with {name} needs the package {packages[-1]}. Run `pip install {packages[-1]}`."
        )


@dataclass(frozen=True)
class Curves:
    """Where the curves of trainings go.

    Attributes:
        tracker: One of :data:`TRACKERS`.
        folder: Where those that write files keep them.
        titles: Model and task, for the names of runs.
    """

    tracker: str
    folder: Path
    titles: tuple[str, ...]

    def of(self, key: str, config: Mapping[str, Any]) -> Curve:
        """Return what takes the curve of one training.

        Args:
            key: The key of its content.
            config: What tells it from others: its recipe's fields and its seed.
        """
        name = "-".join([*self.titles, f"seed{config['seed']}", key[:8]])
        return Curve(self, name, dict(config))


class Curve:
    """The curve of one training, which the tracker shows as a run."""

    def __init__(self, place: Curves, name: str, config: dict[str, Any]) -> None:
        """Open nothing yet; see :class:`Curves`."""
        self._place, self._name, self._config = place, name, config
        self._accelerator: Accelerator | None = None

    def open(self, accelerator: Accelerator) -> None:
        """Begin the run, in the main process of a launch.

        Args:
            accelerator: That of the training.
        """
        if accelerator.is_main_process:
            accelerator.log_with = [self._tracker()]  # pyright: ignore[reportAttributeAccessIssue]
            accelerator.init_trackers(PROJECT)
            self._accelerator = accelerator

    def _tracker(self) -> GeneralTracker:
        from accelerate import tracking

        kind: Any = tracking.LOGGER_TYPE_TO_CLASS[self._place.tracker]
        if kind.requires_logging_directory:
            self._place.folder.mkdir(parents=True, exist_ok=True)
            return kind(self._name, self._place.folder)
        # Several trainings take their steps together, and each is a run of its own.
        several = {"reinit": "create_new"} if self._place.tracker == "wandb" else {}
        return kind(PROJECT, name=self._name, config=self._config, **several)

    def log(self, step: int, **values: float | None) -> None:
        """Add a point; values that are None or not finite are left out."""
        if self._accelerator is not None:
            known = {k: v for k, v in values.items() if v is not None and math.isfinite(v)}
            self._accelerator.log(known, step=step)

    def close(self) -> None:
        """End the run."""
        if self._accelerator is not None:
            for tracker in self._accelerator.trackers:
                tracker.finish()
            self._accelerator = None
