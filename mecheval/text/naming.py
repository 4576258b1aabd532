"""What names may look like, in registries and in reports of others.

The patterns are written so that Python, Rust (pydantic) and ECMAScript (JSON Schema) read them
alike: no classes but ranges, no look-around.
"""

from __future__ import annotations

import re

from mecheval.errors import ContractError
from mecheval.escape import quoted

_PART = "[A-Za-z0-9_][A-Za-z0-9_.+-]*"
REGISTERED = f"^{_PART}(/{_PART})*$"
"""Names of tasks, models and metrics: ``parity``, ``local/my_task``, ``planted/lstm-parity``."""

SEEN = (
    r"^[^\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb]*$"
)
"""One line of what can be seen: no control characters, no overrides of direction."""

MODEL = f"{REGISTERED}|^hf:{SEEN[1:-2]}+$"
"""Names of models in reports: registered ones, and ``hf:`` with anything that can be seen."""

SHA256 = "^[0-9a-f]{64}$"

MOST_OF_NAME = 200
"""Most characters of a name; the longest path element that file systems take is 255 bytes."""
MOST_OF_TITLE = 300
"""Most characters of an id, a title, a label."""
MOST_OF_VALUE = 4096
"""Most characters of an argument that is a text; the longest path that Linux takes."""


def check_name(kind: str, name: str) -> None:
    """Check the name of a task, model or metric that is being declared.

    Raises:
        ContractError: It holds something else than letters, digits and ``_ . + - /``.
    """
    if not is_registrable(name):
        raise ContractError(
            f"A {kind} cannot be named {quoted(name)}. Use letters, digits, '_', '.', '+', '-' and "
            f"'/', beginning with a letter or digit, {MOST_OF_NAME} characters at most."
        )


def is_registrable(name: object) -> bool:
    """Say whether something can be the name of a task, model or metric."""
    return (
        isinstance(name, str)
        and len(name) <= MOST_OF_NAME
        and re.fullmatch(REGISTERED, name) is not None
        and not name.endswith("\n")
    )
