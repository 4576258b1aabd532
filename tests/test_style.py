"""Sizes of files, functions and signatures, and reasons for skips: held by reading the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LIMITS = {"mecheval": (300, 50), "task_registry": (400, 60), "model_registry": (400, 60)}
"""Most lines of a file and of a function, by folder."""

SOURCES = [path for folder in LIMITS for path in sorted((ROOT / folder).rglob("*.py"))]
MAX_PARAMETERS = 7
WIDE = {
    "evaluation.evaluate": "the public call has a keyword per flag of `mecheval run`",
    "similarity.similarity": "the public call has a keyword per flag of `mecheval similarity`",
    "contract.metric": "a declaration has a keyword per thing that is declared",
    "grid.recovery_grid": "the public call takes the pairs as five arrays",
    "grid.ablation_grid": "the public call takes the runs as four arrays",
    "naturalness.naturalness": "takes what ablation_grid takes, and natural runs",
    "attribution.gradient_guess": "takes what recovery_grid takes",
    "comparison.compare_features": "the public call takes labels of rows of three kinds",
    "training.train_dictionary": "everything that decides the dictionary, and where it is trained",
    "execute_pairs.execute_pairs": "what is asked for; how, and which part of it, is computed",
    "preparation.prepare": "everything that decides trained weights, and what watches the training",
}
"""Functions with more parameters, and why."""

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def n_lines(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    first, *_ = function.body
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def n_parameters(function: Function) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def named(path: Path, found: object) -> str:
    return f"{path.relative_to(ROOT)}: {found}"


def test_sizes() -> None:
    long_files, long, wide = [], [], set()
    for path in SOURCES:
        file_limit, function_limit = LIMITS[path.relative_to(ROOT).parts[0]]
        n = len(path.read_text(encoding="utf-8").splitlines())
        long_files += [named(path, n)] if n > file_limit else []
        for function in functions(path):
            if n_lines(function) > function_limit:
                long.append(named(path, f"{function.name} has {n_lines(function)} lines"))
            if n_parameters(function) > MAX_PARAMETERS:
                wide.add(f"{path.stem}.{function.name}")
    assert not long_files
    assert not long
    assert wide <= set(WIDE)


def test_nothing_is_left_to_do() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    assert not [named(path, found) for path, t in texts.items() if (found := UNFINISHED.search(t))]


def test_comments_are_ascii() -> None:
    lines = [(path, line) for path in SOURCES for line in path.read_text("utf-8").splitlines()]
    assert not [named(path, line) for path, line in lines if not line.isascii()]


def test_modules_and_public_functions_have_docstrings() -> None:
    bare = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bare += [] if ast.get_docstring(tree) else [named(path, "the module")]
        for node in tree.body:
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not _is_record(node):
                bare.append(named(path, node.name))
    assert not bare


def _is_record(node: ast.AST) -> bool:
    """Say whether a class documents its fields one by one, as the parts of a report do."""
    if not isinstance(node, ast.ClassDef):
        return False
    return any(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
               for line in node.body)  # fmt: skip


def test_every_skip_has_a_reason() -> None:
    bare = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute | ast.Call) and _skips(node) and not _reason(node):
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not bare


def _skips(node: ast.Attribute | ast.Call) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    return name.startswith("pytest.") and name.rpartition(".")[2] in (
        "skip", "skipif", "xfail", "importorskip"
    )  # fmt: skip


def _reason(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if any(keyword.arg == "reason" for keyword in node.keywords):
        return True
    return ast.unparse(node.func) == "pytest.skip" and bool(node.args)


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)
