"""Names of checkpoints: ``hf:DIRECTORY``, ``hf:FILE.gguf`` and ``hf:OWNER/NAME@revision``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.models.hub.arguments import GGUF
from mecheval.models.hub.pretrained import Checkpoint
from mecheval.paths import expanded, is_dir, is_file
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from mecheval.models.hub.source import Pretrained
    from mecheval.spec import Spec


def from_hub(spec: Spec) -> Pretrained:
    """Read ``hf:PLACE@revision``; a directory whose name contains @ wins over a revision.

    Raises:
        UsageError: There is no such place, or an argument is unknown.
    """
    place, revision = spec.name.removeprefix(HUB), spec.revision
    if not place:
        raise UsageError("The name 'hf:' is not whole. Write hf:OWNER/NAME or hf:DIRECTORY.")
    if revision and _is_there(f"{place}@{revision}"):
        place, revision = f"{place}@{revision}", None
    spec, found = _on_disk(spec, place)
    return Checkpoint(place=found).configure(spec.args, name=HUB + place, revision=revision)


def _is_there(place: str) -> bool:
    path = expanded(Path(place))
    return is_dir(path) or is_file(path)


def _on_disk(spec: Spec, place: str) -> tuple[Spec, Path | str]:
    """Return a path if there is one, and the arguments that are left; a GGUF file is its path."""
    path = expanded(Path(place))
    if is_dir(path):
        inside = path / str(spec.args.get(GGUF, ""))
        return (_without_file(spec), inside) if is_file(inside) else (spec, path)
    if is_file(path):
        if path.name.endswith(".gguf") and spec.args.get(GGUF, path.name) == path.name:
            return _without_file(spec), path
        raise UsageError(
            f"{place} is a file. Give the directory that holds the checkpoint, "
            f"{HUB}{path.parent}, or a GGUF file."
        )
    if place.startswith((".", "~", "/")) or place.count("/") > 1 or place.endswith(".gguf"):
        raise UsageError(
            f"There is no directory {place}. Give hf: one that holds config.json, or the "
            "name of a repository, OWNER/NAME."
        )
    return spec, place


def _without_file(spec: Spec) -> Spec:
    return replace(spec, args={key: value for key, value in spec.args.items() if key != GGUF})
