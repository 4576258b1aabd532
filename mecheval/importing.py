"""Importing files of users: anew when they changed, and saying where they fail.

A folder given with ``--include-path`` becomes a package of its own, so that its files find each
other by relative imports. Before anything of a package is used, the files of it that were imported
are compared with what they hold now; if one differs, all of the package is imported anew. So a
notebook that goes on after an edit uses the new file, and no class of the old one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOCAL = "mecheval_local"
"""Package of the packages that folders of users become."""

_MOST_BYTES = 10_000_000

_files: dict[str, Path] = {}
"""Files of modules that are named after them, but not as Python would."""
_sha256: dict[str, str] = {}
"""What a user's module held when it was imported."""
_packages: set[str] = set()
"""Packages of users."""
used: list[Path] = []
"""Files of users that were asked for since the list was cleared."""


def local_module(file: Path) -> str:
    """Return the name under which a file outside any package is imported."""
    folder = hashlib.sha256(os.fsencode(file.parent)).hexdigest()[:12]
    stem = file.stem
    if "." in stem:  # which would name a module in a package
        stem = f"{stem.replace('.', '-')}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
    module = f"{LOCAL}.folder_{folder}.{stem}"
    _files[module] = file
    return module


def import_users(module: str, path: Path, *, forget: Callable[[set[str]], None]) -> None:
    """Import a module of a user, or do so again if a file of its package changed.

    Args:
        module: Its name, as :func:`local_module` gives it, or that in an installed package.
        path: Its file.
        forget: Called before that with the names of the modules whose contents are stale.
    """
    package = module.rpartition(".")[0] if _is_local(module) else module.partition(".")[0]
    _packages.add(package)
    used.append(path)
    if _has_changed(package):
        forget(_forgotten(package))
    if _is_local(module) and package not in sys.modules:
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        sys.modules.setdefault(LOCAL, _package(LOCAL, []))
        # So that relative imports find siblings.
        sys.modules[package] = _package(package, [str(path.parent)])
    importlib.invalidate_caches()
    importlib.import_module(module)
    for name, file in _loaded(package):
        if name not in _sha256:
            _sha256[name] = _hash(file)


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


def source_sha256(path: Path) -> str:
    """Return the hash of a file, and of the files beside it that it imports, if there are any."""
    path = path.resolve()
    files = sorted(_sources(path))
    if files == [path]:
        return _hash(path)
    hashes = (f"{file.relative_to(path.parent)} {_hash(file)}" for file in files)
    return hashlib.sha256("\n".join(hashes).encode("utf-8", "surrogateescape")).hexdigest()


def source_of(module: str) -> str | None:
    """Return :func:`source_sha256` of an imported module; None where it has no file of source."""
    origin = getattr(getattr(sys.modules.get(module), "__spec__", None), "origin", None)
    return source_sha256(Path(origin)) if origin and Path(origin).is_file() else None


def place_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost code of a user that an error went through."""
    found = None
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        ours = Path(error.filename).is_relative_to(Path(__file__).parent)
        return None if ours else f"{error.filename}:{error.lineno}"
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if _is_users(frame.f_globals.get("__name__") or ""):
            found = f"{frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def _package(name: str, folders: list[str]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = folders
    return module


def innermost(error: BaseException) -> str:
    """Return ``file:line`` of the innermost code that an error went through."""
    traceback, found = error.__traceback__, ""
    while traceback is not None:
        found = f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def _is_local(module: str) -> bool:
    return module.startswith(f"{LOCAL}.")


def _is_users(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in _packages)


class _Loader(SourceFileLoader):
    """Compiles what the file holds now; cached bytecode is told apart by whole seconds alone."""

    def get_code(self, fullname: str) -> Any:
        data = self.get_data(self.path)
        _sha256[fullname] = hashlib.sha256(data).hexdigest()
        return self.source_to_code(data, self.path)


class _Finder:
    """Finds the modules of folders of users."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_local(fullname):
            return None
        stem = fullname.rpartition(".")[2]
        candidates = [_files[fullname]] if fullname in _files else []
        for folder in path or ():
            candidates += [Path(folder, stem, "__init__.py"), Path(folder, f"{stem}.py")]
        for file in candidates:
            if file.is_file():
                inside = [str(file.parent)] if file.name == "__init__.py" else None
                return importlib.util.spec_from_file_location(
                    fullname, file, loader=_Loader(fullname, str(file)),
                    submodule_search_locations=inside,
                )  # fmt: skip
        return None


def _loaded(package: str) -> Iterator[tuple[str, Path]]:
    """Yield the imported modules of a package that come from a file of source."""
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if (name == package or name.startswith(f"{package}.")) and str(origin).endswith(".py"):
            yield name, Path(str(origin))


def _has_changed(package: str) -> bool:
    return any(name in _sha256 and _sha256[name] != _hash(file) for name, file in _loaded(package))


def _forgotten(package: str) -> set[str]:
    """Forget all modules of a package, and bytecode that might be taken for that of new files."""
    for name, file in _loaded(package):
        _sha256.pop(name, None)
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    stale = {n for n in list(sys.modules) if n == package or n.startswith(f"{package}.")}
    for name in stale:
        del sys.modules[name]
    return stale


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""  # it was removed, which is a change


def _sources(path: Path) -> set[Path]:
    """Return a file and the files beneath its folder that it imports, and those that they do."""
    found, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        try:
            tree = ast.parse(read_source(file))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # importing it says so
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        todo += [other for node in nodes for other in _imported(node, file, path.parent)]
    return found


def _imported(node: ast.ImportFrom, file: Path, root: Path) -> Iterator[Path]:
    """Yield the files that a relative import may read."""
    if not node.level:
        return
    folder = file.parent.joinpath(*[".."] * (node.level - 1)).resolve()
    base = folder.joinpath(*(node.module or "").split("."))
    names = [base, *(base / alias.name for alias in node.names)]
    for name in names:
        for other in (name.parent / f"{name.name}.py", name / "__init__.py"):
            if other.is_relative_to(root):
                yield other
