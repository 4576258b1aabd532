"""The published tables of the study of universality are what its reports say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mecheval.harness.suites import load_suite
from mecheval.leaderboard.claim import claims_of
from mecheval.leaderboard.claims import examine
from mecheval.leaderboard.claims_table import markdown
from mecheval.registry import Registry
from mecheval.reports.collection import collect, load_pairs, load_results
from mecheval.spec import format_args, parse_spec

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
PUBLISHED = [
    name
    for name in ("universality-circuits", "universality-small")
    if (LEADERBOARDS / "tables" / f"claims-{name}.md").exists()
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_table_is_what_the_reports_say(name: str) -> None:
    suite, results = load_suite(name), LEADERBOARDS / "results"
    claims = claims_of(suite)
    models = {model for each in claims for model in (each.model, each.partner) if model}
    folders = [f"{spec.name}+{format_args(spec.args)}" for spec in map(parse_spec, models)]
    reports = [report for folder in folders for report in load_results(results / folder).reports]
    found = examine(
        claims, collect(reports), Registry(), suite, pairs=[*load_pairs(results / "pairs")]
    )
    text = (LEADERBOARDS / "tables" / f"claims-{name}.md").read_text(encoding="utf-8")
    assert text.endswith(markdown(found, suite=name))
    assert all(each.answer != "not testable" for each in found)
