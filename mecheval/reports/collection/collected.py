"""Reports as one thing to ask: grouped by model, task and recipe, summarised over seeds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.reports.collection import loading
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.groups import grouped
from mecheval.reports.collection.matching import matching
from mecheval.reports.collection.words import ranges
from mecheval.reports.labels import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.collection.groups import Group
    from mecheval.reports.collection.loading import Judge, Refused
    from mecheval.reports.reproduced import Reproduced
    from mecheval.reports.schema import Report


@dataclass(frozen=True, repr=False)
class Collection:
    """Finished reports by group, and what was refused.

    Attributes:
        groups: Reports of one model on one task by one recipe, in the order in which they came.
        refused: What does not count, with the reason.
        paths: The files of reports that count, relative to their folder, by key; of those in memory
            there are none.
    """

    groups: Sequence[Group]
    refused: Sequence[Refused] = ()
    paths: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.groups)

    def __iter__(self) -> Iterator[Group]:
        """Iterate over the groups."""
        return iter(self.groups)

    def __repr__(self) -> str:
        """Say how much of what there is."""
        models = {group.name.model for group in self.groups}
        tasks = {group.name.task for group in self.groups}
        seeds = ranges({seed for group in self.groups for seed in group.seeds})
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return (
            f"<{len(self.reports)} reports in {len(self)} groups: {len(models)} models, "
            f"{len(tasks)} tasks, seeds {seeds or 'none'}{refused}>"
        )

    def _repr_html_(self) -> str:
        """Show models by tasks in a notebook."""
        from mecheval.reports.collection.page import page

        return page(repr(self), self.groups, self.refused)

    @property
    def reports(self) -> list[Report]:
        """Return all finished reports, group by group."""
        return [report for group in self.groups for report in group.reports]

    @cached_property
    def columns(self) -> list[Column]:
        """Return the numbers that the results name as their headlines."""
        return columns_of(self.reports)

    def select(
        self,
        model: str | None = None,
        task: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Return the groups of a model, a task, a recipe; names stay what they are.

        Args:
            model: A name as in a table, or one with some of its arguments: ``mamba[layers=2]``.
            task: The same of the task, with or without its version.
            recipe: Values of fields of the recipe, none of which was swept.

        Raises:
            UsageError: A name is malformed.
        """
        return Collection(matching(self.groups, model, task, recipe), paths=self.paths)

    def to_frame(self, *, profiles: bool = False) -> pd.DataFrame:
        """Return a pandas data frame with a row per number and seed.

        Its columns are model, task, recipe, seed, metric, result, path, value, low, high, n,
        verdict, reason, learned, gate, gate_on, tracking, reproduced; path is empty for a result's
        value. The recipe is in words, with what tells it apart where a model has several on a task;
        the gate is the accuracy from which on the task counts as learned, of all answers
        (``token``) or of those at the last position (``last``); tracking is null where it cannot be
        said; reproduced says whether the cell was measured again and came out as reported. Means
        over seeds are a ``groupby`` away; their intervals are those of :meth:`Group.number`.

        Args:
            profiles: Whether there is a row per cell of every profile, too.
        """
        from mecheval.reports.collection.frame import frame

        return frame(self.groups, profiles=profiles)


def load_results(folder: Path | str, *, judge: Judge | None = None) -> Collection:
    """Read the reports of a folder and of the folders in it, or one file.

    Args:
        folder: The folder.
        judge: Says why a finished report does not count either; by default all do.

    Returns:
        The finished reports by model, task and recipe; others are named in ``refused``.

    Raises:
        UsageError: There is no such folder.

    Examples:
        >>> import mecheval, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> how = {"recipe": {"steps": 2}, "limit": 16, "metrics": ["behaviour"]}
        >>> _ = mecheval.evaluate("gru[width=16]", "parity", seeds=[0, 1], output=folder, **how)
        >>> results = mecheval.load_results(folder)
        >>> [report.identity.seed for report in results.reports]
        [0, 1]
    """
    found, refused = loading.read_folder(Path(folder), judge)
    reports = [item.report for item in found]
    paths = {item.report.key: item.path for item in found}
    gathered = _collected(reports, refused, loading.marks_of(found, Path(folder)))
    return replace(gathered, paths=paths)


def collect(reports: Iterable[Report]) -> Collection:
    """Group reports that are in memory."""
    return _collected(*loading.sort_out(reports))


def _collected(
    reports: Sequence[Report],
    refused: Sequence[Refused],
    marks: Mapping[str, Reproduced] | None = None,
) -> Collection:
    """Name finished reports and refused ones together, then group the finished."""
    others = [item.report for item in refused if item.report is not None]
    names = names_of([*reports, *others])
    called = iter(names[len(reports) :])
    refused = [
        item._replace(name=next(called)) if item.report is not None else item for item in refused
    ]
    return Collection(grouped(reports, names[: len(reports)], marks), refused)
