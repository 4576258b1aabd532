"""Runs the command line on any input, and says what must hold whatever the input is."""

from __future__ import annotations

import io
import os
import unicodedata
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import HealthCheck, Phase, settings

from mecheval.cli import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODES = (0, 1, 2, 3)
"""Exit codes that are documented, but for those of signals."""

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples as usual; with more than 1 they are other ones at each run."""


def fuzzed(n: int) -> settings:
    """Return the settings of a test of ``n`` examples: the same ones at each run, as a rule."""
    return settings(
        max_examples=n * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # shrinking a report takes minutes
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


LEFT_OUT = ("mecheval: left out ", "mecheval: refused ")
"""How lines begin about files of a folder that do not count."""

COUNTS: Counter[tuple[str, int]] = Counter()
"""How many commands ended how."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*argv: str, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command in this process, and hold it to what holds for every command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), _variables(environment or {}):
        code = main(argv)
    done = Done(code, out.getvalue(), err.getvalue())
    known = argv and argv[0] in COMMANDS
    COUNTS[argv[0] if known else "other", code] += 1
    assert code in CODES, done
    assert "Traceback" not in done.err, done
    assert not acting(done.out + done.err), done
    if code in (2, 3):
        lines = [line for line in done.err.splitlines() if not line.startswith(LEFT_OUT)]
        assert len(lines) == 1, done
        assert lines[0].startswith("mecheval: "), done
        assert len(lines[0]) <= 1100, done
    return done


def acting(text: str) -> list[str]:
    """Return the characters that a terminal obeys, or that cannot be seen."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [c for c in text if unicodedata.category(c) in kinds and c not in "\n\t"]


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
