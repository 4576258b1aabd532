"""A class in a notebook cell is told apart by all that it refers to, not by its own lines alone."""

from __future__ import annotations

import linecache
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from crossings import mostly_slow

import mecheval
from mecheval.own_code.loose import file_of, loose_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPORTS = """
import functools, math
from dataclasses import dataclass
from enum import Enum
import numpy as np
from mecheval.metrics import Estimate, Layout, Metric, metric
"""
METRIC = '''
@metric(name="mine", version=1, family="counting")
@dataclass(frozen=True, kw_only=True)
class Mine(Metric):
    """A number from elsewhere in the notebook."""

    def measure(self, subject):
        return [self.result(Layout("", "number", 1), Estimate(float(number())), 1)]
'''
HELPERS = {
    "function": "def number(): return 1",
    "constant": "K = 1\ndef number(): return K",
    "tuple": "K = (1, [1, 'a'], {'b': 1})\ndef number(): return K[0]",
    "function in a list": "def one(): return 1\nK = [one]\ndef number(): return K[0]()",
    "of a helper of a helper": "K = 1\ndef two(): return K\ndef number(): return two()",
    "class": "class C:\n    def get(self): return 1\ndef number(): return C().get()",
    "class without methods": "class C:\n    X = 1\ndef number(): return C.X",
    "enumeration": "class E(Enum):\n    X = 1\ndef number(): return E.X.value",
    "base class": "class B:\n    def get(self): return 1\nclass C(B): pass\n"
    "def number(): return C().get()",
    "named tuple": "import collections\nP = collections.namedtuple('P', 'x', defaults=(1,))\n"
    "def number(): return P().x",
    "instance": "@dataclass\nclass C:\n    x: int = 2\nc = C(x=1)\ndef number(): return c.x",
    "array": "K = np.array([1, 2])\ndef number(): return K[0]",
    "default": "def number(k=1): return k",
    "default by name": "K = 1\ndef number(k=K): return k",
    "lambda": "number = lambda: 1",
    "partial": "number = functools.partial(int, 1)",
    "cached": "@functools.cache\ndef number(): return 1",
    "inner function": "K = 1\ndef number():\n    def inner(): return K\n    return inner()",
    "closure": "def made(k):\n    def number(): return k\n    return number\nnumber = made(1)",
    "recursion": "def number(n=1): return n and number(n - 1) + 1",
}

