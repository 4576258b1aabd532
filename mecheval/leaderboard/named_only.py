"""Checkpoints of a hub by what a suite says of them alone: nothing is fetched, nothing looked into.

What they are in reports depends on their files: which of their revisions had weights that could be
read, and whether code of their own ran. So there is one for each of these that may be meant.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.models.contract import ModelIdentity, own_codes
from mecheval.models.hub.source import Pretrained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.contract import Encoding, ModelSource
    from mecheval.tasks import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedOnly(Pretrained):
    """A checkpoint of the hub at a revision, without its files; it can be planned, not built."""

    @property
    def labels(self) -> dict[str, str]:
        """Return what stands in a report if code of its own may run, and there is some."""
        return {"code": "own"} if self.trust_remote_code else {}

    def notes(self, dtype: str) -> tuple[str, ...]:
        """Return nothing: how weights are stored stands in their files."""
        return ()

    @property
    def context_limit(self) -> None:
        """Return nothing: it stands in the files, too."""
        return None

    def identity(self) -> ModelIdentity:
        """Return what is known without the weights."""
        return ModelIdentity(
            name=self.name,
            args=self.args | self.labels,
            source="pretrained",
            revision=self.revision,
        )

    def encode(self, task: Task) -> Encoding:
        """Let every symbol be the token id of its index: which tokens there are is not known."""
        return own_codes(task, vocab_size=len(task.symbols), name=self.name)


def named_only(source: ModelSource) -> Sequence[NamedOnly]:
    """Return what a source may be in reports; none for what needs nothing from a hub."""
    if not isinstance(source, Pretrained) or source.weights != "pretrained":
        return []
    if isinstance(source.checkpoint.place, Path):
        return []
    given = {field.name: getattr(source, field.name) for field in fields(source) if field.init}
    revisions = [source.revision] if source.revision else source.checkpoint.revisions
    return [
        NamedOnly(**{**given, "revision": revision, "trust_remote_code": runs_code})
        for revision in revisions
        for runs_code in (False, True)
    ]
