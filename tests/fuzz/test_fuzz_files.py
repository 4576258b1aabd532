"""Suites and files of tasks and models: whatever they hold, one sentence or what was asked for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import commands
import hostile
from commands import fuzzed
from hypothesis import given
from hypothesis import strategies as st

SUITE = """summary = "two grids"
[[grid]]
models = ["gru", "mamba[layers=2]"]
tasks = ["parity", "ar[small]"]
seeds = [0, 1]
metrics = ["recovery"]
sweep = { lr = [3e-3, 1e-2] }
[[grid]]
models = ["lstm"]
tasks = ["dyck[k=2]"]
size = "formal"
snapshots = 4
recipe = { betas = [0.9, 0.98], steps = 10 }
[[claim]]
says = "it is solved"
task = "parity"
model = "gru"
minus = "lstm"
result = "token_accuracy/1x"
at = "floor"
least = 0.9
most = 1.0
verdicts = ["induction"]
[[claim]]
id = "F1"
says = "they swap places"
task = "parity"
model = "gru"
result = "readability/parity"
at = "lateness"
minus = { model = "lstm" }
times = { task = "dyck", result = "readability/top" }
most = 0.0
[[claim]]
says = "all of them"
task = "*"
model = "*"
result = "readability/*"
at = "layer=*"
which = "least"
off = 0.1
command = "mecheval run"
"""
KEYS = ["summary", "grid", "claim", "models", "tasks", "seeds", "metrics", "sweep", "size",
        "snapshots", "recipe", "says", "task", "model", "minus", "result", "at", "least", "most",
        "verdicts", "untestable", "paper", "source", "sed", "x", "id", "times", "nearer_than",
        "ranks_with", "which", "off", "command"]  # fmt: skip


def toml(value: Any) -> str:
    """Write a value as TOML, or as something near to it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{quote(key)} = {toml(item)}" for key, item in value.items()) + " }"
        )
    return quote(value) if isinstance(value, str) else str(value)


def quote(text: str) -> str:
    return '"' + "".join(c if c.isalnum() else f"\\u{min(ord(c), 0xFFFF):04x}" for c in text) + '"'


fields = st.dictionaries(st.sampled_from(KEYS), hostile.value, max_size=5)
replaced = st.builds(
    lambda key, value: SUITE.replace(
        f"\n{key} = ", f"\n{key} = {toml(value)}\nx_{key} = ", 1
    ).replace(f"\nx_{key} = ", "\n# ", 1),
    st.sampled_from(KEYS),
    hostile.value,
)
suites = st.one_of(
    replaced,
    hostile.edited(SUITE),
    fields.map(lambda found: "\n".join(f"{key} = {toml(value)}" for key, value in found.items())),
    st.builds(
        lambda value: f"[[grid]]\nmodels = {toml(value)}\ntasks = ['parity']\n", hostile.value
    ),
    st.text(max_size=30),
)

