"""What a file of source declares, read without running it: tasks, models and metrics by name."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mecheval.escape import quoted
from mecheval.own_code.sources import read_source
from mecheval.text.naming import is_registrable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["task", "model", "metric"]
KINDS: tuple[Kind, ...] = ("task", "model", "metric")
_DECLARING: dict[str, Kind] = {
    "task": "task", "model": "model", "pretrained": "model", "planted": "model", "metric": "metric"
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One registered name and where it comes from.

    Where a file cannot be read, it is not known what it declares: its ``unread`` entries, one of
    each kind, have its own name.
    """

    kind: Kind
    name: str
    summary: str
    path: Path
    line: int
    module: str
    declared_name: str
    version: int | None = None
    family: str | None = None
    scope: str | None = None
    distribution: str | None = None
    broken: str | None = None
    unread: bool = False

    @property
    def origin(self) -> str:
        """Return ``file:line`` of the declaration."""
        return f"{self.path}:{self.line}"

    @property
    def room(self) -> str:
        """Return what stands before the last slash of its name: ``local`` for files of a user."""
        return self.name.rpartition("/")[0]


def read(path: Path, module: str, *, prefix: str) -> Iterator[Entry]:
    """Find ``@task(name=...)``, ``@metric(name=...)``, ``pretrained(name=...)`` ... in a file.

    Args:
        path: The file.
        module: The module that it is imported as.
        prefix: What stands before the names that it declares.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing it gives them, if it comes to that
            found = list(
                _declarations(ast.parse(read_source(path), path.name), path, module, prefix)
            )
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = f"{path} cannot be read ({error or type(error).__name__})"
        found = [
            Entry(
                kind,
                prefix + path.stem,
                "",
                path,
                1,
                module,
                path.stem,
                broken=problem,
                unread=True,
            )
            for kind in KINDS
        ]
    yield from found


def names_in(kind: Kind, path: Path) -> list[str]:
    """Return the names that a file declares for a kind, without a prefix."""
    entries = read(path, "", prefix="")
    return [entry.name for entry in entries if entry.kind == kind and not entry.broken]


def _declarations(tree: ast.Module, path: Path, module: str, prefix: str) -> Iterator[Entry]:
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            calls = [node for node in statement.decorator_list if isinstance(node, ast.Call)]
            summary = (ast.get_docstring(statement) or "").partition("\n")[0]
        elif isinstance(statement, ast.Expr | ast.Assign) and isinstance(statement.value, ast.Call):
            calls, summary = [statement.value], ""
        else:
            continue
        for call in calls:
            kind = _DECLARING.get(ast.unparse(call.func).rpartition(".")[2])
            literals = _literals(call)
            name, broken = literals.get("name"), None
            if kind not in KINDS or not isinstance(name, str):
                continue
            if not is_registrable(name):
                broken = f"{path}:{statement.lineno} names it {quoted(name)}"
            yield Entry(
                kind, prefix + (path.stem if broken else name),
                summary or str(literals.get("summary", "")), path, statement.lineno, module, name,
                version=literals.get("version"), family=literals.get("family"), broken=broken,
                scope=literals.get("scope", "model") if kind == "metric" else None,
            )  # fmt: skip


def _literals(call: ast.Call) -> dict[str, Any]:
    values = {}
    for keyword in call.keywords:
        if keyword.arg and isinstance(keyword.value, ast.Constant):
            values[keyword.arg] = keyword.value.value
    return values
