"""A grid on disk while it is being computed, so that an interrupted one goes on where it stopped.

Shape suffixes: ``P`` runs, ``K`` components, ``I`` patched layers, ``J`` patched positions.
"""

from __future__ import annotations

import os
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.interventions.content import code_of, content_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan

SECONDS = 5.0
"""Least time between two writes."""


class GridFile:
    """The result so far, in memory and perhaps in a file.

    Attributes:
        patched_KIJP: The readouts of the whole grid.
        pending_KIJP: Cells that are not known yet.
        used: Engines that computed what is known, in order.
    """

    def __init__(
        self, path: Path | None, base_runs: BaseRuns, donor: Donor, plan: Plan, engine: str
    ) -> None:
        """Take up what the file holds, if it is of this very grid.

        Args:
            path: The file; None for no file.
            base_runs: The runs.
            donor: What is put into them.
            plan: What is patched.
            engine: The engine that was chosen. Two engines differ by rounding, so that a grid is
                not gone on with by another one than it was begun with.
        """
        shape = (*plan.shape, base_runs.n_runs)
        self.path, self.written = path, time.monotonic()
        self.patched_KIJP = np.full(shape, np.nan)
        self.pending_KIJP = np.ones(shape, bool)
        self.digest = "" if path is None else _digest(base_runs, donor, plan, engine)
        self.used: list[str] = []
        self._attached: tuple[Chunk, slice] | None = None
        self._load()

    def attach(self, chunk: Chunk, runs: slice) -> None:
        """Fill a chunk with what is known of it, and take over what it finds out."""
        known = torch.as_tensor(~self.pending_KIJP[..., runs], device=chunk.base_P.device)
        patched = torch.as_tensor(self.patched_KIJP[..., runs], device=chunk.base_P.device)
        chunk.patched_KIJP[known] = patched[known]
        chunk.pending_KIJP &= ~known
        self._attached, chunk.keep = (chunk, runs), self._keep

    def save(self) -> None:
        """Take over a finished chunk."""
        self._take()
        self._attached = None

    def remove(self) -> None:
        """Remove the file: the grid is whole."""
        if self.path is not None and self.path.exists():
            self.path.unlink()
            with suppress(OSError):  # another part is still in it
                self.path.parent.rmdir()

    def _keep(self) -> None:
        if self.path is not None and time.monotonic() - self.written >= SECONDS:
            self._take()
            self._write(self.path)
            self.written = time.monotonic()

    def _take(self) -> None:
        if self._attached is not None:
            chunk, runs = self._attached
            self.patched_KIJP[..., runs] = chunk.patched_KIJP.cpu().numpy()
            self.pending_KIJP[..., runs] = chunk.pending_KIJP.cpu().numpy()

    def _load(self) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                found = kept["patched"], kept["pending"]
                if str(kept["digest"]) == self.digest and found[0].shape == found[1].shape:
                    self.patched_KIJP, self.pending_KIJP = found
                    self.used = kept["used"].tolist()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return  # half written or another kind of file: the grid starts anew

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file, digest=self.digest, patched=self.patched_KIJP,
                    pending=self.pending_KIJP, used=np.array(self.used, dtype=str),
                )  # fmt: skip
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk costs the resumption, not the grid


def _digest(base_runs: BaseRuns, donor: Donor, plan: Plan, engine: str) -> str:
    """Identify a grid by all that decides its numbers to the last bit.

    Its runs and what is read of them, its donor, what is patched in which run, the engine, the
    bits of the model's tensors, and the code. ``batch_size`` and ``memory`` are left out: they move
    numbers by rounding, and are what somebody changes whose grid was ended for want of memory.
    """
    model = base_runs.model
    how = replace(plan, batch_size=0, memory=0)
    runs = {name: value for name, value in vars(base_runs).items() if name != "model"}
    return content_sha256(runs, donor, how, engine, model, code_of(model))
