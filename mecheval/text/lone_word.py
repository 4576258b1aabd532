"""What was probably meant by a word alone in brackets that is no preset: the value of an argument.

``group[a5]`` means ``group[name=a5]``, as only that argument takes the word.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MEANINGLESS = "no-such-word"


def argument_for(
    word: str, cls: type[Any], *, of: str, build: Callable[[Mapping[str, str]], object]
) -> str:
    """Return the question whether the word was meant as the value of an argument.

    Args:
        word: The word.
        cls: A dataclass whose fields are the arguments; those of text may take a word.
        of: What it is called: ``group``.
        build: Builds it with one argument, and refuses what that cannot be.

    Returns:
        Such as ``Did you mean group[name=a5]?``; empty where no argument takes it, or takes any.
    """
    texts = [f.name for f in dataclasses.fields(cls) if f.init and isinstance(f.default, str)]
    taken = [
        key for key in texts if _builds(build, key, word) and not _builds(build, key, _MEANINGLESS)
    ]
    return f"Did you mean {' or '.join(f'{of}[{key}={word}]' for key in taken)}?" if taken else ""


def _builds(build: Callable[[Mapping[str, str]], object], key: str, word: str) -> bool:
    try:
        build({key: word})
    except UsageError:
        return False
    return True
