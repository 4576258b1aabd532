"""Which cells may be held side by side: those on one task, or on one text in other tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.harness.building import build_task
from mecheval.metrics.pairs.shared import alignment
from mecheval.registry import Registry
from mecheval.reports.canonical import sha256_of
from mecheval.spec import Spec
from mecheval.tasks.text_task import OWN, TextTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.harness.request import Cell
    from mecheval.models.contract import ModelSource
    from mecheval.reports.schema import TaskIdentity
    from mecheval.tasks.contract import Task

OF_TOKENS = ("vocabulary", "tokenizer", "min_length", "max_length", "longer")
"""Parameters of a text that say how it is cut into tokens and sequences, and not what it is."""


@dataclass(frozen=True)
class Group:
    """Cells of which any two may be held side by side.

    Attributes:
        cells: The cells.
        task: Their task, or what their tasks have in common.
        title: Its name with the parameters that differ from its defaults.
        own_tokens: Whether they may read one text in tokens of their own.
        across: Whether their tasks have names of their own, too.
    """

    cells: tuple[Cell, ...]
    task: TaskIdentity
    title: str
    own_tokens: bool = False
    across: bool = False


def in_own_tokens(given: Spec | Task, task: Task, source: ModelSource) -> Spec | Task:
    """Return a task as a model reads it: a text that is asked for so, in its tokenizer's tokens.

    Args:
        given: The task, as it was given.
        task: The same, built.
        source: The model, which has a tokenizer or reads a vocabulary of the text.
    """
    if task.params.get("tokenizer") != OWN or not isinstance(task, TextTask):
        return given  # and the model's files need not be there
    place = source.tokenizer_place
    if place is None:
        return given
    if isinstance(given, Spec):
        return replace(given, args={**given.args, "tokenizer": place})
    return replace(given, tokenizer=place)  # type: ignore[call-arg] - a parameter of this task


def groups_of(cells: Sequence[Cell], *, across: bool) -> list[Group]:
    """Share out cells by task.

    Args:
        cells: The cells.
        across: Whether tasks of one text are held side by side that differ in its tokens.

    Raises:
        UsageError: That is asked for, and there is no text.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(sha256_of(_common(cell, across=across)), []).append(cell)
    groups = [_group(tuple(of), across=across) for of in found.values()]
    if across and not any(group.across for group in groups):
        raise UsageError(
            "--across-tokens holds networks side by side that read one text in other tokens, and "
            "there are no two such tasks. Give two, such as 'text' and 'text[vocabulary=256]'."
        )
    return groups


def _common(cell: Cell, *, across: bool) -> dict[str, object]:
    """Return what cells of a group have in common of their tasks."""
    task = cell.identity.task
    content = task.model_dump(mode="json")
    if across and isinstance(_task(cell), TextTask):
        params = {name: value for name, value in task.params.items() if name not in OF_TOKENS}
        return {**content, "params": params, "sample_sha256": None}
    if task.params.get("tokenizer") == OWN:
        return {**content, "sample_sha256": None}
    return content


def _group(cells: tuple[Cell, ...], *, across: bool) -> Group:
    first, task = cells[0], cells[0].identity.task
    several = len({sha256_of(cell.identity.task.model_dump(mode="json")) for cell in cells}) > 1
    built = _task(first)
    if not isinstance(built, TextTask) or not (several or task.params.get("tokenizer") == OWN):
        return Group(cells, task, first.task_title)
    # Of tasks that differ in name, those parameters that all share.
    titles = {cell.task_title for cell in cells}
    params = {
        name: value
        for name, value in task.params.items()
        if all(cell.identity.task.params.get(name) == value for cell in cells)
    }
    label = {name: value for name, value in first.labels.task.items() if name in params}
    common = task.model_copy(
        update={"params": params, "sample_sha256": built.text.documents_sha256}
    )
    title = str(Spec(task.name, label))
    return Group(cells, common, title, own_tokens=True, across=across and len(titles) > 1)


def check_meeting(a: Cell, b: Cell, at_loss: float | None) -> None:
    """Check that two cells of a group can be held side by side.

    Raises:
        UsageError: Tokens of both end nowhere at the same byte, or hardly anywhere; or the two have
            tokens of their own, and a loss per token is asked for.
    """
    if a.identity.task.sample_sha256 == b.identity.task.sample_sha256:
        return
    try:
        alignment(_task(a), _task(b))
    except UsageError as error:
        raise UsageError(f"{a.title} and {b.title}: {error}") from None
    if at_loss is not None:
        raise UsageError(
            f"{a.model_title} and {b.model_title} read tokens of their own, so that losses per "
            "token are not of one kind. Leave out --at-loss."
        )


def _task(cell: Cell) -> Task:
    return build_task(cell.task, Registry(cell.settings.include_paths))
