"""Runs cells: here, one after the other, or side by side in worker processes.

Workers are started fresh (spawn), so that CUDA and BLAS threads are safe. A worker that dies takes
only its cell with it; a worker whose parent dies ends itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING, Any

from mecheval.harness import store
from mecheval.harness.events import Outcome, Progress
from mecheval.harness.failure import died
from mecheval.harness.pair_plan import PairCell
from mecheval.harness.worker import serve, work
from mecheval.training import stopping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from mecheval.harness.events import Listener
    from mecheval.harness.request import Cell


_SECONDS_TO_END = 20
_ASKED = {stopping.EXIT_CODE, *(-number for number in stopping.GENTLE)}


@dataclass
class _Worker:
    """One worker process and what it is doing."""

    process: BaseProcess
    connection: Connection
    environment: Mapping[str, str]
    cell: Any = None  # the Cell or PairCell it is at work on
    progress: Progress = Progress("start")  # noqa: RUF009 - frozen


class Pool:
    """Worker processes; use it as a context so that none is left behind."""

    def __init__(
        self, jobs: int, environment: Mapping[str, str], *, devices: Sequence[str] = ()
    ) -> None:
        """Start the workers; they import torch while the caller goes on.

        Args:
            jobs: Number of workers.
            environment: Variables that are set for them.
            devices: CUDA devices, dealt out in turn; none for the CPU.
        """
        self._workers: list[_Worker] = []
        for i in range(jobs):
            on_gpu = {}
            if devices:
                on_gpu["CUDA_VISIBLE_DEVICES"] = devices[i % len(devices)]
                on_gpu["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic products
            self._workers.append(_started({**environment, **on_gpu}))

    def __enter__(self) -> Pool:
        """Return the pool."""
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Stop all workers: at once, or where a scheduler asked for it after their step."""
        if isinstance(error, stopping.Stopped) and error.number in stopping.GENTLE:
            for worker in self._workers:
                worker.process.terminate()
            sentinels = {worker.process.sentinel for worker in self._workers}
            until = time.monotonic() + _SECONDS_TO_END
            while sentinels and (left := until - time.monotonic()) > 0:
                sentinels -= set(connection.wait(sentinels, left))
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    @property
    def size(self) -> int:
        """Return the number of workers."""
        return len(self._workers)

    def run(self, cells: Sequence[Cell | PairCell], listener: Listener) -> Iterator[Outcome]:
        """Yield an outcome per cell as they finish.

        A cell that another process is at work on is put off, then waited for.

        Args:
            cells: The cells, in the order in which they are begun.
            listener: Is told what happens.

        Raises:
            StorageError: A report could not be written.
        """
        pending: deque[Cell | PairCell] = deque(cells)
        busy_elsewhere: deque[Cell | PairCell] = deque()
        while pending or busy_elsewhere or self._busy():
            for worker in self._workers:
                if worker.cell is None and (pending or busy_elsewhere):
                    wait = not pending
                    cell = taken(pending or busy_elsewhere, [w.cell for w in self._busy()])
                    self._dispatch(worker, cell, wait, listener)
            for ready in connection.wait([worker.connection for worker in self._busy()]):
                worker = next(w for w in self._workers if w.connection is ready)
                cell, message = self._receive(worker)
                if isinstance(message, Progress):
                    listener.progressed(cell, message)
                elif isinstance(message, Exception):
                    raise message
                elif message is None:
                    busy_elsewhere.append(cell)
                else:
                    listener.finished(message)
                    yield message

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.cell is not None]

    def _dispatch(
        self, worker: _Worker, cell: Cell | PairCell, wait: bool, listener: Listener
    ) -> None:
        worker.cell, worker.progress = cell, Progress("start")
        try:
            worker.connection.send((cell, wait))
        except OSError:
            return  # it died while it was idle; receiving from it says so
        listener.started(cell)

    def _receive(self, worker: _Worker) -> tuple[Cell | PairCell, Any]:
        """Return a cell and progress, an outcome, an error, or None where it is claimed."""
        cell = worker.cell
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            if worker.process.exitcode in _ASKED:
                time.sleep(1)  # a scheduler asks all processes: if it does, this one ends here
            report = died(cell, worker.process.exitcode, worker.progress.stage)
            self._workers[self._workers.index(worker)] = _started(worker.environment)
            store.save_failure(report, cell)
            return cell, Outcome(cell, report)
        if isinstance(message, Progress):
            worker.progress = message
        else:
            worker.cell = None
        return cell, message


def taken(queue: deque[Cell | PairCell], at_work: Sequence[Cell | PairCell]) -> Cell | PairCell:
    """Take the first of a queue; of pairs the first whose networks no worker is at work on.

    What a pair needs of a network is made once, and whoever else needs it waits meanwhile.

    Args:
        queue: What is to be done.
        at_work: What workers are at work on.
    """
    networks = {key for cell in at_work for key in _networks(cell)}
    for i, cell in enumerate(queue):
        if networks.isdisjoint(_networks(cell)):
            del queue[i]
            return cell
    return queue.popleft()


def _networks(cell: Cell | PairCell) -> list[str]:
    """Return the keys of the networks of a pair; none of a cell, which shares nothing."""
    return [of.key for of in cell.cells] if isinstance(cell, PairCell) else []


def run_here(cells: Sequence[Cell | PairCell], listener: Listener) -> Iterator[Outcome]:
    """Yield an outcome per cell, computed in this process; see :meth:`Pool.run`."""
    pending = deque((cell, False) for cell in cells)
    while pending:
        cell, wait = pending.popleft()
        listener.started(cell)
        outcome = work(cell, lambda progress, c=cell: listener.progressed(c, progress), wait=wait)
        if outcome is None:
            pending.append((cell, True))
            continue
        listener.finished(outcome)
        yield outcome


def _started(environment: Mapping[str, str]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    with _without_main(), _environment(environment), _uninterrupted():
        process.start()
    theirs.close()
    return _Worker(process, ours, environment)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the running script: workers never need it, and it may not guard its main part."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables that a child must find when it starts: libraries read them on import."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a child inherit a blocked SIGINT: Ctrl-C reaches the whole group, this process acts."""
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
