"""Names of suites and their versions, and where the package keeps them."""

from __future__ import annotations

import re
from pathlib import Path

from mecheval.errors import UsageError
from mecheval.escape import quoted

FOLDER = Path(__file__).parents[1] / "suites"
PUBLISHED = FOLDER / "published"
"""Where the cells of versions are kept whose results are published: ``NAME@VERSION.tsv``."""


def suite_names() -> list[str]:
    """Return the suites of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def published_versions(name: str) -> list[int]:
    """Return the versions of a suite of the package whose cells are kept, from the oldest on."""
    found = (path.stem.rpartition("@") for path in PUBLISHED.glob("*.tsv"))
    return sorted(int(version) for stem, _, version in found if stem == name)


def versioned(name: str) -> tuple[str, int | None]:
    """Split ``NAME@VERSION``; the version is None where none is named, and for a file.

    Raises:
        UsageError: What stands behind the ``@`` is no version.
    """
    stem, at, version = name.rpartition("@")
    if not at or name.endswith(".toml"):
        return name, None
    if not re.fullmatch("[0-9]{1,5}", version):
        raise UsageError(f"{quoted(name)} has no version behind its @. Write it like demo@1.")
    return stem, int(version)


def other_version(name: str, asked: int, here: int) -> UsageError:
    """Say what can be done with a version of a suite that is not the present one."""
    said = f"Suite {quoted(name)} has version {here} here, not {asked}"
    if asked in published_versions(name):
        table = f"`mecheval leaderboard build --suite {name}@{asked}`"
        return UsageError(f"{said}, of which {table} makes tables. Run {name}@{here}.")
    return UsageError(f"{said}. Write {name}@{here}, or {name}.")
