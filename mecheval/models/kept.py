"""What was found out about a module, kept with the module itself.

A table of weak references would not do: what is kept refers to the module, and would hold it.
"""

from __future__ import annotations

from typing import Any


class Kept:
    """Something that goes when the module goes, and is neither copied nor saved with it."""

    def __init__(self, value: Any) -> None:
        """Keep a value."""
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Leave nothing in a copy."""

    def __reduce__(self) -> Any:
        """Leave nothing in a file."""
        return type(None), ()
