"""A folder of Python source that is the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.seeding import stream

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

PAIRS = ("()", "[]", "{}")


def write_source(folder: Path, n_files: int = 64) -> str:
    """Write files of nested expressions; return the folder's name."""
    for index in range(n_files):
        rng = stream(0, "source_files", index)
        lines = [f"{_word(rng)} = {_expression(rng, 3)}  # )" for _ in range(60)]
        (folder / f"file{index}.py").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return str(folder)


def _expression(rng: np.random.Generator, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return _word(rng)
    opening, closing = PAIRS[rng.integers(3)]
    parts = [_expression(rng, depth - 1) for _ in range(rng.integers(1, 6))]
    return f"{opening}{', '.join(parts)}{closing}"


def _word(rng: np.random.Generator) -> str:
    return ("alpha", "beta", "self", "None", "17", "'a(b'")[rng.integers(6)]
