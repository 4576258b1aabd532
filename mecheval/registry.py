"""Named tasks, models and metrics from three places: built in, entry points, ``--include-path``.

Entries are found by reading declarations (``@task(name="parity", ...)``) from source files without
running them, so that listing is fast and a broken plug-in cannot break it. Only the file of an
entry that is asked for is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval import paths
from mecheval.errors import ContractError, UsageError, unknown
from mecheval.escape import quoted
from mecheval.own_code.declarations import KINDS as KINDS
from mecheval.own_code.declarations import Entry as Entry
from mecheval.own_code.declarations import Kind as Kind
from mecheval.own_code.declarations import names_in, read
from mecheval.own_code.explaining import in_words
from mecheval.own_code.importing import import_users, local_module, place_of
from mecheval.text.hints import hint_for_name
from mecheval.text.naming import check_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from importlib.metadata import EntryPoint

_declared: dict[tuple[Kind, str, str], Any] = {}


@dataclass(frozen=True)
class Registry:
    """All entries visible to one command.

    Attributes:
        include_paths: Files or folders whose declarations become ``local/NAME``.
    """

    include_paths: tuple[Path, ...] = ()
    _entries: dict[tuple[Kind, str], Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index every declaration; nothing is imported."""
        entries: dict[tuple[Kind, str], Entry] = {}
        for entry in [*_builtin(), *_plugins(), *_included(self.include_paths)]:
            earlier = entries.setdefault((entry.kind, entry.name), entry)
            if earlier is entry:
                continue
            problem = f"declared twice: {earlier.origin} and {entry.origin}"
            if entry.distribution is None:
                raise ContractError(
                    f"{entry.kind.capitalize()} '{entry.name}' is {problem}. Rename one of them."
                )
            entries[entry.kind, entry.name] = replace(earlier, broken=problem)
        object.__setattr__(self, "_entries", entries)

    def entries(self, kind: Kind) -> list[Entry]:
        """Return the entries of one kind, sorted by name, built-in ones first."""
        chosen = [entry for (k, _), entry in self._entries.items() if k == kind]
        return sorted(chosen, key=lambda entry: ("/" in entry.name, entry.name))

    def get(self, kind: Kind, name: str) -> Entry:
        """Return one entry.

        Raises:
            UsageError: The name is unknown, or its plug-in cannot be read.
        """
        entry = self._entries.get((kind, name))
        if entry is None:
            names = [known.name for known in self.entries(kind)]
            hint = self.hint(kind, name)
            raise unknown(kind, name, names, see=f"`mecheval ls {kind}s`", hint=hint)
        if entry.unread:
            raise UsageError(f"{quoted(name)} cannot be used: {entry.broken}. Mend the file.")
        if entry.broken:
            raise UsageError(f"{kind.capitalize()} '{name}' cannot be used: {entry.broken}.")
        return entry

    def hint(self, kind: Kind, name: str) -> str:
        """Return a sentence for a name that is not registered; empty where there is none to say."""
        room = name.rpartition("/")[0]
        unread = {e.broken for e in self._entries.values() if e.unread and e.room == room}
        if unread:
            return f"What this file declares is not known: {min(filter(None, unread))}."
        return hint_for_name(
            kind, name, included=bool(self.include_paths), declared=partial(names_in, kind)
        )

    def load(self, kind: Kind, name: str) -> Any:
        """Import the file of one entry, anew if it changed, and return the declared object.

        Raises:
            UsageError: The name is unknown.
            ContractError: The file does not import, or does not declare it.
        """
        entry = self.get(kind, name)
        try:
            _import(entry)
        except (Exception, SystemExit) as error:
            raise ContractError(
                f"The file {place_of(error) or entry.path} of {kind} '{name}' does not import "
                f"({in_words(error)}). Mend the file, then run "
                f"`mecheval validate {name}`."
            ) from error
        found = _declared.get((kind, entry.module, entry.declared_name))
        if found is None:
            raise ContractError(
                f"The file {entry.origin} says that there is a {kind} '{entry.declared_name}', but "
                f"declares none when it is imported. Declare it with mecheval's own @{kind}."
            )
        return found


def declare(kind: Kind, name: str, module: str, declared: Any) -> None:
    """Record a declared object; called by the decorators while a file is imported.

    Raises:
        ContractError: It cannot have this name.
    """
    check_name(kind, name)
    _declared[kind, module, name] = declared


