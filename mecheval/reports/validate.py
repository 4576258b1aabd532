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

from mecheval.checks import Check, all_passed
from mecheval.escape import line, quoted
from mecheval.reports import pair_checks, schema_file
from mecheval.reports.content import SCHEMA
from mecheval.reports.files import cell_key, report_path
from mecheval.reports.json_files import content_of, read_bytes
from mecheval.reports.pair import PAIR_SCHEMA
from mecheval.reports.reading import ReportFile, first_problem
from mecheval.reports.results import BEHAVIOUR
from mecheval.reports.sense import key_problems, problems, status_problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonschema.exceptions import ValidationError as SchemaError

    from mecheval.reports.pair import PairReport
    from mecheval.reports.reading import AnyFile, CellFile
    from mecheval.reports.schema import Report

MAX_BYTES = 1_000_000
_WHOLE = "whole JSON without NaN"
_IS_WHOLE = Check(_WHOLE, True)
_DEPENDENT = "the file does not follow the schema"


def validate_file(path: Path | str) -> list[Check]:
    """Check a report file.

    Returns:
        One result per property; when the file cannot be read or does not follow the schema, the
        properties that need it do not apply.
    """
    return validated(path)[0]


def validated(path: Path | str) -> tuple[list[Check], Report | PairReport | None]:
    """Check a report file; return the report as well, where all checks pass."""
    path = Path(path)
    try:
        data = read_bytes(path)
        content = content_of(data, normalise=True)
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror})"
        return _ending([Check(_WHOLE, False, problem)], SCHEMA), None
    except ValueError as error:
        return _ending([Check(_WHOLE, False, str(error))], SCHEMA), None
    schema = _schema_of(content)
    try:
        file = ReportFile.of(path, data, content, schema_file.model_of(schema))
    except ValidationError as error:
        # JSON Schema cannot say all: arrays of another shape than their axes, axes named twice.
        problem = _schema_problem(content, schema) or f"the report {first_problem(error)}"
        return _ending([_IS_WHOLE, Check(f"follows {schema}", False, problem)], schema), None
    checks = checks_of(file)
    return checks, file.report if all_passed(checks) else None


def checks_of(file: AnyFile) -> list[Check]:
    """Check a report that was read from a file; as :func:`validate_file`."""
    schema = _schema_of(file.content)
    # The schema was made from the models: what they take as it stands follows it, but for the one
    # field with a default that must be written. Asking them takes a hundredth of the time. What
    # they take otherwise may follow it as well (1.0 is an integer there), so the schema decides.
    follows = file.exact and file.content.get("schema") == schema
    problem = "" if follows else _schema_problem(file.content, schema)
    checks = [_IS_WHOLE, Check(f"follows {schema}", not problem, problem)]
    if problem:
        return _ending(checks, schema)
    return checks + [check(name, file) for name, check in _CHECKS[schema].items()]


def _ending(checks: list[Check], schema: str) -> list[Check]:
    """Add the properties that cannot be looked at where the last check failed."""
    return [*checks, *(Check(name, None, _DEPENDENT) for name in _CHECKS[schema])]


def _schema_of(content: Any) -> str:
    """Return the schema that a file is held to: that of a cell unless it says that it is a pair."""
    is_pair = isinstance(content, dict) and content.get("schema") == PAIR_SCHEMA
    return PAIR_SCHEMA if is_pair else SCHEMA


@lru_cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(schema_file.committed(schema))


def _schema_problem(content: Any, schema: str) -> str:
    errors = sorted(_validator(schema).iter_errors(content), key=relevance)
    if not errors:
        return ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _sentence(errors[-1]) + more


def _sentence(error: SchemaError) -> str:
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    shown = line(error.message)
    shown = shown if len(shown) <= 200 else shown[:200] + " ..."
    return f"{line(where).removeprefix('.') or 'the report'}: {shown}"


def _key(name: str, file: CellFile) -> Check:
    report = file.report
    return Check.of(name, key_problems(report.key, cell_key(report.identity)))


def _status(name: str, file: CellFile) -> Check:
    report, found = file.report, status_problems(file.report)
    if report.partial != (report.identity.limit is not None):
        found.append("partial and identity.limit contradict each other")
    return Check.of(name, found)


def _metrics(name: str, file: CellFile) -> Check:
    found = list(problems(file.report.metrics))
    if file.report.learned is False:
        found += [
            f"{result.id} has a value, although the task was not learned"
            for result in file.report.metrics
            if result.family != BEHAVIOUR and result.value is not None
        ]
    return Check.of(name, found)


def _place(name: str, file: CellFile) -> Check:
    path, expected = file.path, report_path(Path(), file.report.identity)
    if not path.name.startswith("seed"):
        return Check(name, None, f"a file named {quoted(path.name)} is not in a folder of results")
    actual = path.resolve().parts[-3:]
    wanted = (*expected.parts[:-1], expected.stem)
    fits = len(actual) == len(wanted) and all(
        part.removesuffix(".json") == plain or part.startswith(f"{plain}+")
        for part, plain in zip(actual, wanted, strict=False)
    )
    return Check(name, fits, "" if fits else f"it should lie at {expected}")


def _size(name: str, file: AnyFile) -> Check:
    size = len(file.data)
    return Check(name, size <= MAX_BYTES, f"{size / 1000:,.0f} kB")


def _digest(name: str, file: AnyFile) -> Check:
    problem = file.digest_problem
    if file.content.get("digest") is None and not problem:
        return Check(name, None, "the report was written before there was one")
    return Check(name, not problem, f"the report {problem}" if problem else "")


_ANY: dict[str, Callable[[str, Any], Check]] = {
    "size": _size,
    "digest is that of the values": _digest,
}

_CHECKS: dict[str, dict[str, Callable[[str, Any], Check]]] = {
    SCHEMA: {
        "key is the hash of the identity": _key,
        "status fits": _status,
        "numbers make sense": _metrics,
        "path fits the identity": _place,
        **_ANY,
    },
    PAIR_SCHEMA: {**pair_checks.CHECKS, **_ANY},
}
