"""Why a model cannot be taken apart or replayed."""

from __future__ import annotations

from mecheval.own_code.explaining import in_words, is_out_of_memory

FAILURES = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What modules raise that are called in a way that they do not know.

Whoever catches them lets pass what :func:`pass_shortage` lets pass: torch says that memory is short
by a RuntimeError, and that says nothing of a model.
"""


def pass_shortage(error: Exception) -> None:
    """Raise an error of too little memory again: it is no verdict, and nobody remembers it."""
    if is_out_of_memory(error):
        raise error


class Inseparable(Exception):  # noqa: N818 - an answer, no error of the user's
    """A model, or a part of it, can only run whole; the message says why, in one sentence."""


def in_short(reason: Exception) -> str:
    """Return why a part does not serve, in one sentence without a full stop.

    Raises:
        Exception: The reason itself, where memory is short: that is no verdict on a model.
    """
    if is_out_of_memory(reason):
        raise reason
    if isinstance(reason, Inseparable):
        return str(reason)
    return f"a part alone fails ({in_words(reason)})"
