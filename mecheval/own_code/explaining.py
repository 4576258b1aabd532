"""Errors of the surroundings in one sentence: too little memory, a missing package, a path.

Only what a user can act on is explained; anything else is a fault of this package, and its
traceback is what a report of it needs.
"""

from __future__ import annotations

import errno
import sys

from mecheval.errors import MechevalError, StorageError, UsageError
from mecheval.escape import MOST_OF_OTHERS, MOST_SAID, cause

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OF_MEMORY = (
    "out of memory", "allocate memory", "not enough memory", "failed to map segment",
    "alloc_failed",
)  # fmt: skip
"""What systems and torch's devices say; torch has an error type for accelerators alone."""


class OutOfMemory(MechevalError):  # noqa: N818 - reads as a sentence where it is raised
    """There is too little memory to begin."""


def explained(error: BaseException) -> MechevalError | None:
    """Return an error that says what to do, None for one that nobody but a programmer can mend."""
    if isinstance(error, MechevalError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            f"There is too little memory ({in_words(error)}). Free some, use a smaller model "
            "or --batch-size, or raise the limit that `ulimit -v` shows: importing torch alone "
            "takes gigabytes of addresses."
        )
    if in_users_code := _of_users_code(error):
        return UsageError(in_users_code)
    if isinstance(error, ImportError) and not (error.name or "").startswith("mecheval"):
        return UsageError(
            f"A package that is needed cannot be imported ({in_words(error)}). `mecheval doctor` "
            "lists what is missing."
        )
    if isinstance(error, OSError) and error.strerror:
        what = error.filename if error.filename is not None else "A file"
        kind = StorageError if error.errno in _FULL else UsageError
        return kind(f"{what} cannot be used ({error.strerror}). Check it, or give another path.")
    return _of_users_files(error)


def in_words(error: BaseException) -> str:
    """Return class and message of an error, as :func:`message_of` gives it."""
    return f"{type(error).__name__}: {message_of(error)}".rstrip(": ")


def message_of(error: BaseException) -> str:
    """Return the message of an error on one line, cut, without a stack that it brings along."""
    ours = isinstance(error, MechevalError)
    return cause(str(error), most=MOST_SAID if ours else MOST_OF_OTHERS)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or one that it came from, is one of too little memory.

    A sentence of ours that speaks of memory is none: whoever wrote it has seen to it already.
    """
    while error is not None and not isinstance(error, MechevalError):
        text = str(error).casefold()
        # The type of torch is known by its name, because nothing here imports torch.
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if any(sign in text for sign in _OF_MEMORY):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False


def cannot_be_used(what: str, error: BaseException, *, said: str = "") -> str:
    """Say that something a user declared does not work, where no line of the user raised.

    Args:
        what: Where it is declared.
        error: What was raised.
        said: What is wrong, in place of the error's own words.
    """
    from mecheval.own_code.importing import innermost

    return (
        f"What is declared in {what} cannot be used ({said or in_words(error)}, at "
        f"{innermost(error)}). Mend the file, and check it with `mecheval validate`."
    )


def _of_users_code(error: BaseException) -> str | None:
    # Without this module nothing of a user was imported.
    importing = sys.modules.get("mecheval.own_code.importing")
    place = importing.place_of(error) if importing else None
    if place is None:
        return None
    return (
        f"{place} raised {in_words(error)}. Mend the file, and check it with `mecheval validate`."
    )


def _of_users_files(error: BaseException) -> UsageError | None:
    """Explain an error that came up while files of a user were at work, by what they declare."""
    # Without this module nothing of a user was imported.
    importing = sys.modules.get("mecheval.own_code.importing")
    files = dict.fromkeys(map(str, importing.used)) if importing else {}
    return UsageError(cannot_be_used(" and ".join(files), error)) if files else None
