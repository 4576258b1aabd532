"""Models on as many pages as they need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.reports.collection import Group


@dataclass(frozen=True)
class Pages:
    """Models on as many pages as they need.

    Attributes:
        groups: All of them.
        most: Most models of a page.
    """

    groups: Sequence[Group]
    most: int

    def __iter__(self) -> Iterator[tuple[Sequence[Group], str]]:
        """Iterate over pages of about equal size, with their number where there are several."""
        n_pages = math.ceil(len(self.groups) / self.most)
        size = math.ceil(len(self.groups) / max(1, n_pages))
        for number in range(n_pages):
            some = self.groups[number * size : (number + 1) * size]
            yield some, f"{number + 1} of {n_pages}" if n_pages > 1 else ""


def by_variable(
    ids: Sequence[str], part: Callable[[str], str], most: int
) -> list[tuple[str, Sequence[str]]]:
    """Divide curves among pages, all of them on one where they are few enough.

    Args:
        ids: The results that the curves are of.
        part: Says what a result is of: ``depth/inlp``.
        most: Most curves of a page.

    Returns:
        What every page is of, empty for the only one, and its results: those of a variable, such as
        ``depth``, stay together as far as they can.
    """
    if len(ids) <= most:
        return [("", ids)]
    found: dict[str, list[str]] = {}
    for id in ids:
        found.setdefault(part(id).partition("/")[0], []).append(id)
    return [
        (f"{variable} {start // most + 1}" if len(same) > most else variable,
         same[start : start + most])
        for variable, same in found.items()
        for start in range(0, len(same), most)
    ]  # fmt: skip


def numbered(name: str, title: str, page: str) -> tuple[str, str]:
    """Return the name and the title of a page, with its number where there are several."""
    if not page:
        return name, title
    return "-".join(filter(None, (name, page.partition(" ")[0]))), f"{title} ({page})"
