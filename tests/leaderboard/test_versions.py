"""The versions that results were made with, as pip can install them again."""

from __future__ import annotations

from packaging.requirements import Requirement
from synthetic_reports import synthetic

from mecheval.leaderboard.versions import versions


def made_with(python: str = "3.11.7", **packages: str):
    environment = {"python": python, "packages": packages}
    return synthetic().model_copy(update={"environment": environment})


def test_the_most_frequent_set_is_pinned() -> None:
    usual, other = {"numpy": "2.4.6", "torch": "2.13.0+cpu"}, {"torch": "2.12.0"}
    reports = [made_with(**usual), made_with("3.12.1", **other), made_with(**usual)]
    text = versions(reports)
    pinned = [line for line in text.splitlines() if not line.startswith("#")]
    assert pinned == ["numpy==2.4.6", "torch==2.13.0"]
    assert [str(Requirement(line)) for line in pinned] == pinned
    assert "2 of 3 reports were made with, with Python 3.11.7" in text
    assert text.splitlines()[-1] == "# 1 reports with torch==2.12.0, Python 3.12.1, no numpy"
    assert versions(reversed(reports)) == text


def test_no_report_is_no_version() -> None:
    assert versions([]) == "# No report counts.\n"
