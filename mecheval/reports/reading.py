"""Reading a report, which is a JSON file that anybody may have written.

Whatever is wrong with it ends in an OSError or a ValueError that says so in a few words: what is no
regular file is not waited for, what is huge is not read, what is nested deeply is not descended
into, and what no other program could read is refused.
"""

from __future__ import annotations

import errno
import json
import math
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

import numpy as np
from pydantic import ValidationError

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.reports.canonical import digest_of_normalised, number
from mecheval.reports.content import SCHEMA
from mecheval.reports.pair import PAIR_SCHEMA, PairReport
from mecheval.reports.results import Record
from mecheval.reports.schema import Report
from mecheval.text.allowed import refused
from mecheval.text.hints import about_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


R = TypeVar("R", bound=Record)

MOST_BYTES = 64_000_000
"""Largest file that is read; a report has a thousandth of it."""

DEEPEST = 64
"""Most lists and objects within each other; a report has ten."""

SEALED_FROM = 4
"""The first protocol under which every report was written with a digest."""

_GREATEST = 2**64
_LARGE = re.compile(rb"\d{20}|[eE]\+?\d{3}")
_ADVICE = "If it was one, run its cell again: it is then set aside, and another one written."
_TOO_DEEP = f"more than {DEEPEST} lists and objects are within each other"


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: There is none, it is no regular file, it is too large, or it cannot be read.
    """
    try:
        found = path.stat()
    except ValueError as error:  # a name that no file can have
        raise OSError(errno.EINVAL, str(error)) from error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if found.st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES / 1e6:.0f} MB")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: As :func:`read_bytes`.
        ValueError: It is no JSON, or holds what JSON or UTF-8 cannot: NaN, numbers out of range,
            half of a surrogate pair; or it is nested too deeply.
    """
    return content_of(read_bytes(path))


def content_of(data: bytes, *, normalise: bool = False) -> Any:
    """Return the content of JSON; raise as :func:`read_json` does.

    Args:
        data: The JSON.
        normalise: Whether whole floats become integers, as a digest has them.
    """
    try:
        parse_float = number if normalise else None
        content = json.loads(data, parse_constant=_refuse, parse_float=parse_float)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except MemoryError:
        raise ValueError("it takes more memory than there is") from None
    if not _is_plain(data):
        _check(content)
    return content


def _is_plain(data: bytes) -> bool:
    """Say whether bytes alone show that :func:`_check` has nothing to find.

    There are no characters but those of ASCII and none that is escaped, no number that may be too
    large, and brackets, those in texts left out, are within each other as few times as they may.
    """
    if not data.isascii() or b"\\u" in data:
        return False
    # Every other piece between quotes that are not escaped is within a text.
    rest = b"".join(data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    if _LARGE.search(rest):
        return False
    brackets = np.frombuffer(rest, np.uint8)
    opened = (brackets == ord("[")) | (brackets == ord("{"))
    closed = (brackets == ord("]")) | (brackets == ord("}"))
    depth = np.cumsum(opened.astype(np.int32) - closed)
    return depth.size > 0 and int(depth.max()) < DEEPEST


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number; write null and give a reason")


def _check(content: Any) -> None:
    """Look at every value, level by level, so that depth takes no stack."""
    level = [content]
    for _ in range(DEEPEST):
        following: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                following += value
                following += value.values()
            elif isinstance(value, list):
                following += value
            else:
                _check_plain(value)
        if not following:
            return
        level = following
    raise ValueError(_TOO_DEEP)


def _check_plain(value: Any) -> None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("a text holds half of a surrogate pair") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is out of range")
    elif isinstance(value, int) and abs(value) > _GREATEST:
        raise ValueError("a whole number is out of range")


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
