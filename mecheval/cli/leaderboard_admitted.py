"""What the commands of a leaderboard share: reports that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.cli.printing import say
from mecheval.paths import is_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mecheval.reports.collection import Collection, Pairs, Refused


def admitted(results: Path) -> Collection:
    """Read the reports that count, and name those that do not on stderr.

    Raises:
        UsageError: There is no such folder.
    """
    from mecheval.leaderboard.admission import admit

    collection = admit(results)
    _name_refused(results, collection.refused)
    return collection


def admitted_pairs(results: Path) -> Pairs:
    """Read the reports of pairs that count; as :func:`admitted`."""
    from mecheval.leaderboard.admission import admit_pairs

    pairs = admit_pairs(results)
    _name_refused(results, pairs.refused)
    return pairs


def _name_refused(results: Path, refused: Sequence[Refused]) -> None:
    for item in refused:
        path = results / item.path if is_dir(results) else results
        say(escape.line(f"mecheval: refused {path}: {item.reason}"), error=True)
