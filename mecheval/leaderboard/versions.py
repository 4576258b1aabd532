"""Which versions of packages the results of a leaderboard were made with, for pip to install."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mecheval.reports.schema import Report

HEADER = """\
# The versions that {n_most} of {n_all} reports were made with, with Python {python}; written by
# `mecheval leaderboard build`. With them, and on a processor of the same kind, the same numbers
# come out again:
#
#     pip install -c {name} mecheval
"""
NAME = "versions.txt"


def versions(reports: Iterable[Report]) -> str:
    """Return the most frequent set of versions as constraints of pip, others as comments.

    Args:
        reports: The reports that count.
    """
    found = Counter(_versions_of(report.environment) for report in reports)
    if not found:
        return "# No report counts.\n"
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    (python, packages), n_most = ranked[0]
    lines = [f"{name}=={version}" for name, version in packages]
    for (other_python, other), n_reports in ranked[1:]:
        differing = sorted(set(other) - set(packages))
        named = [f"{name}=={version}" for name, version in differing]
        named += [f"Python {other_python}"] if other_python != python else []
        named += [f"no {name}" for name in sorted(dict(packages).keys() - dict(other))]
        lines.append(f"# {n_reports} reports with {', '.join(named)}")
    head = HEADER.format(n_most=n_most, n_all=found.total(), python=python, name=NAME)
    return head + "\n".join(lines) + "\n"


def _versions_of(environment: Mapping) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return Python's version and those of packages, without what names a build (``+cpu``)."""
    packages = environment.get("packages", {})
    kept = tuple(sorted((name, text.partition("+")[0]) for name, text in packages.items()))
    return str(environment.get("python", "unknown")), kept
