"""Says how many commands ended how, after a run of more examples than usual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import commands

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if commands.TIMES == 1:
        return
    terminalreporter.write_sep("=", f"{commands.COUNTS.total()} commands, by exit code")
    for (command, code), n in sorted(commands.COUNTS.items()):
        terminalreporter.write_line(f"{command:12} {code} {n:6}")
