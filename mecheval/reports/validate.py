"""Whether a file is a report that others can rely on: its schema, its key, its numbers, its place.

Only the file is looked at: models and tasks need not be registered here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import relevance
from pydantic import ValidationError

from mecheval.checks import Check
from mecheval.escape import line, quoted
from mecheval.reports import schema_file
from mecheval.reports.files import cell_key, report_path
from mecheval.reports.reading import digest_problem, first_problem, read_json
from mecheval.reports.results import BEHAVIOUR, MetricResult
from mecheval.reports.schema import Identity, Report
from mecheval.reports.sense import problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonschema.exceptions import ValidationError as SchemaError

MAX_BYTES = 1_000_000
_DEPENDENT = "the file does not follow the schema"


def validate_file(path: Path | str) -> list[Check]:
    """Check a report file.

    Returns:
        One result per property; when the file cannot be read or does not follow the schema, the
        properties that need it do not apply.
    """
    path = Path(path)
    content, problem = _read(path)
    checks = [Check("whole JSON without NaN", not problem, problem)]
    if not problem:
        problem = _schema_problem(content)
        checks.append(Check("follows mecheval.report/1", not problem, problem))
    if problem:
        return [*checks, *(Check(name, None, _DEPENDENT) for name in _CHECKS)]
    for name, check in _CHECKS.items():
        checks.append(check(name, content, path))
    return checks


def _read(path: Path) -> tuple[Any, str]:
    try:
        return read_json(path), ""
    except OSError as error:
        return None, f"the file cannot be read ({error.strerror})"
    except ValueError as error:
        return None, str(error)


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema_file.committed())


def _schema_problem(content: Any) -> str:
    errors = sorted(_validator().iter_errors(content), key=relevance)
    if not errors:
        return _further_problem(content)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _sentence(errors[-1]) + more


def _further_problem(content: Any) -> str:
    """Say what JSON Schema cannot: arrays of another shape than their axes, names of axes twice."""
    try:
        Report.model_validate(content)
    except ValidationError as error:
        return f"the report {first_problem(error)}"
    return ""


def _sentence(error: SchemaError) -> str:
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    shown = line(error.message)
    shown = shown if len(shown) <= 200 else shown[:200] + " ..."
    return f"{line(where).removeprefix('.') or 'the report'}: {shown}"


def _key(name: str, content: dict[str, Any], path: Path) -> Check:
    expected = cell_key(Identity.model_validate(content["identity"]))
    detail = f"the key is {content['key']}, the hash of the identity is {expected}"
    holds = content["key"] == expected
    return Check(name, holds, "" if holds else detail)


def _status(name: str, content: dict[str, Any], path: Path) -> Check:
    found = []
    if (content["status"] == "error") != (content.get("error") is not None):
        found.append(f"status is {content['status']!r}, but error says otherwise")
    if content["partial"] != (content["identity"].get("limit") is not None):
        found.append("partial and identity.limit contradict each other")
    if content["status"] == "success" and not content.get("metrics"):
        found.append("status is 'success', but there are no metrics")
    return _outcome(name, found)


def _metrics(name: str, content: dict[str, Any], path: Path) -> Check:
    results = [MetricResult.model_validate(metric) for metric in content.get("metrics", [])]
    found = list(problems(results))
    if content["learned"] is False:
        found += [
            f"{result.id} has a value, although the task was not learned"
            for result in results
            if result.family != BEHAVIOUR and result.value is not None
        ]
    return _outcome(name, found)


def _place(name: str, content: dict[str, Any], path: Path) -> Check:
    expected = report_path(Path(), Identity.model_validate(content["identity"]))
    if not path.name.startswith("seed"):
        return Check(name, None, f"a file named {quoted(path.name)} is not in a folder of results")
    actual = path.resolve().parts[-3:]
    wanted = (*expected.parts[:-1], expected.stem)
    fits = len(actual) == len(wanted) and all(
        part.removesuffix(".json") == plain or part.startswith(f"{plain}+")
        for part, plain in zip(actual, wanted, strict=False)
    )
    return Check(name, fits, "" if fits else f"it should lie at {expected}")


def _size(name: str, content: dict[str, Any], path: Path) -> Check:
    size = path.stat().st_size
    return Check(name, size <= MAX_BYTES, f"{size / 1000:,.0f} kB")


def _digest(name: str, content: dict[str, Any], path: Path) -> Check:
    problem = digest_problem(content)
    if content.get("digest") is None and not problem:
        return Check(name, None, "the report was written before there was one")
    return Check(name, not problem, f"the report {problem}" if problem else "")


def _outcome(name: str, found: list[str]) -> Check:
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return Check(name, not found, "; ".join(found[:3]) + more)


_CHECKS: dict[str, Callable[[str, dict[str, Any], Path], Check]] = {
    "key is the hash of the identity": _key,
    "status fits": _status,
    "numbers make sense": _metrics,
    "path fits the identity": _place,
    "size": _size,
    "digest is that of the values": _digest,
}
