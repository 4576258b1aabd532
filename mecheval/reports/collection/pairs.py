"""The reports of pairs in a folder, as one thing to ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.reports.collection.loading import read_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.reports.collection.loading import PairJudge, Refused
    from mecheval.reports.pair import PairReport
    from mecheval.reports.pair_matrix import Matrix


@dataclass(frozen=True, repr=False)
class Pairs:
    """Finished reports of pairs, and what was refused.

    Attributes:
        reports: The reports.
        refused: What does not count, with the reason.
    """

    reports: Sequence[PairReport]
    refused: Sequence[Refused] = ()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.reports)

    def __iter__(self) -> Iterator[PairReport]:
        """Iterate over the reports."""
        return iter(self.reports)

    def __repr__(self) -> str:
        """Say how much of what there is."""
        models = {side.title for report in self for side in report.sides}
        tasks = {report.where for report in self}
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"<{len(self)} pairs of {len(models)} models on {len(tasks)} tasks{refused}>"

    @cached_property
    def matrices(self) -> list[Matrix]:
        """Return one matrix, models by models, per task and number."""
        from mecheval.reports.pair_matrix import matrices_of

        return matrices_of(self.reports, by_name=True)


def load_pairs(folder: Path | str, *, judge: PairJudge | None = None) -> Pairs:
    """Read the reports of pairs of a folder and of the folders in it, or one file.

    Args:
        folder: The folder.
        judge: Says why a finished report does not count either; by default all do.

    Returns:
        The finished reports; others are named in ``refused``.

    Raises:
        UsageError: There is no such folder.

    Examples:
        >>> import mecheval, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> twins = ["planted/mamba-recall", "planted/mamba-recall[shift=1]"]
        >>> _ = mecheval.similarity(
        ...     twins, "ar[keys=12,values=12,pairs=6]", output=folder, limit=16,
        ...     metrics=["interchange", "circuit_similarity"],
        ... )
        >>> mecheval.load_pairs(folder)
        <1 pairs of 2 models on 1 tasks>
    """
    found, refused = read_pairs(Path(folder), judge)
    return Pairs([each.report for each in found], refused)
