"""What one worker does: claims a cell, computes it, writes its report."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from mecheval.errors import MechevalError
from mecheval.harness import store
from mecheval.harness.events import Outcome, Progress
from mecheval.harness.pair_plan import PairCell
from mecheval.own_code.explaining import explained
from mecheval.training import stopping

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from mecheval.harness.request import Cell

_SECONDS_BETWEEN_MESSAGES = 0.1


def work(cell: Cell | PairCell, tell: Callable[[Progress], None], *, wait: bool) -> Outcome | None:
    """Compute a cell or a pair and write its report, unless it is already there.

    Args:
        cell: The cell, or the pair.
        tell: Called with the cell's progress.
        wait: Whether to wait for another process that is at work on it.

    Returns:
        Its outcome; None if another process is at work on it.

    Raises:
        StorageError: The report could not be written.
    """
    if cell.output is None:
        return Outcome(cell, _computed(cell, tell))
    with store.claimed(cell.output, cell.key, wait=wait) as held:
        if not held:
            return None
        found = None if cell.settings.overwrite else store.finished_report(cell)
        if found is not None:
            return Outcome(cell, found, kept=True)
        report = _computed(cell, tell)
        store.save(report, cell)
        return Outcome(cell, report)


def _computed(cell: Cell | PairCell, tell: Callable[[Progress], None]) -> Any:
    if isinstance(cell, PairCell):
        from mecheval.harness.pair_cell import run_pair

        return run_pair(cell, tell)
    from mecheval.harness.cell import run_cell

    return run_cell(cell, tell)


def serve(requests: Connection) -> None:
    """Answer requests until there are no more; the main function of a worker process.

    Args:
        requests: Gives (cell, wait); takes progress, then an outcome, an error, or None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.handled(*stopping.GENTLE):
            _serve(requests)
    except stopping.Stopped as stopped:
        sys.exit(stopped.exit_code)


def _serve(requests: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    problem = _imported()
    while True:
        try:
            cell, wait = requests.recv()
        except EOFError:
            return
        try:
            answer = problem or work(cell, _throttled(requests), wait=wait)
        except MechevalError as error:
            answer = error
        requests.send(answer)


def _imported() -> MechevalError | None:
    """Import what takes seconds, as there is nothing else to do before the first request.

    Returns:
        Why it cannot be imported, to be said when somebody listens.
    """
    try:
        import mecheval.harness.cell
        import mecheval.training.preparation  # noqa: F401
    except Exception as error:
        problem = explained(error)
        if problem is None:
            raise
        return problem
    return None


def _throttled(requests: Connection) -> Callable[[Progress], None]:
    last: tuple[str, float] = ("", 0.0)

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.stage != last[0] or now - last[1] > _SECONDS_BETWEEN_MESSAGES:
            last = (progress.stage, now)
            requests.send(progress)

    return tell


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
