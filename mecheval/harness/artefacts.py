"""What networks leave in the cache for pairs: activations and codes, with what they are of.

A file holds the hash of the tokens that it is of. Reports of pairs hold the hashes of the files
that their numbers are from: one that was lost is made again and has to be the same.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from scipy import sparse

from mecheval.cached_files import write_cached
from mecheval.dictionaries import SparseCodes
from mecheval.errors import StorageError, UsageError
from mecheval.metrics.pairs.coding import Coded
from mecheval.reports.pair import Artefact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDERS = {"activations": "recordings", "codes": "codes"}
"""Where the artefacts of a kind lie in the cache."""


class Wanted(NamedTuple):
    """An artefact that is asked for.

    Attributes:
        kind: Activations, or the codes of a dictionary of them.
        key: Hash of everything that decides it.
        layer: Behind how many blocks.
        trained: Whether of the network as it was measured, or with freshly drawn weights.
        seed: Of the dictionary; None of activations.
        evaluation: Hash of the tokens that it is of.
    """

    kind: Literal["activations", "codes"]
    key: str
    layer: int
    trained: bool
    seed: int | None
    evaluation: str

    def __str__(self) -> str:
        """Return it in words: ``activations behind block 2, untrained``."""
        of = "" if self.trained else ", untrained"
        return f"{self.kind} behind block {self.layer}{of}"


@dataclass(frozen=True)
class Shelf:
    """Artefacts of one network.

    Attributes:
        cache: The folder of the cache.
        title: What the network is called, for messages.
        known: The hashes of files by key, as reports have them.
        used: What was read or made; filled as that is done.
    """

    cache: Path
    title: str
    known: Mapping[str, str]
    used: dict[str, Artefact]

    def path(self, wanted: Wanted) -> Path:
        """Return where an artefact lies."""
        return self.cache / FOLDERS[wanted.kind] / wanted.key[:2] / f"{wanted.key}.npz"

    def read(self, wanted: Wanted) -> Any:
        """Return an artefact; None where it is not there, or is not what it was.

        Raises:
            UsageError: It is of other tokens.
        """
        path = self.path(wanted)
        try:
            data = path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                evaluation, found = str(held["evaluation"]), _unpacked(held)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            sha256, evaluation, found = "", wanted.evaluation, None
        if found is None or self.known.get(wanted.key, sha256) != sha256:
            # Derived data that a failing disk spoilt: making it again loses nothing.
            path.unlink(missing_ok=True)
            return None
        if evaluation != wanted.evaluation:
            raise UsageError(
                f"{path} has {wanted} of {self.title} at other tokens than those at which the two "
                "are held side by side. Delete it, and run the command again."
            )
        self._note(wanted, sha256)
        return found

    def write(self, wanted: Wanted, content: np.ndarray | Coded) -> None:
        """Keep an artefact that was made.

        Raises:
            StorageError: It cannot be written, or reports are of another one.
        """
        data = _packed(content, wanted.evaluation)
        sha256 = hashlib.sha256(data).hexdigest()
        if self.known.get(wanted.key, sha256) != sha256:
            raise StorageError(
                f"The {wanted}, of {self.title} were lost, and are not the same when made again: "
                "other versions, another machine or another --batch-size round otherwise. Measure "
                "all pairs anew with --overwrite, or into another --output."
            )
        write_cached(self.path(wanted), data)
        self._note(wanted, sha256)

    def _note(self, wanted: Wanted, sha256: str) -> None:
        self.used[wanted.key] = Artefact(
            kind=wanted.kind, key=wanted.key, sha256=sha256, layer=wanted.layer,
            trained=wanted.trained, seed=wanted.seed, evaluation_sha256=wanted.evaluation,
        )  # fmt: skip


def _packed(content: np.ndarray | Coded, evaluation: str) -> bytes:
    """Return a file; equal content gives equal bytes."""
    parts: dict[str, Any] = {"stream": content}
    if isinstance(content, Coded):
        csr = content.codes.csr
        parts = {
            "data": csr.data, "indices": csr.indices, "ends": csr.indptr,
            "shape": content.codes.shape,
            "quality": [np.nan if value is None else value for value in content[1:]],
        }  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **parts, evaluation=np.array(evaluation))
    return file.getvalue()


def _unpacked(held: Mapping[str, np.ndarray]) -> np.ndarray | Coded:
    if "stream" in held:
        return held["stream"]
    parts = held["data"], held["indices"], held["ends"]
    csr = sparse.csr_array(parts, shape=tuple(held["shape"].tolist()))
    quality = [None if np.isnan(value) else float(value) for value in held["quality"]]
    return Coded(SparseCodes.of(csr), *quality)
