"""A folder of reports as one thing: grouped, summarised over seeds, as tables and data frames.

Whatever groups reports or averages seeds does it here: the table of a run, leaderboards,
comparisons, claims, figures. The names below are imported when they are first used: reading files
stands on the report's schema, which shows a report with the columns and words of this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mecheval.reports.collection.collected import Collection as Collection
    from mecheval.reports.collection.collected import collect as collect
    from mecheval.reports.collection.collected import load_results as load_results
    from mecheval.reports.collection.columns import Column as Column
    from mecheval.reports.collection.groups import Group as Group
    from mecheval.reports.collection.loading import Refused as Refused
    from mecheval.reports.collection.numbers import OverSeeds as OverSeeds
    from mecheval.reports.collection.pairs import Pairs as Pairs
    from mecheval.reports.collection.pairs import load_pairs as load_pairs

_INDEX = {
    "Collection": "collected",
    "Column": "columns",
    "Group": "groups",
    "OverSeeds": "numbers",
    "Pairs": "pairs",
    "Refused": "loading",
    "collect": "collected",
    "load_pairs": "pairs",
    "load_results": "collected",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _INDEX:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_INDEX[name]}"), name)
