"""Why a model cannot be taken apart or replayed."""

from __future__ import annotations

from mecheval.own_code.explaining import in_words

FAILURES = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What modules raise that are called in a way that they do not know."""


class Inseparable(Exception):  # noqa: N818 - an answer, no error of the user's
    """A model, or a part of it, can only run whole; the message says why, in one sentence."""


def in_short(reason: Exception) -> str:
    """Return why a part does not serve, in one sentence without a full stop."""
    if isinstance(reason, Inseparable):
        return str(reason)
    return f"a part alone fails ({in_words(reason)})"
