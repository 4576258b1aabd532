"""Time and peak memory of starting mecheval, and of importing its peers.

Run ``python -m benchmarks.startup`` in a checkout. Everything starts in a fresh process, several
times over; the first run of each, which may read files from disk, is thrown away.

A child's peak memory is reported as at least that of the process which started it, so that this
module imports nothing large.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

PYTHON = "python -c pass"
OURS = {
    "import mecheval": ["-c", "import mecheval"],
    "mecheval --help": ["-m", "mecheval", "--help"],
    "mecheval ls tasks": ["-m", "mecheval", "ls", "tasks"],
}
IMPORTS = ("torch", "transformers", "nnsight", "transformer_lens", "pyvene")
"""What is imported for comparison, where it is installed."""


class Run(NamedTuple):
    """One process.

    Attributes:
        seconds: From start to end.
        megabytes: Peak resident memory.
    """

    seconds: float
    megabytes: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=summary)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    machine.print_options(options)
    print("| | version | s, least | s, median | peak MB, median |\n|---|---|---|---|---|")
    failed = False
    for name, version, command in _commands():
        runs = [run([sys.executable, *command]) for _ in range(options.repeats + 1)][1:]
        if None in runs:
            failed = True
            print(f"| {name} | {version} | failed | - | - |")
            continue
        done = [found for found in runs if found is not None]
        elapsed = [found.seconds for found in done]
        print(
            f"| {name} | {version} | {min(elapsed):.2f} | {statistics.median(elapsed):.2f} | "
            f"{statistics.median(found.megabytes for found in done):.0f} |",
            flush=True,
        )
    return int(failed)


def run(command: Sequence[str]) -> Run | None:
    """Run a command in a process of its own; None where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
    if process.returncode != 0:
        return None
    per_megabyte = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return Run(elapsed, usage.ru_maxrss / per_megabyte)


def _commands() -> list[tuple[str, str, list[str]]]:
    ours = machine.installed("mecheval") or ""
    found = [(PYTHON, "", ["-c", "pass"])]
    found += [(name, ours, command) for name, command in OURS.items()]
    for name in IMPORTS:
        if importlib.util.find_spec(name) is not None:
            version = machine.installed(name.replace("_", "-")) or ""
            found.append((f"import {name}", version, ["-c", f"import {name}"]))
    return found


if __name__ == "__main__":
    sys.exit(main())
