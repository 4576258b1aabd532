"""Reading a JSON file that anybody may have written.

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
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mecheval.reports.canonical import number

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 64_000_000
"""Largest file that is read; a report has a thousandth of it."""

DEEPEST = 64
"""Most lists and objects within each other; a report has ten."""

_GREATEST = 2**64
_LARGE = re.compile(rb"\d{20}|[eE]\+?\d{3}")
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
