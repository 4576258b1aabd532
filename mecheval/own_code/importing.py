"""Importing files of users: anew when they changed, and saying where they fail.

A folder given with ``--include-path`` becomes a package of its own, so that its files find each
other by relative imports. Before anything of a package is used, the files that it was imported from
(:mod:`mecheval.own_code.sources` says which those are) are compared with what they hold now; if one
differs, all of them are imported anew. So a notebook that goes on after an edit uses the new file,
and no class of the old one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mecheval.own_code.sources import LOCAL, file_hash, plain, source_sha256, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_files: dict[str, Path] = {}
"""Files of modules that are named after them, but not as Python would."""
_held: dict[str, dict[Path, str]] = {}
"""What the files of a user's package, and those that they import beside it, held when they were
imported: hashes by file, by package."""
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
    package = _package_of(module)
    held = _held.setdefault(package, {})
    used.append(path)
    files = sources(path, module)
    appeared = module in sys.modules and plain(path) in held and not files <= held.keys()
    if appeared or any(file_hash(file) != sha256 for file, sha256 in held.items()):
        forget(_forgotten(package))
    # Before they are imported: what changes in between is then a change.
    for file in files:
        held.setdefault(file, file_hash(file))
    if _is_local(module) and package not in sys.modules:
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        sys.modules.setdefault(LOCAL, _package(LOCAL, []))
        # So that relative imports find siblings.
        sys.modules[package] = _package(package, [str(path.parent)])
    importlib.invalidate_caches()
    importlib.import_module(module)
    for name in list(sys.modules):
        if _is_in(name, package) and (file := _file_of(name)):
            held.setdefault(file, file_hash(file))


def source_of(module: str) -> str | None:
    """Return :func:`source_sha256` of an imported module; None where it has no file of source."""
    origin = getattr(getattr(sys.modules.get(module), "__spec__", None), "origin", None)
    return source_sha256(Path(origin), module) if origin and Path(origin).is_file() else None


def place_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost code of a user that an error went through."""
    found = None
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        ours = Path(error.filename).is_relative_to(Path(__file__).parents[1])
        return None if ours else f"{error.filename}:{error.lineno}"
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if _is_users(frame.f_globals.get("__name__") or "", frame.f_code.co_filename):
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


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _package_of(module: str) -> str:
    return module.rpartition(".")[0] if _is_local(module) else module.partition(".")[0]


def _is_users(module: str, file: str) -> bool:
    """Say whether code is a user's, by the name of its module or the file that it stands in."""
    if any(_is_in(module, package) for package in _held):
        return True
    return any(plain(Path(file)) in held for held in _held.values())


class _Loader(SourceFileLoader):
    """Compiles what the file holds now; cached bytecode is told apart by whole seconds alone."""

    def get_code(self, fullname: str) -> Any:
        data = self.get_data(self.path)
        held = _held.setdefault(_package_of(fullname), {})
        held.setdefault(plain(Path(self.path)), hashlib.sha256(data).hexdigest())
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


def _file_of(module: str) -> Path | None:
    """Return the file of source that a module was imported from."""
    origin = str(getattr(getattr(sys.modules.get(module), "__spec__", None), "origin", None))
    return plain(Path(origin)) if origin.endswith(".py") else None


def _forgotten(package: str) -> set[str]:
    """Forget all modules of a package and of files that it was imported from.

    Bytecode goes too, as it might be taken for that of new files.
    """
    held = _held[package]
    stale = {n for n in list(sys.modules) if _is_in(n, package) or _file_of(n) in held}
    for file in held:
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    held.clear()
    for name in stale:
        module = sys.modules.pop(name)
        parent, _, attribute = name.rpartition(".")
        if getattr(sys.modules.get(parent), attribute, None) is module:
            delattr(sys.modules[parent], attribute)  # which `from parent import` would take
    return stale
