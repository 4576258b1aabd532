"""What was probably meant where a path is given in place of a name, or a file of another kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.escape import quoted
from mecheval.paths import expanded, is_dir, is_file
from mecheval.text.quoting import HUB, as_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_OURS = ("local", "planted")

_MADE_OF_REPORTS = "Give the report, or the folder of reports, that it was made from."
_FILES = {
    ".py": (
        "is source in Python",
        "Give it with --include-path {path}, and the name of what it declares: local/NAME.",
    ),
    ".toml": (
        "is a TOML file, as suites are",
        "`mecheval show suite {path}` and `mecheval run --suite {path}` read those.",
    ),
    **dict.fromkeys((".md", ".txt", ".tex", ".html"), ("is a text for readers", _MADE_OF_REPORTS)),
    **dict.fromkeys((".csv", ".tsv"), ("is a table", _MADE_OF_REPORTS)),
    **dict.fromkeys((".png", ".svg", ".pdf"), ("is a picture", _MADE_OF_REPORTS)),
    **dict.fromkeys(
        (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf"),
        ("holds weights", f"The folder of a checkpoint is written {HUB}FOLDER."),
    ),
}
"""By suffix, what files are that are often given in place of reports, and what to do with them."""


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


def about_file(path: Path) -> tuple[str, str] | None:
    """Say of a file that is no report what it is, and in a sentence what to give, or who reads it.

    Returns:
        None where its name says that it is a report, or nothing that is known.
    """
    found = _FILES.get(path.suffix.lower())
    if found is None:
        return None
    what, advice = found
    return f"{what}, and no report", advice.format(path=as_word(str(path)))