TASK = '''from dataclasses import dataclass

from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import task


@task(name="toy", version=1, reference="none", mechanisms=())
@dataclass(frozen=True, kw_only=True)
class Toy(Parity):
    """A task."""

    extra: int = 3

    def __post_init__(self):
        super().__post_init__()

    @property
    def symbols(self):
        return ("<bos>", "0", "1")

    @property
    def variables(self):
        return {"parity": 2}

    def sample(self, rng, n, length):
        return super().sample(rng, n, length)

    def counterfactual(self, batch, rng):
        return super().counterfactual(batch, rng)
'''
MODEL = '''from dataclasses import dataclass

from mecheval.builtin.model_registry.gru import Gru
from mecheval.models.stack.architecture import model
from mecheval.recipe import Recipe


@model(name="toy", reference="none", architecture="recurrent",
       recipes={"tiny": Recipe(steps=3)}, sizes={"tiny": {"layers": 1, "width": 8}})
@dataclass(frozen=True, kw_only=True)
class Toy(Gru):
    """A model."""

    extra: int = 3

    def __post_init__(self):
        super().__post_init__()

    def encode(self, task):
        return super().encode(task)

    def mixer(self, layer):
        return super().mixer(layer)
'''
METRIC = '''from dataclasses import dataclass

from mecheval.metrics import Column, Estimate, Layout, Metric, metric


@metric(name="toy", version=1, family="counting", needs=(),
        headline=(Column("pairs counted"),))
@dataclass(frozen=True, kw_only=True)
class Toy(Metric):
    """A metric."""

    n_pairs: int = 8

    def __post_init__(self):
        super().__post_init__()

    def outline(self, subject):
        return [Layout("", "count", 1)]

    def measure(self, subject):
        return [self.result(Layout("", "count", 1), Estimate(1.0), 1)]
'''
VALUES = ["None", "3", "-1", "0", "''", "'x'", "()", "{}", "[]", "1 / 0", "object()", "print", "1j",
          "float('nan')", "10 ** 400", "lambda *a, **k: None", "exit(3)", "undefined", "self",
          "'\\x1b[31m\\u202e'", "'\\ud800'", "b'x'", "range(3)", "type", "(0,) * 9"]  # fmt: skip


@st.composite
def sources(draw: st.DrawFn, good: str) -> str:
    """Return a file in which expressions, lines or characters are others."""
    lines = good.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(["value", "value", "value", "remove", "double", "edit"]))
        line = lines[at]
        if what == "value" and ("return " in line or "= " in line or "=" in line):
            head, sign, _ = line.partition("return " if "return " in line else "=")
            lines[at] = f"{head}{sign}{draw(st.sampled_from(VALUES))}\n"
            if line.count("(") > line.count(")"):
                lines[at] = line.replace("1", draw(st.sampled_from(VALUES)))
        elif what == "value":
            lines[at] = f"{line.rstrip()} {draw(st.sampled_from(VALUES))}\n"
        elif what == "remove":
            lines[at] = ""
        elif what == "double":
            lines[at] = line * 2
        else:
            lines[at] = draw(hostile.edited(line))
    return "".join(lines)


def in_a_folder(name: str, text: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


@fuzzed(40)
@given(suites)
def test_any_suite(text: str) -> None:
    folder = in_a_folder("own.toml", text)
    try:
        path = str(folder / "own.toml")
        shown = commands.run("show", "suite", path)
        done = commands.run("run", "--suite", path, "--dry-run")
        assert shown.code == 0 or "own.toml" in done.err
        (folder / "results").mkdir()
        commands.run("leaderboard", "claims", path, str(folder / "results"))
    finally:
        shutil.rmtree(folder)


@fuzzed(20)
@given(sources(TASK))
def test_any_file_of_a_task(text: str) -> None:
    folder = in_a_folder("toy.py", text)
    try:
        own = ("--include-path", str(folder))
        commands.run("ls", "tasks", *own)
        commands.run("run", "-m", "gru", "-t", "local/toy", "--dry-run", *own)
        commands.run("show", "task", "local/toy", *own)
    finally:
        shutil.rmtree(folder)


@fuzzed(15)
@given(sources(MODEL))
def test_any_file_of_a_model(text: str) -> None:
    folder = in_a_folder("toy.py", text)
    try:
        own = ("--include-path", str(folder))
        commands.run("ls", "models", *own)
        commands.run("run", "-m", "local/toy", "-t", "parity", "--dry-run", *own)
        commands.run("show", "model", "local/toy", *own)
        commands.run("ls", "sites", "local/toy", *own)
    finally:
        shutil.rmtree(folder)


@fuzzed(12)
@given(sources(METRIC))
def test_any_file_of_a_metric(text: str) -> None:
    folder = in_a_folder("toy.py", text)
    try:
        own = ("--include-path", str(folder))
        commands.run("ls", "metrics", *own)
        commands.run("run", "-m", "gru", "-t", "parity", "--metrics=local/toy", "--dry-run", *own)
        commands.run("show", "metric", "local/toy", *own)
    finally:
        shutil.rmtree(folder)
