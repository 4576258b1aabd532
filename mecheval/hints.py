"""What somebody probably meant who gave a path, or half of one, in place of a name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.escape import quoted
from mecheval.paths import expanded, is_dir, is_file
from mecheval.quoting import HUB, as_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_OURS = ("local", "planted")


def hint_for_name(
    kind: str, name: str, *, included: bool, declared: Callable[[Path], Sequence[str]]
) -> str:
    """Return a sentence for a name that is not registered; empty where there is none to say.

    Args:
        kind: What it should have been: task, model, metric.
        name: The name.
        included: Whether files of the user are looked into.
        declared: Returns the names that a file declares for this kind.
    """
    path = expanded(Path(name))
    if is_file(path):
        names = [f"local/{found}" for found in declared(path)]
        named = f"name it {' or '.join(map(quoted, names))}" if names else "name it local/NAME"
        return f"A file is given with --include-path {as_word(name)}; then {named}."
    if kind == "model" and is_dir(path):
        return f"A checkpoint in a folder is written {HUB}{as_word(name)}."
    if name.endswith(".py"):
        return f"There is no file {quoted(name)}; one that is there is given with --include-path."
    if name.startswith("local/") and not included:
        return "Names that begin with local/ are those of files given with --include-path."
    is_repository = _REPOSITORY.fullmatch(name) and name.partition("/")[0] not in _OURS
    if kind == "model" and is_repository:
        return f"A checkpoint of the hub is written {HUB}{name}."
    return ""
