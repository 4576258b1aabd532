"""Results as Hugging Face data sets: a row per number, and a row per cell, as Parquet.

The folder that is written is one that ``datasets.load_dataset`` reads, from a disk or from the hub:

    datasets.load_dataset("FOLDER", "numbers", split="train")
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from mecheval.leaderboard.versions import versions
from mecheval.reports.collection.frame import frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    import datasets
    import pandas as pd

    from mecheval.reports.collection import Collection

NUMBERS, CELLS = "numbers", "cells"
"""The two data sets: a row per number and seed, and a row per report."""

CARD = """\
---
pretty_name: {title}
tags:
- interpretability
- mecheval
configs:
- config_name: numbers
  data_files: numbers.parquet
  default: true
- config_name: cells
  data_files: cells.parquet
---

# {title}

{n_cells} cells of {n_models} models on {n_tasks} tasks, measured by mecheval: by which mechanism a
model solves a task.

- `numbers` has a row per number and seed: model, task, recipe, seed, metric, result, path (empty
  for the value of a result), value, low and high (of its 95 % interval), n, verdict, why it is
  missing, whether the task was learned (by which gate) and its state tracked, and whether the cell
  was measured again and came out as reported.
- `cells` has a row per report: its key and digest, and as JSON what decided its numbers and where
  they were measured.

```
{versions}```
"""


def as_datasets(collection: Collection) -> dict[str, datasets.Dataset]:
    """Return both data sets, by name.

    Args:
        collection: The reports.
    """
    import datasets

    frames = {NUMBERS: frame(collection.groups), CELLS: _cells(collection)}
    return {
        name: datasets.Dataset.from_pandas(_typed(table), preserve_index=False)
        for name, table in frames.items()
    }


def as_files(collection: Collection, title: str) -> dict[str, str | bytes]:
    """Return the files of a folder that holds both data sets, with a card.

    Args:
        collection: The reports.
        title: What the results are of.
    """
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    files: dict[str, str | bytes] = {"README.md": _card(collection, title)}
    try:
        for name, table in as_datasets(collection).items():
            buffer = io.BytesIO()
            table.to_parquet(buffer)
            files[f"{name}.parquet"] = buffer.getvalue()
    finally:
        if shown:
            datasets.enable_progress_bars()
    return files


def _cells(collection: Collection) -> pd.DataFrame:
    import pandas as pd

    rows: list[Mapping[str, Any]] = [
        {
            "model": group.name.model,
            "task": group.name.task,
            "recipe": group.name.recipe or group.recipe,
            "seed": report.identity.seed,
            "key": report.key,
            "digest": report.digest,
            "status": report.status,
            "learned": report.learned,
            "tracking": report.tracking,
            "reproduced": report.key in group.marks,
            "finished": report.finished,
            "identity": json.dumps(report.identity.model_dump(mode="json"), sort_keys=True),
            "environment": json.dumps(report.environment, sort_keys=True),
        }
        for group in collection.groups
        for report in group.reports
    ]
    return pd.DataFrame(rows)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns that are all empty in some results the types that they have in others."""
    kinds = {
        "verdict": "string", "reason": "string", "path": "string", "digest": "string",
        "learned": "boolean", "tracking": "boolean", "reproduced": "boolean", "seed": "uint64",
    }  # fmt: skip
    return table.astype({name: kind for name, kind in kinds.items() if name in table.columns})


def _card(collection: Collection, title: str) -> str:
    groups = collection.groups
    return CARD.format(
        title=title,
        n_cells=len(collection.reports),
        n_models=len({group.name.model for group in groups}),
        n_tasks=len({group.name.task for group in groups}),
        versions=versions(collection.reports),
    )
