"""Reading a report, which is a JSON file that anybody may have written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.reports.canonical import digest_of_normalised
from mecheval.reports.content import SCHEMA
from mecheval.reports.json_files import content_of, read_bytes
from mecheval.reports.pair import PAIR_SCHEMA, PairReport
from mecheval.reports.results import Record
from mecheval.reports.schema import Report
from mecheval.text.allowed import refused
from mecheval.text.hints import about_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


R = TypeVar("R", bound=Record)

SEALED_FROM = 4
"""The first protocol under which every report was written with a digest."""

_ADVICE = "If it was one, run its cell again: it is then set aside, and another one written."


class ReportError(UsageError):
    """A file is no report that can be relied on.

    Attributes:
        problem: What is wrong with it, to be said of it: "is not whole JSON (...)".
    """

    def __init__(self, message: str, problem: str = "") -> None:
        """Keep the message, and the problem by itself."""
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True)
class ReportFile(Generic[R]):
    """A report, and the file that it is in.

    Attributes:
        path: The file.
        data: Its bytes.
        content: What they say, as JSON whose whole floats are integers.
        report: The same as a report.
        exact: Whether every value is of its field's type as it stands: none had to be turned into
            another, such as a text into a number.
    """

    path: Path
    data: bytes
    content: dict[str, Any]
    report: R
    exact: bool

    @classmethod
    def of(cls, path: Path, data: bytes, content: Any, model: type[R]) -> ReportFile[R]:
        """Take a file's content as a report.

        Raises:
            ValidationError: It is none.
        """
        try:
            report = model.model_validate_json(data, strict=True)
            return cls(path, data, content, report, exact=True)
        except ValidationError:
            return cls(path, data, content, model.model_validate(content), exact=False)

    @cached_property
    def digest_problem(self) -> str:
        """Say that values do not fit their digest, or that it was taken away; else nothing."""
        return digest_problem(self.content)


CellFile: TypeAlias = ReportFile[Report]
PairFile: TypeAlias = ReportFile[PairReport]
AnyFile: TypeAlias = CellFile | PairFile


def read_report(path: Path | str, *, verify: bool = False) -> Report:
    """Read a report.

    Args:
        path: Its file.
        verify: Whether to refuse one whose values do not fit its digest.

    Raises:
        ReportError: There is no such file, or it is not a report; names the file and the field.
    """
    return read_file(path, Report, verify=verify).report


def read_pair(path: Path | str, *, verify: bool = False) -> PairReport:
    """Read the report of a pair; as :func:`read_report`."""
    return read_file(path, PairReport, verify=verify).report


def read_either(path: Path | str, *, verify: bool = False) -> Report | PairReport:
    """Read the report of a cell or of a pair, whichever it says to be; as :func:`read_report`."""
    return read_file(path, Report, PairReport, verify=verify).report


def read_file(path: Path | str, *kinds: type[R], verify: bool = False) -> ReportFile[R]:
    """Read a report of one of several kinds together with its file; as :func:`read_report`."""
    path, advice, found = Path(path), "", None
    try:
        data = read_bytes(path)
        content = content_of(data, normalise=True)
        problem, found = _found(path, data, content, kinds)
        if found is not None and verify:
            problem = found.digest_problem
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError as error:
        problem, advice = about_file(path) or (f"is not whole JSON ({error})", _ADVICE)
    if problem or found is None:
        what = "file" if advice else "report"
        raise ReportError(f"The {what} {path} {problem}. {advice}".rstrip(), problem)
    return found


_KINDS = {SCHEMA: "a single model", PAIR_SCHEMA: "a pair of models"}
"""What every kind of report is of."""


def _found(
    path: Path, data: bytes, content: Any, kinds: Sequence[type[R]]
) -> tuple[str, ReportFile[R] | None]:
    """Return what is wrong with a report, or an empty string and the report."""
    asked = {kind.model_fields["schema_"].default: kind for kind in kinds}
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, str) or schema not in asked:
        expected = " and ".join(map(quoted, asked))
        if isinstance(schema, str) and schema in _KINDS:
            wanted = " or ".join(_KINDS[each] for each in asked)
            return f"is of {_KINDS[schema]}, and what is asked takes a report of {wanted}", None
        found = f"schema {quoted(schema)}" if schema else "no field 'schema'"
        return f"has {found}; this version of mecheval reads {expected}", None
    try:
        return "", ReportFile.of(path, data, content, asked[schema])
    except ValidationError as error:
        return first_problem(error), None


def digest_problem(content: Mapping[str, Any]) -> str:
    """Say that values do not fit their digest, or that it was taken away; else an empty string.

    Args:
        content: A report that follows the schema, with whole floats as integers. Older ones never
            had a digest.
    """
    digest = content.get("digest")
    if digest is None:
        sealed = content["identity"]["protocol"] >= SEALED_FROM
        return "was changed after it was written: it has lost its digest" if sealed else ""
    if digest == digest_of_normalised(content):
        return ""
    return "was changed after it was written: its values do not fit its digest"


def first_problem(error: ValidationError) -> str:
    """Say what is wrong first, of something: "lacks the field 'identity.seed'"."""
    found = refused(error)
    where = quoted(".".join(map(str, found.where)))
    if found.problem["type"] == "missing":
        return f"lacks the field {where}"
    if found.problem["type"] == "extra_forbidden":
        return f"has an unknown field {where}"
    return f"has a wrong field {where}: {found.said}"
