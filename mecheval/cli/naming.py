"""Names of files of pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_UNSAFE = re.compile(r"[^\w@.=+-]+")


def file_name(parts: Sequence[str], taken: Container[str], *, kind: str = "png") -> str:
    """Return the name of a picture's file, with a number where that name is taken.

    Args:
        parts: What it is called after, such as its task and its figure; empty ones are left out.
        taken: Names that other files have.
        kind: Its suffix, without the dot.
    """
    name = "-".join(_UNSAFE.sub("-", part).strip("-.")[:60] for part in parts if part)
    found, number = f"{name}.{kind}", 2
    while found in taken:
        found, number = f"{name}-{number}.{kind}", number + 1
    return found
