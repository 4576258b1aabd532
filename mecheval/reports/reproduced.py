"""The record ``mecheval.reproduced/1``: that a cell was measured again, by whom, where and when.

It lies beside the report that it is about, as ``seed0.reproduced.json``, and holds the digest of
that report: a report that was measured anew since then is not the one that was reproduced. The
report itself stays as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from mecheval.paths import exists
from mecheval.reports import json_text
from mecheval.reports.documents import write_document
from mecheval.reports.json_files import read_json
from mecheval.reports.reading import first_problem
from mecheval.reports.results import Record
from mecheval.reports.types import Count, Sha256, Title

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mecheval.reports.schema import Report

REPRODUCED_SCHEMA = "mecheval.reproduced/1"
SUFFIX = ".reproduced.json"

Rule = Literal["equal", "within intervals"]


class Execution(Record):
    """One time that a cell was measured again and came out as it was reported."""

    by: Title
    """Who did it."""
    when: Title
    """End, UTC, ISO 8601."""
    rule: Rule
    """How numbers were compared: to the last digit, or within what intervals and seeds leave
    open."""
    why: str = Field(max_length=2000)
    """Why by this rule."""
    n_numbers: Count
    """How many numbers were compared."""
    n_equal: Count
    """How many of them are equal to the last digit that reports have."""
    environment: dict[str, Any]
    """Versions and hardware, as a report has them."""
    digest: Sha256
    """Digest of what was measured again."""


class Reproduced(Record):
    """What stands beside a report that was reproduced."""

    schema_: Literal["mecheval.reproduced/1"] = Field(default=REPRODUCED_SCHEMA, alias="schema")
    """Name and version of this schema."""
    key: Sha256
    """Key of the report."""
    digest: Sha256
    """Digest of the report."""
    executions: list[Execution] = Field(min_length=1)
    """Every time, in order."""


def reproduced_path(report: Path) -> Path:
    """Return where the record of a report lies."""
    return report.with_name(report.name.removesuffix(".json") + SUFFIX)


def is_about(record: Reproduced, report: Report) -> bool:
    """Say whether a record is about a report as it is now."""
    return (record.key, record.digest) == (report.key, report.digest)


def read_reproduced(path: Path) -> tuple[Reproduced | None, str]:
    """Read a record.

    Args:
        path: Its own file.

    Returns:
        The record, and an empty text; or None and what is wrong with the file.
    """
    try:
        return Reproduced.model_validate(read_json(path)), ""
    except ValidationError as error:
        return None, first_problem(error)
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    except ValueError as error:
        return None, f"is not whole JSON ({error})"


def mark_of(report: Report, path: Path) -> Reproduced | None:
    """Return the record beside a report; None where there is none that is about it.

    Args:
        report: The report.
        path: Its file.
    """
    beside = reproduced_path(path)
    record = read_reproduced(beside)[0] if exists(beside) else None
    return record if record is not None and is_about(record, report) else None


def add_execution(report: Report, path: Path, execution: Execution) -> Path:
    """Write down that a report was reproduced, below what is known already.

    Args:
        report: The report.
        path: Its file.
        execution: How.

    Returns:
        The file of the record.

    Raises:
        StorageError: It could not be written.
    """
    before = mark_of(report, path)
    executions = [*(before.executions if before else ()), execution]
    record = Reproduced(key=report.key, digest=str(report.digest), executions=executions)
    beside = reproduced_path(path)
    content = record.model_dump(mode="json", by_alias=True)
    write_document(beside, json_text.dumps(content) + "\n")
    return beside


def in_words(executions: Iterable[Execution]) -> list[str]:
    """Say of every execution by whom, where, when and how exactly a cell came out again."""
    return [_sentence(execution) for execution in executions]


def _sentence(execution: Execution) -> str:
    there = execution.environment
    packages, package = there.get("packages", {}), there.get("mecheval", {})
    cpu = there.get("cpu", {})
    machine = cpu.get("model", "an unknown processor") if isinstance(cpu, dict) else str(cpu)
    gpus = [gpu.get("name", "") for gpu in there.get("gpu", []) if isinstance(gpu, dict)]
    where = ", ".join(filter(None, [*gpus, machine]))
    versions = f"Python {there.get('python', '?')}, torch {packages.get('torch', '?')}"
    n, equal = execution.n_numbers, execution.n_equal
    how = f"all {n} numbers equal"
    if n != equal:
        how = f"{equal} of {n} numbers equal, those of tables within intervals or seeds"
    return (
        f"by {execution.by} on {where} ({versions}, mecheval {package.get('version', '?')}), "
        f"{execution.when[:10]}: {how}"
    )
