"""The outcome of one contract check, as ``mecheval validate`` prints it and tests assert it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One property of a task, a model or a report, and whether it holds.

    Attributes:
        name: The property, such as "BOS first and only there".
        passed: Whether it holds; None where it does not apply.
        detail: What was measured, why it failed, or why it does not apply.
    """

    name: str
    passed: bool | None
    detail: str = ""

    @classmethod
    def of(cls, name: str, problems: list[str]) -> Check:
        """Return a check that holds where there are no problems, and names the first of them."""
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        return cls(name, not problems, "; ".join(problems[:3]) + more)

    def __str__(self) -> str:
        """Return the line that is printed: ``ok``, ``FAILED: why`` or ``not applicable: why``."""
        if self.passed is None:
            return f"{self.name}: not applicable: {self.detail}"
        if not self.passed:
            return f"{self.name}: FAILED: {self.detail}"
        return f"{self.name}: ok" + (f" ({self.detail})" if self.detail else "")


def all_passed(checks: list[Check]) -> bool:
    """Say whether no check failed; checks that do not apply do not count."""
    return all(check.passed is not False for check in checks)
