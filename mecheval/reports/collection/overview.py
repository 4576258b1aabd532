"""Models by tasks, over seeds: the tables that a run prints and a notebook shows.

First what the models score, then all other evidence, then why values are missing. Which columns
there are is for the results' headlines to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.collection import marks, notes, words
from mecheval.reports.collection.blocks import Block, by_subject, captions, headings, packed
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.sections import sections
from mecheval.reports.labels import ABOUT_NO_GATE
from mecheval.reports.tracking import LEAST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.collection.groups import Group
    from mecheval.reports.collection.loading import Refused
    from mecheval.reports.collection.sections import Section
    from mecheval.reports.labels import Name

ABOUT_OWN = (
    "Those over examples are a bootstrap's, or Wilson's where all examples of a share are right or "
    "none is, so that 1.000 may have a wider one than 0.999."
)
ABOUT_SEEDS = (
    "Values are means over seeds with their 95 % t interval. Where only one seed has a value, or "
    f"all seeds have the same, there is none, and the one marked {words.NOT_OVER_SEEDS} is over "
    f"examples: the hull of the reports' own. {ABOUT_OWN}"
)
ABOUT_SCORES = (
    "Floor: the best score without a model. Learned: whether the score passed the gate of the "
    "recipe; what was not learned has no other values."
)
ABOUT_TRACKING = (
    f"Tracking: whether the answer at the last position is still right at 4 times the length, in "
    f"{LEAST:g} of all words or more, of what was learned."
)
ABOUT_EXAMPLES = f"Intervals are over examples: there is one seed of everything. {ABOUT_OWN}"
SEE = "`mecheval show metric NAME` says what a metric asks, and how it is computed."


class _Style(NamedTuple):
    """What is the same in all tables.

    Attributes:
        recipes: Whether a column names recipes.
        tracking: Whether a column says which seeds track their state.
        marked: Whether intervals that are not over seeds bear a mark.
        ids: The results that any model has, by task: cells of others are empty.
    """

    recipes: bool
    tracking: bool
    marked: bool
    ids: Mapping[str, Set[str]]

    @property
    def titles(self) -> list[str]:
        return ["Model", "Task", *(["Recipe"] if self.recipes else []), "Seeds"]

    def head(self, name: Name, seeds: Iterable[int]) -> list[str]:
        recipe = [name.recipe] if self.recipes else []
        return [name.model, name.task, *recipe, words.ranges(seeds)]

    def marks(self, group: Group) -> list[str]:
        return [marks.learned(group), *([marks.tracking(group)] if self.tracking else [])]

    def row(self, group: Group, columns: Iterable[Column]) -> list[str]:
        cells = [
            words.cell(group.of(column), column.kind, marked=self.marked)
            if column.id in self.ids[group.name.task]
            else ""
            for column in columns
        ]
        return [*self.head(group.name, group.seeds), *cells]


def blocks(groups: Sequence[Group], refused: Sequence[Refused]) -> list[Block]:
    """Return the tables.

    Args:
        groups: What was measured.
        refused: What was not, of which cells that failed have a row.
    """
    style, failed = _style(groups, refused), _failed(refused)
    behaviour, *rest = sections(groups)
    found = [_behaviour(behaviour, failed, style)]
    for section in rest:
        found += packed(section.columns, lambda some, of=section: _evidence(of.groups, some, style))
    return found


def legend(groups: Sequence[Group]) -> str:
    """Return what the intervals in the tables are over, and where to read on."""
    return f"{ABOUT_SEEDS if _has_seeds(groups) else ABOUT_EXAMPLES} {SEE}" if groups else ""


def remarks(groups: Sequence[Group], refused: Sequence[Refused]) -> list[str]:
    """Return the lines below the tables: recipes, failures, missing values, what sweeps chose."""
    failures = [
        notes.Note(item.reason, item.name, item.report.identity.seed)
        for item in _failed(refused)
        if item.name and item.report
    ]
    columns = columns_of(report for group in groups for report in group.reports)
    missing = notes.missing_values(groups, columns)
    others = notes.parameters(groups, columns)
    rest = notes.lines([*failures, *missing, *others, *notes.choices(groups)])
    return [*notes.recipes(groups), *rest]


def _has_seeds(groups: Sequence[Group]) -> bool:
    return any(len(group.seeds) > 1 for group in groups)


def _style(groups: Sequence[Group], refused: Sequence[Refused]) -> _Style:
    names = [group.name for group in groups] + [i.name for i in _failed(refused) if i.name]
    ids: dict[str, set[str]] = {}
    for group in groups:
        found = {result.id for report in group.reports for result in report.metrics}
        ids.setdefault(group.name.task, set()).update(found)
    tracking = any(group.n_tracking is not None for group in groups)
    return _Style(any(name.recipe for name in names), tracking, _has_seeds(groups), ids)


def _failed(refused: Sequence[Refused]) -> list[Refused]:
    return [item for item in refused if item.report and item.report.error]


def _behaviour(section: Section, failed: Sequence[Refused], style: _Style) -> Block:
    titles = [column.title for column in section.columns]
    rows = [
        [*style.row(group, section.columns), _floor(group, section.columns), *style.marks(group)]
        for group in section.groups
    ]
    by_stage: dict[tuple[Name, str], list[int]] = {}
    for item in failed:
        if item.report and item.report.error and item.name:
            stage = f"failed in {item.report.error.stage}"
            by_stage.setdefault((item.name, stage), []).append(item.report.identity.seed)
    gaps, rest = [""] * (len(titles) + 1), [""] * style.tracking
    rows += [
        [*style.head(name, seeds), *gaps, stage, *rest] for (name, stage), seeds in by_stage.items()
    ]
    ungated = any(group.ungated for group in section.groups)
    about = " ".join(
        [ABOUT_SCORES, *([ABOUT_NO_GATE] if ungated else []),
         *([ABOUT_TRACKING] if style.tracking else [])]
    )  # fmt: skip
    said = [*captions(section.columns), about]
    marks = ["Learned", *(["Tracking"] if style.tracking else [])]
    return Block(said, [*style.titles, *titles, "Floor", *marks], rows)


def _floor(group: Group, columns: Sequence[Column]) -> str:
    """Return the floor of the first column that has one."""
    means = (group.number(column.id, "floor").mean for column in columns)
    return next((words.decimal(mean) for mean in means if mean is not None), "")


def _evidence(groups: Sequence[Group], columns: Sequence[Column], style: _Style) -> Block:
    """Return the table of some columns, of the groups on which any of these was measured."""
    subjects = by_subject(columns)
    if subjects is not None:
        return _by_subject(groups, subjects, style)
    rows = [style.row(group, columns) for group in groups if _measured(group, columns)]
    return Block(captions(columns), [*style.titles, *headings(columns)], rows)


def _by_subject(
    groups: Sequence[Group], subjects: Mapping[str, Sequence[Column]], style: _Style
) -> Block:
    """Return the table with a row per group and subject."""
    rows = []
    for group in groups:
        for subject, columns in subjects.items():
            if any(column.id in style.ids[group.name.task] for column in columns):
                *head, seeds = style.head(group.name, group.seeds)
                cells = style.row(group, columns)[len(head) + 1 :]
                rows.append([*head, subject, seeds, *cells])
    first = next(iter(subjects.values()))
    *titles, seeds = style.titles
    headers = [*titles, "Of", seeds, *(column.title for column in first)]
    return Block(captions(first), headers, rows)


def _measured(group: Group, columns: Sequence[Column]) -> bool:
    return any(result for column in columns for result in group.results(column.id).values())
