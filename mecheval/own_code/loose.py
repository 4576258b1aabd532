"""Classes that lie in no file, as in a cell of a notebook: told apart by all they consist of.

That is their source, and what their code refers to by global name in its module, and what that
refers to in turn: functions and classes by their source, constants by their values.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import functools
import hashlib
import inspect
import linecache
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_LOOKS_UP = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def file_of(cls: type) -> Path | None:
    """Return the file of the module that a class is defined in; None if it stands elsewhere.

    A class may be of a module that has a file and not stand in it, as after ``python -i``.
    """
    given = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if not given or not Path(given).is_file():
        return None
    codes = [function.__code__ for function in _functions(cls)]
    within = [Path(code.co_filename).resolve() == Path(given).resolve() for code in codes]
    return Path(given) if any(within) or not within else None


def loose_sha256(cls: type) -> str:
    """Hash a class with what its code refers to by global name in its module, and so on.

    Of other modules only the names are part of the hash, and of objects that are neither constants
    nor of a class of the same module only their type.

    Raises:
        UsageError: The source cannot be read.
    """
    parts = _Parts(cls.__module__)
    try:
        parts.add(cls)
    except OSError:
        raise UsageError(
            f"The source of {cls.__name__} cannot be read, so an edit of it could not be noticed. "
            "Put it into a file, and import it from there or name it with --include-path."
        ) from None
    text = "\n".join(f"{name}: {parts.texts[name]}" for name in sorted(parts.texts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class _Parts:
    """What a class consists of: a text per function, class and constant, by name."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.texts: dict[str, str] = {}
        self._added: list[Any] = []
        self._open: list[Any] = []  # what is being written, which may contain itself

    def add(self, value: type | FunctionType) -> str:
        """Add a function or class with what it refers to; return its name.

        Raises:
            OSError: Its source cannot be read.
        """
        name = f"{type(value).__name__} {value.__qualname__}"
        if _is_among(value, self._added):
            return name
        self._added.append(value)
        if isinstance(value, type):
            text, names = self._class(value)
            held = list(_functions(value))
        else:
            text, names, held = inspect.getsource(value.__code__), _names(value.__code__), [value]
        inner = "".join(f"\n  {line}" for function in held for line in self._kept(function))
        # Two of one name, as lambdas are, both count.
        self.texts[name] = self.texts.get(name, "") + text + inner
        scope = held[0].__globals__ if held else {}
        for global_name in sorted(set(names) & scope.keys()):
            self.texts[f"name {global_name}"] = self.text(scope[global_name])
        return name

    def text(self, value: Any) -> str:
        """Write a value, and add what functions and classes are in it."""
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, FunctionType | type):
            own = value.__module__ == self.module
            return self.add(value) if own else f"{value.__module__}.{value.__qualname__}"
        if _is_among(value, self._open):
            return "..."
        self._open.append(value)
        text = f"{type(value).__name__}{self._inside(value)}"
        self._open.pop()
        return text

    def _inside(self, value: Any) -> str:
        if isinstance(value, dict):
            return self._listed(part for item in value.items() for part in item)
        if isinstance(value, set | frozenset):
            return str(sorted(map(self.text, value)))
        if isinstance(value, tuple | list):
            return self._listed(value)
        if isinstance(value, functools.partial):
            return self._listed([value.func, value.args, value.keywords])
        if isinstance(value, ModuleType):
            return f" {value.__name__}"
        if hasattr(value, "__wrapped__"):  # such as what functools.cache returns
            return self._listed([value.__wrapped__])
        if hasattr(value, "tobytes"):  # arrays
            return f" {getattr(value, 'shape', '')} {hashlib.sha256(value.tobytes()).hexdigest()}"
        if type(value).__module__ == self.module or dataclasses.is_dataclass(value):
            return self._listed([type(value), getattr(value, "__dict__", None)])
        return f" of {type(value).__module__}"

    def _listed(self, values: Iterable[Any]) -> str:
        return f"[{', '.join(map(self.text, values))}]"

    def _class(self, cls: type) -> tuple[str, Iterable[str]]:
        """Return the text of a class, and the names that occur in it.

        Raises:
            OSError: It has methods, whose source cannot be read.
        """
        functions = list(_functions(cls))
        if functions:
            text, node = _class_source(cls, functions[0])
            return text, [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
        described = {key: value for key, value in vars(cls).items() if not key.startswith("__")}
        annotations = {key: str(of) for key, of in vars(cls).get("__annotations__", {}).items()}
        return self.text([cls.__bases__, annotations, described]), []

    def _kept(self, function: FunctionType) -> Iterator[str]:
        """Yield what a function holds: default arguments, and variables of those around it."""
        yield self.text([function.__defaults__, function.__kwdefaults__])
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                yield f"{name} = {self.text(cell.cell_contents)}"
            except ValueError:  # it has no value yet
                continue


def _is_among(value: Any, others: Iterable[Any]) -> bool:
    return any(value is other for other in others)


def _functions(cls: type) -> Iterator[FunctionType]:
    """Yield the functions that stand in a class, without those that are made for dataclasses."""
    for name, value in vars(cls).items():
        found = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if not isinstance(found, FunctionType):
            continue
        made = found.__code__.co_filename == "<string>" and name.startswith("__")
        if found.__qualname__ == f"{cls.__qualname__}.{name}" and not made:
            yield found


def _class_source(cls: type, method: FunctionType) -> tuple[str, ast.ClassDef]:
    """Return the source of a class, and its tree.

    Raises:
        OSError: It cannot be read.
    """
    code = method.__code__
    lines = linecache.getlines(code.co_filename, method.__globals__)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise OSError("source code not available") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= code.co_firstlineno <= (node.end_lineno or first):
                return "".join(lines[first - 1 : node.end_lineno]), node
    raise OSError("source code not available")


def _names(code: CodeType) -> set[str]:
    """Return the global names that a function looks up, and functions within it."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in _LOOKS_UP}
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found.union(*map(_names, inner))