@cache
def _builtin() -> tuple[Entry, ...]:
    """Return what is built in, read once per process: its files are imported once as well."""
    return tuple(_built_in())


def _built_in() -> Iterator[Entry]:
    import mecheval.builtin

    for folder in ("task_registry", "model_registry"):
        for root in mecheval.builtin.__path__:
            if (Path(root) / folder).is_dir():
                yield from _folder(Path(root) / folder, f"mecheval.builtin.{folder}", prefix="")
                break
    # The rooms among metrics are for people; they do not become part of a name.
    metrics = Path(__file__).with_name("metrics")
    yield from _folder(metrics, "mecheval.metrics", prefix="", rooms=False)


def _folder(folder: Path, package: str, *, prefix: str, rooms: bool = True) -> Iterator[Entry]:
    """Find declarations in a folder, and in the folders in it, as ``ROOM/NAME`` where wanted."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py":
            # Most files among the metrics declare none, and parsing takes time.
            if rooms or "@metric(" in path.read_text(encoding="utf-8"):
                yield from read(path, f"{package}.{path.stem}", prefix=prefix)
        elif path.is_dir() and path.name.isidentifier() and path.name != "__pycache__":
            inner = f"{prefix}{path.name}/" if rooms else prefix
            yield from _folder(path, f"{package}.{path.name}", prefix=inner, rooms=rooms)


@lru_cache(maxsize=1)
def _entry_points(_: Hashable) -> dict[Kind, list[EntryPoint]]:
    """Return the entry points of every kind; packages are files to read, hundreds of them.

    Args:
        _: What is installed, as :func:`_installed` says.
    """
    points = entry_points()
    return {kind: list(points.select(group=f"mecheval.{kind}s")) for kind in KINDS}


def _installed() -> Hashable:
    """Return what changes where a package is installed or removed: it is in one of these."""
    folders = [Path(entry).absolute() for entry in sys.path]
    return tuple((folder, paths.modified_ns(folder)) for folder in folders)


def _plugins() -> Iterator[Entry]:
    for kind, points in _entry_points(_installed()).items():
        for point in points:
            distribution = point.dist.name if point.dist else None
            path = _source_of(point.module)
            if path is None:
                yield Entry(
                    kind, point.name, "", Path(), 0, point.module, point.name,
                    distribution=distribution,
                    broken=f"entry point '{point.name}' names the module '{point.module}', "
                    "which is not there",
                )  # fmt: skip
                continue
            for file, module in _modules(path, point.module):
                for entry in read(file, module, prefix=f"{point.name}/"):
                    if entry.kind == kind:
                        yield Entry(**{**vars(entry), "distribution": distribution})


def _included(include_paths: Iterable[Path]) -> Iterator[Entry]:
    seen: set[Path] = set()  # what is given twice, in whatever spelling, is there once
    for given in include_paths:
        path = paths.expanded(Path(given))
        if not (paths.is_file(path) or paths.is_dir(path)):
            raise UsageError(f"There is no file or folder {path}. Give --include-path one.")
        path = path.resolve()
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        for file in files:
            if paths.resolved(file) not in seen and not file.is_dir():
                seen.add(paths.resolved(file))
                yield from read(file, local_module(file), prefix="local/")


def _modules(path: Path, module: str) -> Iterator[tuple[Path, str]]:
    if path.name != "__init__.py":
        yield path, module
        return
    for file in sorted(path.parent.glob("*.py")):
        yield file, module if file.stem == "__init__" else f"{module}.{file.stem}"


def _source_of(module: str) -> Path | None:
    """Find a module's file without importing it or the package that it lies in."""
    top, *rest = module.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    name = top
    for part in rest:
        name = f"{name}.{part}"
        folders = found.submodule_search_locations if found else None
        found = PathFinder.find_spec(name, folders) if folders else None
    return Path(found.origin) if found and found.origin else None


def _import(entry: Entry) -> None:
    if entry.module.startswith("mecheval."):
        importlib.import_module(entry.module)
    else:
        import_users(entry.module, entry.path, forget=_forget)


def _forget(modules: set[str]) -> None:
    for key in [key for key in _declared if key[1] in modules]:
        del _declared[key]
