"""Hashes of JSON: the same for the same content, however it is laid out or its numbers written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

CIRCUMSTANCES = (
    "digest", "labels", "created", "finished", "environment", "resources", "command", "plugin",
    "error", "tracking", "tracking_reason", "sides", "task_title", "levels",
)  # fmt: skip
"""Fields of a report that say when, where, by whom and in whose words it was measured, and not what
came out; and those that follow from what did, which older reports are given as they are read, or
from other reports: those of the cells of a pair, and of other pairs."""

LATER = (
    ("alignment",),
    ("artefacts",),
    ("identity", "at_loss"),
    ("snapshots", "*", "validation_loss"),
    ("training", "losses"),
    ("training", "sweep", "*", "validation_loss"),
    ("training", "validation_loss"),
)
"""Where fields stand that came when reports had been published; ``*`` is every one of a list.

Where they are empty they are no part of the digest, so that a report measured again has the digest
of an older one that is equal in all else, and an older one may be written again as it is read."""

_EXACT = 2**53  # integers up to here are floats without loss


def sha256_of(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value.

    Raises:
        ValueError: A number is not finite.
    """
    return _sha256(normalised(content))


def _sha256(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the digest of a report, given as it is written.

    The same measurement made again has the same digest. It guards against accidents, such as an
    edit, a merge or a failing disk; whoever means to deceive writes another digest as well.
    """
    return sha256_of(_measured(content))


def digest_of_normalised(content: Mapping[str, Any]) -> str:
    """Return the digest of a report whose whole floats are integers already."""
    return _sha256(_measured(content))


def _measured(content: Mapping[str, Any]) -> dict[str, Any]:
    measured = {key: value for key, value in content.items() if key not in CIRCUMSTANCES}
    for path in LATER:
        measured = _without_empty(measured, path)
    return measured


def _without_empty(value: Any, path: Sequence[str]) -> Any:
    """Return what stands along a path without the field at its end, if that is null or empty."""
    name, *rest = path
    if name == "*":
        return [_without_empty(item, rest) for item in value] if isinstance(value, list) else value
    if not isinstance(value, Mapping) or name not in value:
        return value
    if rest:
        return {**value, name: _without_empty(value[name], rest)}
    empty = value[name] is None or value[name] == [] or value[name] == {}
    return {key: item for key, item in value.items() if key != name or not empty}


def number(text: str) -> float | int:
    """Read a number of JSON as :func:`normalised` has it."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def normalised(value: Any) -> Any:
    """Write whole floats as integers, so that 1 and 1.0 are the same number."""
    if isinstance(value, Mapping):
        return {key: normalised(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normalised(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
