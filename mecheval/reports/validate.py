"""Whether a file is a report that others can rely on: its schema, its key, its numbers, its place.

Reports of cells and of pairs are told apart by their schema. Only the file is looked at: models and
tasks need not be registered here.
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
from mecheval.reports import pair_checks, schema_file
from mecheval.reports.content import SCHEMA
from mecheval.reports.files import cell_key, report_path
from mecheval.reports.pair import PAIR_SCHEMA
from mecheval.reports.reading import content_of, digest_problem, first_problem, read_bytes
from mecheval.reports.results import BEHAVIOUR, MetricResult
from mecheval.reports.schema import Identity
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
    data, content, problem = _read(path)
    checks = [Check("whole JSON without NaN", not problem, problem)]
    schema = _schema_of(content)
    if not problem:
        accepted = _is_accepted(data, content, schema)
        problem = "" if accepted else _schema_problem(content, schema)
        checks.append(Check(f"follows {schema}", not problem, problem))
    if problem:
        return [*checks, *(Check(name, None, _DEPENDENT) for name in _CHECKS[schema])]
    for name, check in _CHECKS[schema].items():
        checks.append(check(name, content, path))
    return checks


def _schema_of(content: Any) -> str:
    """Return the schema that a file is held to: that of a cell unless it says that it is a pair."""
    is_pair = isinstance(content, dict) and content.get("schema") == PAIR_SCHEMA
    return PAIR_SCHEMA if is_pair else SCHEMA


def _read(path: Path) -> tuple[bytes, Any, str]:
    try:
        data = read_bytes(path)
        return data, content_of(data), ""
    except OSError as error:
        return b"", None, f"the file cannot be read ({error.strerror})"
    except ValueError as error:
        return b"", None, str(error)


def _is_accepted(data: bytes, content: Any, schema: str) -> bool:
    """Say whether the models take a file as it is, without any value being turned into another.

    What they take follows the schema, which was made from them, and this takes a hundredth of the
    time. What they refuse may still follow it (``1.0`` is an integer there), so the schema decides.
    """
    if not isinstance(content, dict) or content.get("schema") != schema:
        return False  # the only field with a default that must be written
    try:
        schema_file.model_of(schema).model_validate_json(data, strict=True)
    except ValidationError:
        return False
    return True


@lru_cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(schema_file.committed(schema))


def _schema_problem(content: Any, schema: str) -> str:
    errors = sorted(_validator(schema).iter_errors(content), key=relevance)
    if not errors:
        return _further_problem(content, schema)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _sentence(errors[-1]) + more


def _further_problem(content: Any, schema: str) -> str:
    """Say what JSON Schema cannot: arrays of another shape than their axes, names of axes twice."""
    try:
        schema_file.model_of(schema).model_validate(content)
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
    return Check.of(name, found)


def _metrics(name: str, content: dict[str, Any], path: Path) -> Check:
    results = [MetricResult.model_validate(metric) for metric in content.get("metrics", [])]
    found = list(problems(results))
    if content["learned"] is False:
        found += [
            f"{result.id} has a value, although the task was not learned"
            for result in results
            if result.family != BEHAVIOUR and result.value is not None
        ]
    return Check.of(name, found)


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
    problem = digest_problem(content, read_bytes(path))
    if content.get("digest") is None and not problem:
        return Check(name, None, "the report was written before there was one")
    return Check(name, not problem, f"the report {problem}" if problem else "")


_ANY: dict[str, Callable[[str, dict[str, Any], Path], Check]] = {
    "size": _size,
    "digest is that of the values": _digest,
}

_CHECKS: dict[str, dict[str, Callable[[str, dict[str, Any], Path], Check]]] = {
    SCHEMA: {
        "key is the hash of the identity": _key,
        "status fits": _status,
        "numbers make sense": _metrics,
        "path fits the identity": _place,
        **_ANY,
    },
    PAIR_SCHEMA: {**pair_checks.CHECKS, **_ANY},
}
