"""The fixture that starts runs in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from harness_runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    """Start runs; whatever is left of them is killed after the test."""
    runs: list[Run] = []

    def begin(*argv: str | Path) -> Run:
        runs.append(Run(*map(str, argv)))
        return runs[-1]

    yield begin
    for run in runs:
        left = []
        if run.process.poll() is None:
            left = psutil.Process(run.process.pid).children(recursive=True)
            run.process.kill()
        for child in left:
            child.kill()
        run.process.communicate()
