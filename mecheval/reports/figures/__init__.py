"""Pictures of reports: every module of this package is a figure, and nothing else names it.

A figure is a module with a function ``draw(sheet) -> list[Drawing]``, which gets all models on one
task; or ``draw_all(sheets)``, which gets those of all tasks; or ``draw_pairs(matrices)``, which
gets what was measured of pairs of models; or ``draw_two(reports)``, which gets all reports of pairs
on one task. It returns no drawing where there is nothing to draw. The first line of its docstring
says what it shows, in ``mecheval report --help`` as well.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.pair import PairReport
    from mecheval.reports.pair_matrix import Matrix
    from mecheval.reports.schema import Report

FORMATS = ("png", "svg")

ALL_TASKS = "all tasks"
"""What stands in a task's place where a picture is of all of them."""


class Picture(NamedTuple):
    """One file's worth of drawing.

    Attributes:
        task: The task that it is of, or :data:`ALL_TASKS`.
        figure: The kind of figure.
        drawing: What is drawn.
    """

    task: str
    figure: str
    drawing: Drawing


@functools.cache
def figures() -> Mapping[str, str]:
    """Return the kinds of figures with what they show, read from their files without running them.

    So listing them does not import matplotlib.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = docstring.partition("\n")[0].rstrip(".")
    return MappingProxyType(found)


def draw(
    reports: Sequence[Report],
    names: Sequence[str] = (),
    *,
    pairs: Sequence[Matrix] = (),
    pair_reports: Sequence[PairReport] = (),
) -> list[Picture]:
    """Draw all that there is to draw of reports, task by task.

    Args:
        reports: The reports.
        names: Kinds of figures; all by default.
        pairs: What reports of pairs say, models by models.
        pair_reports: The reports of pairs themselves.

    Raises:
        UsageError: There is no such kind, or the reports hold nothing for any of them.
    """
    known = figures()
    for name in names:
        if name not in known:
            raise unknown("figure", name, known, see=f"these: {', '.join(known)}")
    import matplotlib as mpl

    from mecheval.reports.canonical import sha256_of
    from mecheval.reports.drawing.sheets import sheets
    from mecheval.reports.drawing.style import STYLE

    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names or known}
    found, of_tasks = [], sheets(reports)
    by_task: dict[str, list[PairReport]] = {}
    for report in pair_reports:
        if report.status == "success":
            by_task.setdefault(sha256_of(report.task.model_dump(mode="json")), []).append(report)
    with mpl.rc_context(STYLE):
        for sheet in of_tasks:
            for name, module in modules.items():
                drawn = module.draw(sheet) if hasattr(module, "draw") else []
                found += [Picture(sheet.task, name, drawing) for drawing in drawn]
        for name, module in modules.items():
            drawn = module.draw_all(of_tasks) if hasattr(module, "draw_all") else []
            found += [Picture(ALL_TASKS, name, drawing) for drawing in drawn]
            for matrix in pairs if hasattr(module, "draw_pairs") else ():
                drawn = module.draw_pairs([matrix])
                found += [Picture(matrix.task, name, drawing) for drawing in drawn]
            for same in by_task.values() if hasattr(module, "draw_two") else ():
                drawn = module.draw_two(same)
                found += [Picture(same[0].task_title, name, drawing) for drawing in drawn]
    if not found:
        raise UsageError(_nothing(reports, {name: known[name] for name in names or known}))
    return found


def _nothing(reports: Sequence[Report], wanted: dict[str, str]) -> str:
    errors = [report.error for report in reports if report.error]
    if errors and len(errors) == len(reports):
        error = errors[0]
        return (
            f"There is nothing to draw: the cell failed in {error.stage} ({error.type}). "
            "Run it again."
        )
    kinds = "; ".join(f"{name} ({shows})" for name, shows in wanted.items())
    learned = any(report.learned for report in reports)
    advice = "" if learned else " No model learned its task: train longer."
    return f"None of these figures can be drawn of the reports: {kinds}.{advice}"
