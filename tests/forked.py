"""Processes that are forked from one which has imported torch, so that none imports it again.

For tests of what processes of their own do, and not of how they start.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

_IMPORTED = [
    "mecheval.harness.cell", "mecheval.harness.pair_cell", "mecheval.training.preparation",
    "torch._dynamo",  # which whatever trains imports
]  # fmt: skip


class Forked(ForkServerContext):
    """Stands for ``multiprocessing.get_context("spawn")``."""

    @staticmethod
    def Process(target: Callable[..., Any], args: tuple[Any, ...], **kwargs: Any) -> Any:
        """Return a process with this one's environment, not with that of the one it comes from."""
        given = (dict(os.environ), target, args)
        return ForkServerProcess(target=_in_environment, args=given, **kwargs)


def context() -> Forked:
    """Return the context; the process that others are forked from starts with the first of them."""
    multiprocessing.set_forkserver_preload(_IMPORTED)
    return Forked()


def told(function: Callable[[], object], **changes: str) -> Connection:
    """Call a function in a process of its own, which sends what is returned, as text.

    Args:
        function: One of a module that can be imported.
        changes: Environment variables that are others there.
    """
    ours, theirs = multiprocessing.Pipe()
    given = ({**os.environ, **changes}, _tell, (theirs, function))
    context()
    ForkServerProcess(target=_in_environment, args=given, daemon=True).start()
    theirs.close()
    return ours


def _tell(connection: Connection, function: Callable[[], object]) -> None:
    connection.send(str(function()))


def _in_environment(
    environment: Mapping[str, str], target: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*args)