VALUES = {  # of each two that are not alike
    "range": ("range(1, 5)", "range(1, 9)"),
    "slice": ("slice(1, 5)", "slice(1, 9)"),
    "pattern": ("re.compile('a')", "re.compile('b')"),
    "flags of a pattern": ("re.compile('a')", "re.compile('a', re.I)"),
    "path": ("Path('a')", "Path('b')"),
    "tensor": ("torch.tensor([1, 2])", "torch.tensor([1, 3])"),
    "type of a tensor": ("torch.zeros(2)", "torch.zeros(2, dtype=torch.int32)"),
    "shape of a tensor": ("torch.zeros(2, 2)", "torch.zeros(4)"),
    "bfloat16": ("torch.ones(2).bfloat16()", "torch.zeros(2).bfloat16()"),
    "parameter": ("torch.nn.Parameter(torch.ones(2))", "torch.nn.Parameter(torch.zeros(2))"),
    "conjugate": ("torch.tensor([1j]).conj()", "torch.tensor([1j])"),
    "sparse tensor": ("torch.eye(2).to_sparse()", "(2 * torch.eye(2)).to_sparse()"),
    "weights": ("made(1.0)", "made(2.0)"),
    "dtype": ("torch.float32", "torch.float64"),
    "dtype of an array": ("np.zeros(2, np.int64)", "np.zeros(2)"),
    "type of a compact array": ("array.array('i', [0])", "array.array('f', [0])"),
    "array of objects": ("np.array([1, 'a', None])", "np.array([1, 'b', None])"),
    "array of arrays": ("nested(1)", "nested(2)"),
    "frame": ("pd.DataFrame({'a': range(9999)})", "pd.DataFrame({'a': [*range(5000)] * 2})"),
    "bytearray": ("bytearray(b'a')", "bytearray(b'b')"),
    "view": ("memoryview(b'a')", "memoryview(b'b')"),
    "deque": ("deque([1, 2])", "deque([1, 3])"),
    "length of a deque": ("deque([1], 3)", "deque([1], 4)"),
    "arrays in a deque": ("deque([np.zeros(9999)])", "deque([np.arange(9999) == 5000])"),
    "default of a dictionary": ("defaultdict(int, a=1)", "defaultdict(float, a=1)"),
    "counter": ("Counter('ab')", "Counter('aa')"),
    "fraction": ("Fraction(1, 2)", "Fraction(1, 3)"),
    "span": ("timedelta(1)", "timedelta(2)"),
    "builtin": ("len", "max"),
    "compiled function": ("torch.relu", "torch.tanh"),
    "ufunc": ("np.maximum", "np.minimum"),
    "function of another module": ("os.path.join", "os.path.split"),
    "class of another module": ("Fraction", "Counter"),
    "compiled method": ("'a'.join", "'b'.join"),
    "getter": ("operator.itemgetter(1)", "operator.itemgetter(2)"),
    "slots": ("Slots(1)", "Slots(2)"),
    "silent": ("Silent(1)", "Silent(2)"),
    "not copied, but shown": ("Shown(1)", "Shown(2)"),
    "not copied, not shown": ("Held(1)", "Held(2)"),
    "named tuple": ("Pair(1, 2)", "Pair(1, 3)"),
    "set": ("{'a', 'b'}", "{'a', 'c'}"),
    "in a list in a dictionary": ("{'a': [Fraction(1, 2)]}", "{'a': [Fraction(1, 3)]}"),
}
OF_VALUES = """
import array, operator, os, re, torch
import pandas as pd
from collections import Counter, defaultdict, deque, namedtuple
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

Pair = namedtuple("Pair", "a b")
class Slots:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
class Silent:
    def __init__(self, x): self.x = x
    def __repr__(self): return "Silent"
class Held:
    def __init__(self, x): self.x = x
    def __reduce_ex__(self, protocol): raise RuntimeError
class Shown(Held):
    def __init__(self, x): self.__dict__["x"] = x
    def __repr__(self): return f"Shown {self.x}"
def nested(x):
    found = np.empty(2, object)
    found[:] = [np.array([x]), [x]]
    return found
def made(weight):
    found = torch.nn.Linear(2, 2)
    for parameter in found.parameters(): torch.nn.init.constant_(parameter, weight)
    return found
"""


class Notebook:
    """Cells that are executed in one module that has no file, as IPython does."""

    def __init__(self, name: str) -> None:
        self.module = ModuleType(name)
        self.n = 0

    def cell(self, text: str) -> None:
        self.n += 1
        file = f"/tmp/ipykernel_0/{id(self)}-{self.n}.py"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), vars(self.module))

    def mine(self) -> type:
        return vars(self.module)["Mine"]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    found = Notebook("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", found.module)
    found.cell(IMPORTS)
    yield found
    for file in [file for file in linecache.cache if file.startswith("/tmp/ipykernel_0/")]:
        del linecache.cache[file]


@pytest.mark.parametrize("name", HELPERS)
def test_an_edit_anywhere_is_seen(notebook: Notebook, name: str) -> None:
    notebook.cell(HELPERS[name])
    notebook.cell(METRIC)
    cls = notebook.mine()
    assert file_of(cls) is None
    first = loose_sha256(cls)
    notebook.cell(METRIC)
    assert loose_sha256(notebook.mine()) == first
    notebook.cell(HELPERS[name].replace("1", "5", 1))
    assert loose_sha256(cls) != first
    notebook.cell(HELPERS[name])
    assert loose_sha256(cls) == first


@pytest.mark.parametrize("name", VALUES)
def test_values_are_told_apart_by_what_is_in_them(notebook: Notebook, name: str) -> None:
    notebook.cell(OF_VALUES)
    one, other = VALUES[name]
    found = []
    for value in (one, one, other):
        notebook.cell(f"K = {value}\ndef number(): return K")
        notebook.cell(METRIC)
        found.append(loose_sha256(notebook.mine()))
    assert found[0] == found[1] != found[2]


