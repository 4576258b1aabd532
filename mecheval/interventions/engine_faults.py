"""What an error of an engine means: the model at hand is not made for it, or something else.

An engine that calls parts of a model in ways of its own may fail on one that it was not made for;
then the next engine is taken. It is another thing when memory is short, which says nothing of the
model, when the user has asked for what cannot be, and when the fault is in the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from mecheval.errors import MechevalError
from mecheval.models.mixing import Mixing
from mecheval.own_code.explaining import in_words, is_out_of_memory

if TYPE_CHECKING:
    from types import FrameType

OF_CODE = (TypeError, AttributeError, LookupError, NameError, AssertionError)
"""Errors that wrong code raises. From a model's own code they say that it wants to be called in
another way."""

OURS, ADAPTERS = "mecheval", "mecheval.models.wrapped"


def reason_of(error: Exception) -> str:
    """Return in words why an engine does not serve for a model.

    Raises:
        Exception: The error itself, if that is not what it says: memory is short, it is a sentence
            for the user, or :func:`is_own_fault`.
    """
    if is_out_of_memory(error) or isinstance(error, MechevalError) or is_own_fault(error):
        raise error
    return in_words(error)


def is_own_fault(error: BaseException) -> bool:
    """Say whether an error is a fault of this package, to be seen with its traceback.

    It is if its kind is one of :data:`OF_CODE` and it was raised in a file of this package or in
    what that called, other than the model: from where the error was raised outwards, the first of
    these frames decides. Ours is a frame of this package, but for the adapters to foreign modules
    (``models/wrapped``), which fail on modules that they do not know. The model's is a frame of
    another package in which a torch module or a mixer of the user's runs. Frames of torch itself
    and of functions by themselves decide nothing.
    """
    if not isinstance(error, OF_CODE):
        return False
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return next((ours for frame in reversed(frames) if (ours := _is_ours(frame)) is not None), True)


def _is_ours(frame: FrameType) -> bool | None:
    """Say whether a frame is ours, or the model's, or neither (None)."""
    name = frame.f_globals.get("__name__") or ""
    if _is_in(name, OURS):
        return not _is_in(name, ADAPTERS)
    runs = frame.f_code.co_argcount and frame.f_locals.get(frame.f_code.co_varnames[0])
    if isinstance(runs, nn.Module | Mixing) and not _is_in(name, "torch"):
        return False
    return None


def _is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
