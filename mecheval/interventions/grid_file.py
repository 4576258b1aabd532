"""A grid on disk while it is computed, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import os
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions.content import code_of, content_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan
    from mecheval.interventions.results import GridResult

SECONDS = 5.0
"""Least time between two writes."""


class GridFile:
    """Where a result is kept while it is computed; nowhere if there is no path."""

    def __init__(self, path: Path | None, digest: str) -> None:
        """Take the path of the file, and what :func:`grid_sha256` says of the grid."""
        self.path, self.digest, self.written = path, digest, time.monotonic()

    def is_due(self) -> bool:
        """Say whether it is time to write again."""
        return self.path is not None and time.monotonic() - self.written >= SECONDS

    def write(self, result: GridResult) -> None:
        """Write what is known."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file, digest=self.digest, patched=result.patched_KIJP,
                    pending=result.pending_KIJP, used=np.array(result.used, dtype=str),
                )  # fmt: skip
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk costs the resumption, not the grid
        self.written = time.monotonic()

    def remove(self) -> None:
        """Remove the file: the grid is whole."""
        if self.path is not None and self.path.exists():
            self.path.unlink()
            with suppress(OSError):  # another part is still in it
                self.path.parent.rmdir()

    def load(self, result: GridResult) -> None:
        """Take up what the file holds, if it is of this very grid."""
        if self.path is None or not self.path.exists():
            return
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                found = kept["patched"], kept["pending"]
                if str(kept["digest"]) == self.digest and found[0].shape == found[1].shape:
                    result.patched_KIJP, result.pending_KIJP = found
                    result.used = kept["used"].tolist()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return  # half written or another kind of file: the grid starts anew


def grid_sha256(base_runs: BaseRuns, donor: Donor, plan: Plan, engine: str) -> str:
    """Identify a grid by all that decides its numbers to the last bit.

    Its runs and what is read of them, its donor, what is patched in which run, the engine that it
    is begun with (two differ by rounding), the bits of the model's tensors, and the code.
    ``batch_size`` and ``memory`` are left out: they move numbers by rounding as well, but are what
    somebody changes whose grid was ended for want of memory.
    """
    model = base_runs.model
    how = replace(plan, batch_size=0, memory=0)
    runs = {name: value for name, value in vars(base_runs).items() if name != "model"}
    return content_sha256(runs, donor, how, engine, model, code_of(model))
