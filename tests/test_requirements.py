"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

NAMES = {
    "causal_conv1d": "causal-conv1d", "fla": "flash-linear-attention", "mamba_ssm": "mamba-ssm",
    "nnsight": "nnsight", "pyvene": "pyvene", "transformer_lens": "transformer-lens",
    "sae_lens": "sae-lens", "sparsify": "eai-sparsify",
}  # fmt: skip
"""The packages of modules that need not be installed here."""

BROUGHT = {"tokenizers", "triton"}
"""Packages that transformers and torch bring along, in the version that fits them."""

COMMANDS = {"build", "hatchling", "pyright", "pytest-xdist", "ruff"}
"""Packages that are run and not imported."""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~;\[ ]", text)[0].lower().replace("_", "-") for text in requirements}


def modules(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level modules that a file imports when it runs, also inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        else:
            yield from modules(node)


@functools.cache
def modules_of(path: Path) -> tuple[str, ...]:
    return tuple(modules(ast.parse(path.read_text(encoding="utf-8"))))


def imported(*folders: str) -> dict[str, str]:
    """Return the distributions that the files of some folders import, and one file of each."""
    found = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for module in modules_of(path):
            if module in sys.stdlib_module_names or module in OURS:
                continue
            package = NAMES.get(module) or DISTRIBUTIONS.get(module, [module])[0]
            found[package.lower().replace("_", "-")] = f"{path.relative_to(ROOT)}"
    return found


OURS = {
    "mecheval", "task_registry", "model_registry", "benchmarks", "docs", "tests", "acme_mech",
    "acme_own",
    *(path.stem for path in (ROOT / "tests").rglob("*.py")),
}  # fmt: skip
RUNNING = names(PROJECT["dependencies"])
DISTRIBUTIONS = packages_distributions()


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (
            ("mecheval", "task_registry", "model_registry"),
            RUNNING.union(*(names(EXTRAS[n]) for n in ("cuda", "slurm"))),
        ),
        (("tests",), RUNNING | names(EXTRAS["test"])),
        (
            ("benchmarks",),
            RUNNING.union(*(names(EXTRAS[n]) for n in ("benchmarks", "sae", "cuda"))),
        ),
    ],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    found = imported(*folders)
    undeclared = set(found) - declared - BROUGHT
    assert not {package: found[package] for package in undeclared}


def test_what_is_declared_is_imported() -> None:
    running = set(imported("mecheval", "task_registry", "model_registry"))
    assert running >= RUNNING
    testing = running | set(imported("tests"))
    assert names(EXTRAS["test"]) - testing <= COMMANDS
    benchmarking = running | set(imported("benchmarks"))
    assert names(EXTRAS["benchmarks"]) | names(EXTRAS["sae"]) <= benchmarking
