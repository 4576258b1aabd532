"""Whether the report of a pair is one that others can rely on, beyond its schema and its digest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.checks import Check
from mecheval.escape import quoted
from mecheval.reports.files import pair_key, pair_path, place_of
from mecheval.reports.label_checks import differing
from mecheval.reports.sense import key_problems, problems, status_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mecheval.reports.identity import TaskIdentity
    from mecheval.reports.pair import PairReport, PairSide
    from mecheval.reports.reading import PairFile


def _key(name: str, file: PairFile) -> Check:
    report = file.report
    return Check.of(name, key_problems(report.key, pair_key(report.identity)))


def _sides(name: str, file: PairFile) -> Check:
    report, found = file.report, []
    if not report.identity.a < report.identity.b:
        found.append("the first cell's key is not the smaller one")
    for side in report.sides:
        found += _misnamed(side.title, side.model.name, side.labels.model, side.model.args)
        task = side.task or report.task
        found += _misnamed(report.task_title, task.name, side.labels.task, task.params)
    apart = len({_tokens(side.task or report.task) for side in report.sides}) > 1
    if report.status == "success" and apart != (report.alignment is not None):
        found.append(
            "the two have other tokens and nowhere to meet, or the same ones and somewhere"
        )
    return Check.of(name, found)


def _tokens(task: TaskIdentity) -> tuple[str | None, str]:
    """Return what tells the tokens of a task, and the lengths of its sequences."""
    return task.sample_sha256, str(task.params.get("max_length"))


def _misnamed(
    title: str, name: str, label: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Iterator[str]:
    """Say where a title is not that of a name, or a label not what the arguments hold."""
    if not title.startswith(name):
        yield f"the title {quoted(title)} is not of {quoted(name)}"
    yield from differing(name, label, arguments)


def _status(name: str, file: PairFile) -> Check:
    report, found = file.report, status_problems(file.report)
    limits = [side.labels.run.get("limit") for side in report.sides]
    if report.partial != any(limit is not None for limit in limits):
        found.append("partial and the limits of the cells contradict each other")
    return Check.of(name, found)


def _metrics(name: str, file: PairFile) -> Check:
    report = file.report
    found = list(problems(report.metrics))
    if report.identity.at_loss is None and not all(side.learned for side in report.sides):
        found += [
            f"{result.id} has a value, although one of the two did not learn the task"
            for result in report.metrics
            if result.value is not None
        ]
    return Check.of(name, found)


def _artefacts(name: str, file: PairFile) -> Check:
    used = file.report.artefacts
    if used is None:
        return Check(name, None, "its numbers are from the reports of its cells alone")
    found = []
    for side, of in {"a": used.a, "b": used.b}.items():
        if len({each.key for each in of}) < len(of):
            found.append(f"a key stands twice among those of {side}")
        found += [
            f"{each.kind} {each.key[:8]} of {side} should have a seed if they are codes, else none"
            for each in of
            if (each.kind == "codes") != (each.seed is not None)
        ]
    tokens = [{each.evaluation_sha256 for each in of} for of in (used.a, used.b)]
    if tokens[0] != tokens[1]:
        found.append("those of the two networks are of other evaluation tokens")
    return Check.of(name, found)


def _place(name: str, file: PairFile) -> Check:
    path, report = file.path, file.report
    if not path.name.startswith("seed"):
        return Check(name, None, f"a file named {quoted(path.name)} is not in a folder of results")
    cells = [_place_of(report, side) for side in report.sides]
    expected = pair_path(cells[0], cells[1], Path(), pair_key(report.identity))
    fits = path.resolve().parts[-len(expected.parts) :] == expected.parts
    return Check(name, fits, "" if fits else f"it should lie at {expected}")


def _place_of(report: PairReport, side: PairSide) -> Path:
    return place_of(Path(), side.model, side.task or report.task, side.seed, side.labels)


CHECKS: dict[str, Callable[[str, PairFile], Check]] = {
    "key is the hash of the identity": _key,
    "the sides are those of the identity": _sides,
    "status fits": _status,
    "numbers make sense": _metrics,
    "artefacts are of the same tokens": _artefacts,
    "path fits the identity": _place,
}
