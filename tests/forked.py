"""Processes that are forked from one which has imported torch, so that none imports it again.

For tests of what processes of their own do, and not of how they start.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

_IMPORTED = [
    "mecheval.harness.cell", "mecheval.harness.pair_cell", "mecheval.training.preparation",
    "torch._dynamo",  # which whatever trains imports
]  # fmt: skip

_get_context = multiprocessing.get_context  # before a test puts another in its place
_numbers = itertools.count()


class Forked(ForkServerContext):
    """Stands for ``multiprocessing.get_context("spawn")``."""

    @staticmethod
    def Process(target: Callable[..., Any], args: tuple[Any, ...], **kwargs: Any) -> Any:
        """Return a process with this one's environment and group, not its origin's."""
        return _process(target, *args, **kwargs)


class Command:
    """``mecheval`` with arguments, in a process and a process group of its own.

    Args:
        argv: The arguments.
        folder: Where files with what it writes are kept.
        terminal: Path of a terminal that its standard error is shown on, instead of a file.
        first: Called in the process before the command; a function of a module.
    """

    def __init__(
        self, *argv: str, folder: Path, terminal: str = "", first: Callable[[], object] = int
    ) -> None:
        name = folder / f".command-{next(_numbers)}"
        self._out, self._err = name.with_suffix(".out"), name.with_suffix(".err")
        given = (argv, str(self._out), terminal or str(self._err), first)
        self._process = _process(_run_command, *given, group=0)
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, below 0 for a signal; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process, and none of those that it started."""
        self._process.kill()

    def finish(self, *, seconds: float = 300) -> tuple[int, str, str]:
        """Wait for its end; return exit code, stdout and stderr."""
        self._process.join(seconds)
        if self.code is None:
            self.kill()  # or pytest would wait for it at its end
            raise AssertionError("it did not end")
        out, err = (p.read_text() if p.exists() else "" for p in (self._out, self._err))
        return self.code, out, err

    def workers(self) -> list[psutil.Process]:
        """Return the processes that it started, which are of its group."""
        of_group = [pid for pid in psutil.pids() if pid != self.pid and _group(pid) == self.pid]
        return [psutil.Process(pid) for pid in of_group if psutil.pid_exists(pid)]


def get_context(method: str | None = None) -> BaseContext:
    """Return what :func:`multiprocessing.get_context` does, and what is forked for ``"spawn"``.

    The process that others are forked from starts with the first of them.
    """
    return Forked() if method == "spawn" else _get_context(method)


def told(function: Callable[[], object], **changes: str) -> Connection:
    """Call a function in a process of its own, which sends what is returned, as text.

    Args:
        function: One of a module that can be imported.
        changes: Environment variables that are others there.
    """
    ours, theirs = multiprocessing.Pipe()
    _process(_tell, theirs, function, changes, daemon=True).start()
    theirs.close()
    return ours


class _Place(NamedTuple):
    """What a process has from the one that starts it, as it would if that were its origin."""

    environment: dict[str, str]
    folder: str
    group: int
    blocked: frozenset[int]
    largest_file: tuple[int, int]

    @classmethod
    def here(cls, group: int | None) -> _Place:
        """Return that of this process, in its group or in another."""
        blocked = frozenset(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        largest = resource.getrlimit(resource.RLIMIT_FSIZE)
        group = os.getpgrp() if group is None else group
        return cls(dict(os.environ), str(Path.cwd()), group, blocked, largest)

    def enter(self) -> None:
        os.setpgid(0, self.group)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        resource.setrlimit(resource.RLIMIT_FSIZE, self.largest_file)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)


class _Process(ForkServerProcess):
    """A process that begins where the one that starts it is then, in whatever group."""

    group: int | None = None

    def start(self) -> None:
        """Start it."""
        self._args = (_Place.here(self.group), *self._args)
        super().start()


def _process(
    target: Callable[..., Any], *args: Any, group: int | None = None, **kwargs: Any
) -> _Process:
    multiprocessing.set_forkserver_preload(_IMPORTED)
    process = _Process(target=_placed, args=(target, args), **kwargs)
    process.group = group
    return process


def _placed(place: _Place, target: Callable[..., Any], args: tuple[Any, ...]) -> None:
    place.enter()
    # Those that this one starts are forked from where it was forked from itself.
    forkserver._forkserver.ensure_running = lambda: None
    multiprocessing.get_context = get_context
    target(*args)


def _tell(
    connection: Connection, function: Callable[[], object], changes: Mapping[str, str]
) -> None:
    os.environ.update(changes)
    connection.send(str(function()))


def _run_command(argv: tuple[str, ...], out: str, err: str, first: Callable[[], object]) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    first()
    from mecheval.cli import main

    sys.exit(main(list(argv)))


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:  # it ended meanwhile
        return 0
