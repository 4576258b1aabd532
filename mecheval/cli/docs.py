"""What docstrings say of parameters."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

_ENTRY = re.compile(r"^(\w+): (.*)$")


def parameters(cls: type) -> list[dict[str, Any]]:
    """Return name, default and documentation of every field of a configuration dataclass.

    The documentation is taken from the ``Attributes:`` of the class and the classes it extends.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs.update(attributes(inspect.cleandoc(vars(base).get("__doc__") or "")))
    return [
        {"name": field.name, "value": _default(field), "doc": docs.get(field.name, "")}
        for field in dataclasses.fields(cls)
        if field.init
    ]


def attributes(docstring: str) -> dict[str, str]:
    """Read the ``Attributes:`` section of a cleaned Google-style docstring."""
    found: dict[str, str] = {}
    name = None
    section = docstring.partition("\nAttributes:\n")[2]
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        entry = _ENTRY.match(line.removeprefix("    "))
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {name: text.replace("``", "").replace(":data:", "") for name, text in found.items()}


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    return list(value) if isinstance(value, tuple) else value
