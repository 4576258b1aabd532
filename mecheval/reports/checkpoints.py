"""What a checkpoint in a folder is called: its content names it, not its place."""

from __future__ import annotations

from typing import Protocol

from mecheval.reports.canonical import sha256_of

OF_FOLDER = "sha256:"
"""How the commit of a checkpoint in a folder begins: its hash, as it has no commit."""


class Checkpoint(Protocol):
    """What tells checkpoints apart, of a model's identity."""

    @property
    def commit(self) -> str | None:
        """Return the commit, or a hash of its configuration."""

    @property
    def weights_sha256(self) -> str | None:
        """Return the hash of its weights."""


def checkpoint_id(model: Checkpoint) -> str | None:
    """Return what names a checkpoint in a folder by its content; None for any other model.

    Folders have names that say little and change: two may be called ``ckpt``, and one be reached in
    several ways. So their keys and paths follow from the hashes of their files alone.
    """
    if not (model.commit or "").startswith(OF_FOLDER):
        return None
    return sha256_of([model.commit, model.weights_sha256])[:16]
