"""Which trainings are of one shape, and how many of them are worth training as one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.models.stack.architecture import Architecture
from mecheval.training import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.training.training_run import TrainingRun

LARGEST_ON_CPU = 512
"""Width of the stream times examples of a batch up to which a CPU gains by an ensemble, by
``benchmarks/train.py``: beyond, arithmetic fills its time, and calls cost next to nothing."""

MOST_ON_CPU = 8


def groups(
    runs: Sequence[TrainingRun], *, device: str, asked: int | None
) -> Iterator[list[TrainingRun]]:
    """Yield the runs in groups of one shape, each of which is to be trained as one.

    Args:
        runs: The runs.
        device: ``cpu`` or ``cuda``.
        asked: Most runs per group; None chooses by device and width.
    """
    by_shape: dict[str, list[TrainingRun]] = {}
    for run in runs:
        by_shape.setdefault(_shape(run), []).append(run)
    for alike in by_shape.values():
        n_groups = -(-len(alike) // most_together(alike[0], device=device, asked=asked))
        for i in range(n_groups):
            yield alike[i::n_groups]


def most_together(run: TrainingRun, *, device: str, asked: int | None) -> int:
    """Return how many runs of this shape to train as one; 1 means each by itself.

    On a GPU, where the calls to its kernels take the time, all that there are.
    """
    if not isinstance(run.source, Architecture) or processes.count() > 1:
        return 1
    if asked is not None:
        return asked
    if device == "cuda":
        return 1_000_000
    return MOST_ON_CPU if run.source.width * run.recipe.batch <= LARGEST_ON_CPU else 1


def _shape(run: TrainingRun) -> str:
    content = {key: value for key, value in run.content.items() if key not in ("recipe", "seed")}
    return json.dumps([content, run.recipe.batch, run.recipe.precision], sort_keys=True)
