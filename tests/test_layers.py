"""Imports go downwards, and only the command line prints: held by reading the sources."""

from __future__ import annotations

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mecheval"
GROUND = (
    "builtin cached_files checks dictionaries errors escape exact garbage later likeness locking "
    "own_code paths recipe seeding spec stats text version"
)
LEVELS = (
    set(GROUND.split()),
    {"registry", "reports"},
    {"tasks"},
    {"models"},
    {"training", "interventions"},
    {"metrics"},
    {"harness"},
    {"leaderboard"},
    {"cli"},
    {"api", "__main__"},
)
"""From the ground floor up; a room may import what is beneath it, and itself.

A recipe is a value that model cards carry and reports read, so it lies beneath both.
"""

FLOORS = ("recording", "discovery", "decomposition", "replay")
"""Rooms of ``models/wrapped``, each resting on those before it; its own files rest on all."""

LAZY = "mecheval.reports"
"""The one room whose index imports from within what it also is imported by, when it is used."""

FOR_REGISTRIES = {
    "task_registry": {"tasks", "errors"},
    "model_registry": {"models", "recipe", "errors", "exact"},
}
"""What a registered task or model may use of the package."""

READ_FROM_SOURCE = {"registry": {"metrics"}}
"""Rooms whose declarations another reads as text, and of which it imports what is asked for."""

SEEDING = {
    "torch.manual_seed", "torch.default_generator.manual_seed", "torch.cuda.manual_seed_all",
    "np.random.seed", "random.seed",
}  # fmt: skip

MODULE = re.compile(r"mecheval\.[a-z_]+(\.\w+)*[.:]?\w*")
"""A text that may name a module, with a function of it, or begin the name of one."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def level(room: str) -> int:
    return next(i for i, rooms in enumerate(LEVELS) if room in rooms)


def imports(tree: ast.AST, *, strings: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports when it runs, also inside functions, or by string."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif strings and isinstance(node, ast.Constant) and MODULE.fullmatch(str(node.value)):
            yield str(node.value).partition(":")[0].rstrip(".")
        else:
            yield from imports(node, strings=strings)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported_by(path: Path) -> tuple[str, ...]:
    return tuple(imports(tree_of(path)))


def rooms_of(path: Path) -> set[str]:
    """Return the rooms of the package that a file imports."""
    return {name.split(".")[1] for name in imported_by(path) if name.startswith("mecheval.")}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_the_public_index_imports_what_is_used() -> None:
    tree = tree_of(PACKAGE / "__init__.py")
    assert not [name for name in imports(tree, strings=False) if name.startswith("mecheval")]


def test_imports_go_downwards() -> None:
    upwards = []
    for path in MODULES:
        if path == PACKAGE / "__init__.py":
            continue
        own = room_of(path)
        used = rooms_of(path) & set.union(*LEVELS) - READ_FROM_SOURCE.get(own, set())
        above = [room for room in used if room != own and level(room) >= max(1, level(own))]
        upwards += [f"{path.relative_to(ROOT)} imports {room}" for room in above]
    assert not upwards


@pytest.mark.parametrize("registry", FOR_REGISTRIES)
def test_registries_use_contracts_only(registry: str) -> None:
    for path in (ROOT / registry).rglob("*.py"):
        used = rooms_of(path)
        assert used <= FOR_REGISTRIES[registry], f"{path.name} uses {sorted(used)}"


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_of_wrapped_models_rest_on_those_below(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    for path in (PACKAGE / "models" / "wrapped" / floor).glob("*.py"):
        used = [n.split(".")[3] for n in imported_by(path) if wrapped_room(n)]
        assert not [n for n in used if n in above or n not in FLOORS], path.name


def wrapped_room(name: str) -> bool:
    return name.startswith("mecheval.models.wrapped.")


def test_rooms_have_no_circles() -> None:
    """Hold every depth: what a room imports, also inside functions, never leads back to it."""
    for depth in (2, 3, 4):
        graph: dict[str, set[str]] = {}
        for path in MODULES:
            own = ".".join(path.relative_to(ROOT).with_suffix("").parts[:depth])
            used = {".".join(n.split(".")[:depth]) for n in imported_by(path) if is_own(n)}
            if not own.startswith(LAZY):
                graph.setdefault(own, set()).update(used - {own})
        tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_files_about_reports_have_no_circles_even_for_type_checkers() -> None:
    """Hold that what one file calls or names of another never leads back to it."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    own = {path: name for path, name in names.items() if name.startswith(LAZY)}
    files = {name.removesuffix(".__init__") for name in own.values()}
    graph = {
        name: {resolved for each in named_in(tree_of(path)) if (resolved := file_of(each, files))}
        for path, name in own.items()
        if not name.endswith("__init__")
    }
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def named_in(tree: ast.AST) -> Iterator[str]:
    """Yield what a file imports from anywhere, also for type checkers alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name: str, files: set[str]) -> str | None:
    """Return the file that a name is of: itself, or what it is imported from."""
    return next((each for each in (name, name.rpartition(".")[0]) if each in files), None)


def is_own(name: str) -> bool:
    return name.startswith("mecheval.") and ROOT.joinpath(*name.split(".")[:2]).exists()


def test_every_room_has_a_level() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} == set.union(*LEVELS)


def test_one_function_of_the_command_line_prints() -> None:
    """All text goes through it, and nothing that a terminal would obey comes through."""
    printing = [
        str(path.relative_to(ROOT))
        for path in [*MODULES, *ROOT.glob("*_registry/**/*.py")]
        if called(path) & {"print", "sys.stdout.write", "sys.stderr.write"}
    ]
    assert printing == ["mecheval/cli/printing.py"]
    calls = [n for n in ast.walk(tree_of(ROOT / printing[0])) if isinstance(n, ast.Call)]
    assert sum(ast.unparse(call.func) == "print" for call in calls) == 1


def called(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_global_random_state_is_seeded_only_where_it_is_restored() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in [*MODULES, *ROOT.glob("*_registry/**/*.py")]
        if seeds_globally(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not guilty


def seeds_globally(tree: ast.AST) -> bool:
    """Say whether a global generator is seeded outside of ``with torch.random.fork_rng(...)``."""
    for node in ast.iter_child_nodes(tree):
        forks = isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SEEDING:
            return True
        if not forks and seeds_globally(node):
            return True
    return False


def test_global_seeding_is_found() -> None:
    assert seeds_globally(ast.parse("def f():\n    torch.manual_seed(0)\n"))
    assert not seeds_globally(ast.parse("with fork_rng():\n    torch.manual_seed(0)\n"))
    assert not seeds_globally(ast.parse("generator.manual_seed(0)\n"))


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from mecheval.cli import main\n"
        "def f():\n    from mecheval.harness.plan import plan\n"
    )
    assert rooms_of(path) == {"harness"}


def test_imported_modules_exist() -> None:
    """Hold also what only type checkers import: they pass over packages that are missing."""
    missing = []
    for path in MODULES:
        nodes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)]
        for module in {node.module for node in nodes if node.module}:
            at = ROOT.joinpath(*module.split("."))
            if module.startswith("mecheval.") and not (
                at.is_dir() or at.with_suffix(".py").exists()
            ):
                missing.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not missing
