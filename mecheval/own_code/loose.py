"""Classes that lie in no file, as in a cell of a notebook: told apart by all they consist of.

That is their source, and what their code refers to by global name in its module, and what that
refers to in turn: functions and classes by their source, constants by their values. Of a value
counts its type, and

* of plain values and containers what is in them, of sets in no order;
* of arrays and tensors their dtype, shape and bytes, and of arrays of objects the items;
* of functions and classes of other modules, compiled ones too, the qualified name, and of modules
  the name;
* of any other object what it gives to be copied or pickled (``__reduce_ex__``), part by part; where
  it gives nothing, its ``repr`` if that holds no address; else its ``__dict__`` if it has one; else
  nothing more.

What it gives goes before ``repr``, which may be cut short, may leave out weights, and may show
sets in the order that they have in one process. Deeper than 60 levels the type alone counts.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import linecache
import sys
import warnings
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_CONTAINERS = (dict, set, frozenset, tuple, list)
_OF_ARRAYS = ("dtype", "typecode", "format", "shape", "size")
_DEEPEST = 60  # levels of values in values, well within what Python allows of calls
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

    The head of this file says what of a value is part of the hash.

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
    return hashlib.sha256(_encoded(text)).hexdigest()


class _Parts:
    """What a class consists of: a text per function, class and constant, by name."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.texts: dict[str, str] = {}
        self._added: list[Any] = []
        self._open: list[Any] = []  # what is being written, which may contain itself
        self._written: dict[int, tuple[Any, str]] = {}  # by id; held, so that no id comes twice

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
        if id(value) not in self._written:
            self._open.append(value)
            deep = len(self._open) > _DEEPEST
            inside = "" if deep else hashlib.sha256(_encoded(self._inside(value))).hexdigest()
            self._open.pop()
            self._written[id(value)] = value, f"{self.text(type(value))} {inside}"
        return self._written[id(value)][1]

    def _inside(self, value: Any) -> str:
        if isinstance(value, set | frozenset):  # which give their items in an order of the process
            return f"{sorted(map(self.text, value))}{self.text(getattr(value, '__dict__', None))}"
        if type(value) in _CONTAINERS:
            items = value.items() if isinstance(value, dict) else [value]
            return self._listed(part for item in items for part in item)
        if isinstance(value, functools.partial):
            return self._listed([value.func, value.args, value.keywords])
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, BuiltinFunctionType):
            of = value.__self__  # the module of a function, the object of a method
            return f"{value.__module__}.{value.__qualname__}{self.text(of)}"
        if hasattr(value, "__wrapped__"):  # such as what functools.cache returns
            return self._listed([value.__wrapped__])
        return self._array(value) or self._object(value)

    def _array(self, value: Any) -> str:
        """Write an array or tensor; empty for what is none, or has no bytes, as on torch's meta."""
        torch: Any = sys.modules.get("torch")
        try:
            if torch and isinstance(value, torch.Tensor):
                flat = value.detach().cpu().resolve_conj().resolve_neg().reshape(-1)
                parts = [str(value.dtype), *value.shape, value.requires_grad]
                return self._bytes(parts, flat.view(torch.uint8).numpy().tobytes())
            if not callable(getattr(value, "tobytes", None)):
                return ""
            described = [str(getattr(value, name, None)) for name in _OF_ARRAYS]
            if getattr(getattr(value, "dtype", None), "hasobject", False):
                return self.text([*described, value.reshape(-1).tolist()])  # bytes are pointers
            return self._bytes(described, value.tobytes())
        except (TypeError, ValueError, RuntimeError):
            return ""

    def _bytes(self, described: list[Any], given: bytes) -> str:
        return f"{self._listed(described)} {hashlib.sha256(given).hexdigest()}"

    def _object(self, value: Any) -> str:
        """Write what an object gives to be copied, or shows, or has; empty without any of it."""
        given = _given(value)
        if given is not None:
            return self._listed(given)
        try:
            shown = repr(value)
        except Exception:  # code of others may raise anything
            shown = " at 0x"
        if " at 0x" not in shown:
            return shown
        held = getattr(value, "__dict__", None)
        return "" if held is None else self.text(dict(held))

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


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _given(value: Any) -> list[Any] | None:
    """Return what an object gives to be copied: how it is made, of what, and its items."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # iterators warn that they will give nothing
            given = value.__reduce_ex__(4)
        if isinstance(given, str):
            return [given]
        made, arguments, *rest = given
        items = [None if part is None else list(part) for part in rest[1:3]]
        return [made, arguments, *rest[:1], items]
    except Exception:  # code of others may raise anything
        return None


def _is_among(value: Any, others: Iterable[Any]) -> bool:
    return any(value is other for other in others)


def _functions(cls: type) -> Iterator[FunctionType]:
    """Yield the functions that stand in a class, without those that are made for dataclasses."""
    for name, value in vars(cls).items():
        found = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if not isinstance(found, FunctionType):
            continue
        made = found.__code__.co_filename == "<string>" and name.startswith("__")
        own = found.__module__ == cls.__module__  # those of named tuples are not
        if own and found.__qualname__ == f"{cls.__qualname__}.{name}" and not made:
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
