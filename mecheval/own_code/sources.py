"""Which files of source code of one's own consists of: its file, and what that imports beside it.

Relative imports are followed, and absolute ones of what lies in the same folder or belongs to the
same top-level package, wherever they stand in a file. Not followed are other packages, the standard
library and mecheval, modules whose names are made at run time, and data files that code opens.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LOCAL = "mecheval_local"
"""Package of the packages that folders of users become."""

_MOST_BYTES = 10_000_000
_OF_OTHERS = ("site-packages", "dist-packages")
"""Names of folders where what lies beside a file is by somebody else."""


def read_source(path: Path) -> bytes:
    """Return a file of source.

    Raises:
        OSError: It cannot be read, is no regular file, or is too large to be one.
    """
    if not path.is_file():
        raise OSError("it is no regular file")
    if path.stat().st_size > _MOST_BYTES:
        raise OSError(f"it has more than {_MOST_BYTES / 1e6:.0f} MB")
    return path.read_bytes()


def plain(path: Path) -> Path:
    """Return a path without links in its folders; a link to a file imports beside the link."""
    return path.parent.resolve() / path.name


def file_hash(file: Path) -> str:
    """Return the hash of what a file holds; empty if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""  # it was removed, which is a change


def source_sha256(path: Path, module: str = "") -> str:
    """Return the hash of a file, and of the files of :func:`sources`, if there are any more.

    Args:
        path: The file.
        module: The name that it is imported by, as for :func:`sources`.
    """
    path = plain(path)
    files = sources(path, module)
    if files == {path}:
        return file_hash(path)
    top = _Place.of(path, module).folder
    hashes = (f"{file.relative_to(top)} {file_hash(file)}" for file in sorted(files))
    return hashlib.sha256("\n".join(hashes).encode("utf-8", "surrogateescape")).hexdigest()


def sources(path: Path, module: str = "") -> set[Path]:
    """Return a file and those of one's own that it imports, and those that they do.

    Args:
        path: The file.
        module: The name that it is imported by, which says to which package it belongs; without one
            it is looked at as a file in a folder.
    """
    path = plain(path)
    place = _Place.of(path, module)
    found, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        try:
            imports = _imports(read_source(file))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # importing it says so
        bases = (base for one in imports for base in place.bases(one, file))
        todo += [other for base in bases for other in _files(base) if place.holds(other)]
    return found


@dataclass(frozen=True)
class _Import:
    """What one statement imports: a dotted name behind ``level`` dots."""

    level: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """Where code of one's own is found.

    Attributes:
        package: Name of the top-level package that a file belongs to.
        folder: Its folder.
        beside: The folder whose files are imported by their names; None where others put theirs.
    """

    package: str
    folder: Path
    beside: Path | None

    @staticmethod
    def of(path: Path, module: str) -> _Place:
        """Find the package of a file that is imported by a name."""
        name, dot, rest = module.partition(".")
        if module and name != LOCAL and (dot or path.name == "__init__.py"):
            within = rest.count(".") + (path.name == "__init__.py") if dot else 0
            return _Place(name, path.parents[within], None)
        top = path.parent
        while (top / "__init__.py").is_file() and (top.parent / "__init__.py").is_file():
            top = top.parent
        return _Place(top.name, top, None if path.parent.name in _OF_OTHERS else path.parent)

    def bases(self, one: _Import, file: Path) -> Iterator[Path]:
        """Yield the paths, without suffix, that an import in a file may stand for."""
        if one.level:
            folder = file.parent.joinpath(*[".."] * (one.level - 1)).resolve()
            yield folder.joinpath(*one.names)
        elif one.names[0] != "mecheval":
            if one.names[0] == self.package:
                yield self.folder.joinpath(*one.names[1:])
            if self.beside is not None:
                yield self.beside.joinpath(*one.names)

    def holds(self, file: Path) -> bool:
        """Say whether a file is one's own."""
        return file.is_relative_to(self.folder)  # in which all that is beside lies too


def _files(base: Path) -> Iterator[Path]:
    yield base.parent / f"{base.name}.py"
    yield base / "__init__.py"


@lru_cache(maxsize=512)
def _imports(source: bytes) -> tuple[_Import, ...]:
    """Return what a file imports.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It cannot be read.
    """
    return tuple(one for node in ast.walk(ast.parse(source)) for one in _imported(node))


def _imported(node: ast.AST) -> Iterator[_Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _prefixes(alias.name.split("."))
    elif isinstance(node, ast.ImportFrom):
        names = tuple(node.module.split(".")) if node.module else ()
        if names or node.level:
            yield _Import(node.level, names)
            yield from (_Import(node.level, (*names, alias.name)) for alias in node.names)


def _prefixes(names: Sequence[str]) -> Iterable[_Import]:
    """Yield what ``import a.b`` gives: ``a``, through which ``b`` is used, and ``a.b``."""
    return (_Import(0, tuple(names[: i + 1])) for i in range(len(names)))
