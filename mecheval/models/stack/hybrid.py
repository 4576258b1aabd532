"""The parts of a hybrid: registered architectures, each giving some of the layers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

from mecheval.errors import UsageError, unknown
from mecheval.models.stack.architecture import Architecture
from mecheval.registry import Registry
from mecheval.spec import parse_spec

OF_THE_WHOLE = ("layers", "width", "size", "shell", "context")
"""Arguments that all layers of a stack have in common."""


def split_pattern(pattern: str) -> list[str]:
    """Split at every ``-`` outside brackets: ``mamba[d_conv=0]-attention`` has two parts."""
    parts, depth = [""], 0
    for character in pattern:
        depth += (character == "[") - (character == "]")
        if character == "-" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def configure_part(text: str, **whole: Any) -> Architecture:
    """Return the architecture that gives some layers of a hybrid.

    Args:
        text: Its registered name, with arguments of its own in brackets.
        **whole: The arguments that it shares with the hybrid.

    Raises:
        UsageError: There is no such architecture, it is of another kind, or an argument is wrong or
            one of the hybrid as a whole.
    """
    spec = parse_spec(text)
    if spec.revision is not None:
        raise UsageError(f"'{text}' is trained as a part of a hybrid. Leave out the part after @.")
    cls = _architecture(spec.name)
    for key, value in spec.args.items():
        if key in OF_THE_WHOLE or (key, value) == ("positions", "learned"):
            raise UsageError(
                f"'{text}' is a part of a hybrid, and {key} belongs to the whole. "
                f"Write it behind the pattern: hybrid[pattern=...,{key}={value}]."
            )
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    without = {"positions": "none"} if fields["positions"] == "learned" else {}
    return cls.configure({**without, **spec.args, **whole}, name=spec.name)


@functools.cache
def _architecture(name: str) -> type[Architecture]:
    """Return a class that can be a part.

    Raises:
        UsageError: The name is unknown, or not that of an architecture that can be a part.
    """
    registry = Registry()
    names = [entry.name for entry in registry.entries("model") if not entry.broken]
    longer = [known for known in names if known.startswith(f"{name}-")]
    if name not in names and longer:
        raise _wrong_kind(longer[0], registry, shown=f"{name}-...")
    if name not in names:
        able = [known for known in names if _can_be_part(registry.load("model", known))]
        raise unknown("part of a hybrid", name, able, see="`mecheval ls models`")
    found = registry.load("model", name)
    if not _can_be_part(found):
        raise _wrong_kind(name, registry)
    return found


def _wrong_kind(name: str, registry: Registry, *, shown: str = "") -> UsageError:
    found, kind = registry.load("model", name), "a hybrid itself"
    if not inspect.isclass(found):
        kind = "a pretrained checkpoint"
    elif not issubclass(found, Architecture):
        kind = "a network with weights set by hand"
    return UsageError(
        f"A hybrid is made of architectures that are trained, such as mamba and attention; "
        f"'{shown or name}' is {kind}. See `mecheval ls models`."
    )


def _can_be_part(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, Architecture) and not found.of_parts
