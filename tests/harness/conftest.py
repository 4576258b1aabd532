"""The fixture that starts runs in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness_runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start runs; whatever is left of them is killed after the test."""
    runs: list[Run] = []

    def begin(*argv: str | Path) -> Run:
        runs.append(Run(*map(str, argv), folder=tmp_path))
        return runs[-1]

    yield begin
    for run in runs:
        left = run.workers()
        run.kill()
        for child in left:
            child.kill()
        run.finish()
