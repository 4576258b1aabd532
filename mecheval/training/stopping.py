"""Ends that are asked for from outside: a training follows them between two steps.

Its progress is written then, so that the next process goes on from there. Elsewhere there is
nothing to be written, and the end comes at once.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GENTLE = tuple(
    number for name in ("SIGTERM", "SIGUSR2") if (number := getattr(signal, name, None)) is not None
)
"""Signals by which schedulers ask a process to end; those of SLURM's --signal come first."""

EXIT_CODE = 128 + signal.SIGTERM

_asked: int | None = None
_trainings = 0


class Stopped(KeyboardInterrupt):
    """SIGINT (Ctrl-C), SIGTERM or SIGUSR2 (a scheduler) arrived.

    A class of its own, because Python ends itself by SIGINT when a plain KeyboardInterrupt has
    passed through some of its own code, and the exit code would be lost.

    Attributes:
        number: The signal.
        exit_code: What the process is to end with.
    """

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number if number == signal.SIGINT else EXIT_CODE


def ask(number: int, _: object = None) -> None:
    """Ask for the end; the handler of a signal.

    Raises:
        Stopped: No training is under way, or it is Ctrl-C, which waits for nothing.
    """
    global _asked
    if not _trainings or number == signal.SIGINT:
        raise Stopped(number)
    _asked = number


def end_if_asked() -> None:
    """End here, between two steps, if that was asked for.

    Raises:
        Stopped: It was.
    """
    global _asked
    number, _asked = _asked, None
    if number is not None:
        raise Stopped(number)


def is_asked() -> bool:
    """Say whether the end was asked for and has not come yet."""
    return _asked is not None


@contextmanager
def between_steps() -> Iterator[None]:
    """Put off what is asked for until the training in the block ends, or ends itself."""
    global _trainings
    _trainings += 1
    try:
        yield
    finally:
        _trainings -= 1
        if not _trainings:
            end_if_asked()


@contextmanager
def handled(*numbers: int) -> Iterator[None]:
    """Turn signals into :class:`Stopped`, and restore what they did before."""
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
