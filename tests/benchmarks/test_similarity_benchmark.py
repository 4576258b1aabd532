"""The benchmark of likeness on small inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import similarity

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    small = ["--rows", "200", "--width", "8", "--permutations", "2", "--repeats", "1"]
    assert similarity.main([*small, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows[1:]] == [
        "as they are", "and without means of tokens", "and with intervals",
    ]  # fmt: skip
    assert file.exists()


def test_operations_are_counted() -> None:
    """Of 1000 rows of width 10, one permutation: products, decompositions, rows that are drawn."""
    expected = 2 * 1000 * 100 * 4 + (52 + 16) * 1000 + 4 * 10 * (800**2 + 1000**2)
    assert similarity.gigaflop(1000, 10, 2) == pytest.approx(expected / 1e9)
