"""Which cells a version of a suite has: what is planned now, or what was published and is kept.

When results of a suite are published, its cells are written down beside it, one line each, and stay
what they are: tables of that version can be made whatever the package plans later. A suite whose
cells are others than before has another version.

    python -m mecheval.harness.suite_cells retrieval-small formal-small
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from mecheval.errors import UsageError
from mecheval.harness.suite_names import (
    FOLDER,
    PUBLISHED,
    published_versions,
    suite_names,
    versioned,
)
from mecheval.harness.suites import load_suite
from mecheval.reports.documents import write_document
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mecheval.harness.suites import Suite


class SuiteCell(NamedTuple):
    """A cell of a version of a suite.

    Attributes:
        key: Its key.
        model: What the model is called.
        task: What the task is called.
        seed: Its seed.
    """

    key: str
    model: str
    task: str
    seed: int

    def __str__(self) -> str:
        """Name the cell in words."""
        return f"{self.model} on {self.task}, seed {self.seed}"


class SuiteVersion(NamedTuple):
    """The cells of a version of a suite.

    Attributes:
        name: The suite.
        version: The version.
        cells: Its cells by their keys.
        warning: A sentence that names its successor; empty where there is none.
    """

    name: str
    version: int
    cells: dict[str, SuiteCell]
    warning: str = ""

    @property
    def title(self) -> str:
        """Return ``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


def suite_version(name: str) -> SuiteVersion:
    """Return the cells of a version of a suite: as they were published, or as they are planned.

    Args:
        name: ``NAME@VERSION``; the present version where none is named; or the path of a file.

    Raises:
        UsageError: There is no such suite or version, or it cannot be planned here.
    """
    stem, asked = versioned(name)
    if asked is not None and asked in published_versions(stem):
        return _kept(stem, asked)
    suite = load_suite(name)
    if suite.version in published_versions(suite.name) and suite.path.parent == FOLDER:
        return _kept(suite.name, suite.version)
    return planned(suite)


def known_versions() -> list[SuiteVersion]:
    """Return all versions of suites of the package whose cells are kept."""
    return [_kept(name, version) for name in suite_names() for version in published_versions(name)]


def planned(suite: Suite) -> SuiteVersion:
    """Return the cells that a suite is planned to have.

    Raises:
        UsageError: It cannot be planned here, as where weights are not.
    """
    from mecheval.harness.plan import plan

    cells = {}
    for request in suite.requests():
        for cell in plan(request):
            identity = cell.identity
            task = str(Spec(identity.task.name, cell.labels.task, str(identity.task.version)))
            cells[cell.key] = SuiteCell(cell.key, cell.model_title, task, identity.seed)
    return SuiteVersion(suite.name, suite.version, cells, suite.warning)


def _kept(name: str, version: int) -> SuiteVersion:
    text = (PUBLISHED / f"{name}@{version}.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    cells = {key: SuiteCell(key, model, task, int(seed)) for key, model, task, seed in rows}
    present = load_suite(name)
    is_old = f"Suite {name}@{version} is superseded by {present.title}. Use that one."
    warning = present.warning if present.version == version else is_old
    return SuiteVersion(name, version, cells, warning)


def keep(suite: Suite) -> Path:
    """Write down the cells of a suite's version; what was kept stays as it is.

    Returns:
        The file.

    Raises:
        UsageError: Other cells of this version are kept: it needs a higher version.
        StorageError: It could not be written.
    """
    found, path = planned(suite), PUBLISHED / f"{suite.title}.tsv"
    if path.is_file() and _kept(suite.name, suite.version).cells.keys() != found.cells.keys():
        raise UsageError(
            f"Suite {suite.title} was published with other cells. Raise its version in "
            f"{suite.path}."
        )
    rows = sorted(found.cells.values(), key=lambda cell: (cell[1:], cell.key))
    lines = ["# key, model, task, seed", *("\t".join(map(str, cell)) for cell in rows)]
    write_document(path, "\n".join(lines) + "\n")
    return path


def main(names: Sequence[str]) -> None:
    """Keep the cells of suites, whose results are published now."""
    for name in names:
        keep(load_suite(name))


if __name__ == "__main__":
    main(sys.argv[1:])
