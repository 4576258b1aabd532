"""Claims and findings as a Markdown table, with what was tested and corrected beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.reports.collection import words
from mecheval.reports.collection.numbers import SEED
from mecheval.reports.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.leaderboard.claims import Finding

HEADERS = (
    "Claim", "Paper", "Here", "95 % interval", "Seeds", "p", "p, corrected", "Replicated",
    "After correction",
)  # fmt: skip
ANSWERS = ("yes", "no", "undecided", "not testable")


def markdown(findings: Sequence[Finding]) -> str:
    """Return the findings as a Markdown table, with counts beneath it and how they are decided."""
    rows = [_row(finding) for finding in findings]
    before = [finding.answer for finding in findings]
    after = [finding.corrected for finding in findings]
    sources = "; ".join(dict.fromkeys(f.claim.source for f in findings if f.claim.source))
    parts = [
        table(HEADERS, rows),
        f"{_counts(before)}; after correction {_counts(after)}. "
        f"Claims from {escape.markdown(sources)}.",
        _legend(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _row(finding: Finding) -> list[str]:
    claim, number = finding.claim, finding.number
    interval = ""
    if number is not None:
        mark = "" if number.over == SEED else words.NOT_OVER_SEEDS
        interval = words.interval(number.low, number.high) + mark
    return [
        claim.says, claim.paper, finding.here, interval, str(finding.n_seeds or ""),
        words.p_value(finding.p), words.p_value(finding.p_corrected), finding.answer,
        finding.corrected,
    ]  # fmt: skip


def _counts(answers: Sequence[str]) -> str:
    return ", ".join(f"{answer}: {answers.count(answer)}" for answer in ANSWERS)


def _legend(findings: Sequence[Finding]) -> str:
    tested = sum(finding.p is not None for finding in findings)
    verdicts = sum(bool(f.claim.verdicts) and f.answer != "not testable" for f in findings)
    lines = [
        "Intervals are t intervals over seeds; p is that of the t test that the mean is the bound "
        "of the claim that lies nearest, and a claim is decided where it is below 0.05.",
        f"Corrected by Holm's procedure over the {tested} claims of the suite that are numbers and "
        f"can be tested; the {verdicts} that are verdicts are counts of seeds, and not corrected.",
    ]
    if any(f.number is not None and f.number.over != SEED for f in findings):
        lines.append(
            f"{words.NOT_OVER_SEEDS} All seeds are equal: there is no t test. What decides is the "
            "hull of the reports' own intervals, over examples, or where they have none the value."
        )
    return "\n".join(lines)
