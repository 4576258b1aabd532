"""What the commands of a leaderboard share: reports that count, and those of one suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.cli.printing import say
from mecheval.paths import is_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mecheval.harness.suite_cells import SuiteVersion
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


def chosen_suite(collection: Collection, name: str | None) -> tuple[Collection, str]:
    """Return the reports of a suite with its name and version, or all and an empty text.

    Raises:
        UsageError: There is no such suite, or it cannot be planned here.
    """
    from mecheval.harness.suite_cells import suite_version
    from mecheval.leaderboard.of_suite import of_suite

    if name is None:
        return collection, ""
    version = suite_version(name)
    collection = of_suite(collection, version)
    say_of(version, collection)
    return collection, version.title


def say_of(version: SuiteVersion, collection: Collection) -> None:
    """Say on stderr which cells of a suite are missing, and which suite is to be used now."""
    from mecheval.leaderboard.of_suite import missing

    gaps, n_all = missing(collection, version), len(version.cells)
    if gaps:
        first = f"{gaps[0]}{f' and {len(gaps) - 1} more' if len(gaps) > 1 else ''}"
        said = f"{n_all - len(gaps)} of {n_all} cells of {version.title} count; missing: {first}."
        say(escape.line(f"mecheval: {said}"), error=True)
    if version.warning:
        say(f"mecheval: {version.warning}", error=True)


def _name_refused(results: Path, refused: Sequence[Refused]) -> None:
    for item in refused:
        path = results / item.path if is_dir(results) else results
        say(escape.line(f"mecheval: refused {path}: {item.reason}"), error=True)