def test_what_gives_nothing_counts_by_its_type(notebook: Notebook) -> None:
    found = []
    for value in ("threading.Lock()", "threading.Lock()", "(i for i in [1])"):
        notebook.cell(f"import threading\nK = {value}\ndef number(): return K")
        notebook.cell(METRIC)
        found.append(loose_sha256(notebook.mine()))
    assert found[0] == found[1] != found[2]


def test_values_of_which_many_share_one_and_deep_ones_end(notebook: Notebook) -> None:
    notebook.cell("K = [1]\nfor _ in range(40): K = [K, K]\ndef number(): return K[0]")
    notebook.cell("L = []\nfor _ in range(5000): L = [L]\ndef deep(): return L")
    notebook.cell(METRIC.replace("number()", "number() + deep()"))
    assert loose_sha256(notebook.mine()) == loose_sha256(notebook.mine())


def test_what_it_does_not_refer_to_is_not_part_of_it(notebook: Notebook) -> None:
    notebook.cell("K = 1\ndef number(): return math.floor(2.5)\nfloor = 1")
    notebook.cell(METRIC)
    first = loose_sha256(notebook.mine())
    notebook.cell("K = 2\ndef other(): return 3\nfloor = 2  # an attribute of that name is used")
    assert loose_sha256(notebook.mine()) == first


def test_values_that_contain_themselves_end(notebook: Notebook) -> None:
    notebook.cell("K = [1]\nK.append(K)\ndef number(): return K[0]")
    notebook.cell(METRIC)
    assert loose_sha256(notebook.mine()) == loose_sha256(notebook.mine())


def test_an_edited_helper_is_measured_anew(notebook: Notebook, tmp_path: Path) -> None:
    def measured() -> tuple[float | None, str]:
        (report,) = mecheval.evaluate(
            "lstm", "parity", metrics=[notebook.mine()()], output=tmp_path, device="cpu",
            recipe={"steps": 0, "gate": 0.0}, limit=8,
        )  # fmt: skip
        return report.metrics[-1].value, report.key

    notebook.cell(HELPERS["constant"])
    notebook.cell(METRIC)
    first = measured()
    assert measured() == first
    notebook.cell("K = 2")
    second = measured()
    assert (first[0], second[0]) == (1.0, 2.0)
    assert first[1] != second[1]


def test_a_constant_that_the_metric_moves_stops_nothing(notebook: Notebook) -> None:
    notebook.cell("SEEN = []\ndef number():\n    SEEN.append(1)\n    return len(SEEN)")
    notebook.cell(METRIC)
    reports = mecheval.evaluate(
        "lstm", "parity", seeds=[0, 1], metrics=[notebook.mine()()], device="cpu",
        recipe={"steps": 0, "gate": 0.0}, limit=8,
    )  # fmt: skip
    assert [report.metrics[-1].value for report in reports] == [1.0, 2.0]


SCRIPT = f"""{IMPORTS}{METRIC}
import mecheval
from mecheval.errors import MechevalError
def number(): return 1
try:
    mecheval.evaluate("lstm", "parity", metrics=[Mine()], device="cpu", recipe={{"steps": 0}})
except MechevalError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("way", mostly_slow(["stdin", "-c"], always=["stdin"]))
def test_without_source_it_is_refused(way: str) -> None:
    argv, given = ([sys.executable, "-"], SCRIPT) if way == "stdin" else (
        [sys.executable, "-c", SCRIPT], None
    )  # fmt: skip
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("UsageError The source of Mine cannot be read, so an edit"), done
    assert done.stdout.count("\n") == 1


def test_the_file_of_a_class_is_that_which_it_stands_in(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file_of(Notebook) == Path(__file__)
    monkeypatch.setattr(notebook.module, "__file__", __file__, raising=False)
    notebook.cell(METRIC)
    assert file_of(notebook.mine()) is None  # as after `python -i`
