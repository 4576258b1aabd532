"""A grid on disk while it is being computed, so that an interrupted one goes on where it stopped.

Shape suffixes: ``P`` runs, ``K`` components, ``I`` patched layers, ``J`` patched positions.
"""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import torch

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
    """

    def __init__(self, path: Path | None, base_runs: BaseRuns, donor: Donor, plan: Plan) -> None:
        """Take up what the file holds, if it is of this very grid."""
        shape = (*plan.shape, base_runs.n_runs)
        self.path, self.written = path, time.monotonic()
        self.patched_KIJP = np.full(shape, np.nan)
        self.pending_KIJP = np.ones(shape, bool)
        self.digest = "" if path is None else _digest(base_runs, donor, plan)
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
                if str(kept["digest"]) == self.digest:
                    self.patched_KIJP, self.pending_KIJP = kept["patched"], kept["pending"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return  # half written or another kind of file: the grid starts anew

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file, digest=self.digest, patched=self.patched_KIJP, pending=self.pending_KIJP
                )
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk costs the resumption, not the grid


def _digest(base_runs: BaseRuns, donor: Donor, plan: Plan) -> str:
    """Identify a grid by its runs, its donor, its sites, and the weights of its model."""
    weights = [(p.double().sum(), p.double().abs().sum()) for p in base_runs.model.parameters()]
    fields = ("tokens_PT", "answers_P", "foils_P", "readout_P")
    content = [
        base_runs.kind, plan.components, plan.layers, plan.positions, plan.frozen, repr(donor),
        donor.tokens_PT is None or donor.tokens_PT.tolist(),
        *(getattr(base_runs, name).tolist() for name in fields),
        [(float(total), float(size)) for total, size in weights],
    ]  # fmt: skip
    return hashlib.sha256(repr(content).encode()).hexdigest()
