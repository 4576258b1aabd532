"""Runs small enough for tests: few steps, few examples, real processes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import psutil
from forked import Command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BRIEF = ("--limit", "16", "--metrics", "recovery", "--threads", "1", "--device", "cpu")
ENDLESS = ("--recipe", "steps=1000000,stop_at=1.5")
TIMED = ("created", "finished", "environment", "resources", "command")


class Run(Command):
    """A run of the command in a process of its own."""

    def __init__(self, *argv: str, folder: Path) -> None:
        super().__init__("run", *argv, folder=folder)

    def at_work(self) -> list[psutil.Process]:
        """Return its workers that are at work on a cell, which takes a claimed lock."""
        return [worker for worker in self.workers() if _n_locks(worker)]

    def both_at_work(self) -> bool:
        """Say whether both of two workers are at work on a cell."""
        return len(self.at_work()) == 2

    def wait_for(self, condition: Callable[[], object], *, seconds: float = 240) -> None:
        """Wait until a condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it did not happen"
            assert self.code is None, self.finish()
            time.sleep(0.02)


def numbers(folder: Path) -> dict[str, dict]:
    """Return the reports of a folder without what may differ between two runs."""
    reports = {}
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text())
        reports[str(path.relative_to(folder))] = {
            name: value for name, value in content.items() if name not in TIMED
        }
    return reports


def alive(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Return those that do not end in time; one that nobody waited for has ended."""
    until = time.monotonic() + seconds
    while left := [process for process in processes if _is_alive(process)]:
        if time.monotonic() > until:
            return left
        time.sleep(0.05)
    return []


def _n_locks(process: psutil.Process) -> int:
    try:
        return sum(file.path.endswith(".lock") for file in process.open_files())
    except psutil.NoSuchProcess:
        return 0


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
