"""Whatever shows reports asks the collection for groups, means and intervals: read from sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mecheval"
AVERAGES = {"mean", "nanmean", "average", "median", "std", "nanstd", "fmean", "quantile"}
METRICS = {
    "recovery", "interchange", "mechanism", "convolution", "induction_circuit", "write_offset",
    "readability", "token_accuracy", "token_accuracy/1x",
}  # fmt: skip
PAIRS = PACKAGE / "leaderboard" / "of_pairs.py"
"""The one place where networks of pairs are averaged, which share networks with each other."""

READERS = [
    path
    for folder in ("cli", "leaderboard", "reports")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
    if "collection" not in path.parts[-2:] and "figures" not in path.parts[-2:] and path != PAIRS
]


def called(text: str) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return {ast.unparse(function).rpartition(".")[2] for function in calls}


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_seeds_are_averaged_in_one_place(path: Path) -> None:
    assert not called(path.read_text(encoding="utf-8")) & AVERAGES


def test_an_average_is_found() -> None:
    assert called("x = np.mean([1]) + values_S.std(ddof=1)") == {"mean", "std"}


def test_no_table_names_a_metric() -> None:
    """Columns are there because a result's headline names them: known metrics are not listed."""
    shown = [*(PACKAGE / "reports" / "collection").glob("*.py"), PACKAGE / "cli" / "summary.py",
             *(PACKAGE / "leaderboard").glob("*.py")]  # fmt: skip
    for path in shown:
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not METRICS & set(strings), path.name
