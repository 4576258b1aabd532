"""Claims about two models held side by side: of what, with which interval, and when not at all."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from synthetic_pairs import synthetic_pair
from synthetic_reports import synthetic

from mecheval import stats
from mecheval.errors import UsageError
from mecheval.harness.suites import load_suite
from mecheval.leaderboard.claim import Claim, claims_of
from mecheval.leaderboard.claims import examine
from mecheval.leaderboard.claims_table import markdown
from mecheval.registry import Registry
from mecheval.reports.collection import collect
from mecheval.tasks.contract import configure

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.pair import PairReport
    from mecheval.reports.schema import Report

REGISTRY = Registry()
GRU, LSTM, MAMBA = "gru", "lstm", "mamba"
SEEDS = range(4)
ACROSS = [0.5, 0.54, 0.46, 0.52]
NULL = [0.1, 0.15, 0.05, 0.12]


def cells(model: str, n: int = 4, *, learned: bool = True) -> list[Report]:
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    args = dict(resolve(parse_spec(model), REGISTRY).identity().args)
    params = dict(configure(REGISTRY.load("task", "parity"), {}, name="parity").params)
    return [
        synthetic(model, "parity", seed, model_args=args, task_params=params, learned=learned)
        for seed in range(n)
    ]


CELLS = {model: cells(model) for model in (GRU, LSTM, MAMBA)}


def pair(one: Report, other: Report, value: float, **update: Any) -> PairReport:
    made = synthetic_pair(one, other, value)
    return made.model_copy(update={"metrics": [made.metrics[0].model_copy(update=update)]})


def across(a: str, b: str, values: list[float]) -> list[PairReport]:
    """Return pairs of two models in which every network stands once."""
    return [
        pair(CELLS[a][i], CELLS[b][(i + 1) % 4], value, references={"untrained": null})
        for i, (value, null) in enumerate(zip(values, NULL, strict=True))
    ]


def seeds_of(model: str, value: float, effect: list[float]) -> list[PairReport]:
    """Return all pairs of seeds, whose numbers are a sum of what the two networks contribute."""
    return [
        pair(CELLS[model][i], CELLS[model][j], value + effect[i] + effect[j])
        for i, j in combinations(SEEDS, 2)
    ]


def claim(**changes: Any) -> Claim:
    base = {"says": "x", "task": "parity", "model": GRU, "partner": LSTM, "result": "likeness"}
    return Claim(**{**base, **changes})


def answer(given: Claim, pairs: list[PairReport], reports: list[Report] | None = None):
    found = [*CELLS[GRU], *CELLS[LSTM], *CELLS[MAMBA]] if reports is None else reports
    return examine([given], collect(found), REGISTRY, pairs=pairs)[0]


def test_a_number_of_two_models_has_the_t_interval_over_pairs():
    finding = answer(claim(least=0.4), across(GRU, LSTM, ACROSS))
    theirs = stats.t_interval(ACROSS, unit="seed")
    assert finding.number is not None
    assert theirs is not None
    assert (finding.number.low, finding.number.high) == pytest.approx((theirs.low, theirs.high))
    assert finding.p == pytest.approx(stats.t_test(ACROSS, against=0.4))
    assert (finding.here, finding.n_seeds, finding.answer) == ("0.505", 4, "yes")


def test_the_order_of_the_two_models_changes_nothing():
    there, back = (
        answer(claim(model=a, partner=b, least=0.4), across(GRU, LSTM, ACROSS))
        for a, b in ((GRU, LSTM), (LSTM, GRU))
    )
    assert (there.number, there.p) == (back.number, back.p)


def test_a_null_in_the_same_report_is_subtracted_pair_by_pair():
    apart = np.subtract(ACROSS, NULL)
    finding = answer(claim(minus={"at": "untrained"}, least=0.0), across(GRU, LSTM, ACROSS))
    theirs = stats.t_interval(apart, unit="seed")
    assert finding.number is not None
    assert theirs is not None
    assert finding.number.mean == pytest.approx(apart.mean())
    assert (finding.number.low, finding.number.high) == pytest.approx((theirs.low, theirs.high))


def test_seeds_of_one_model_have_the_interval_of_pairs_that_share_networks():
    pairs = seeds_of(GRU, 0.8, [0.0, 0.02, -0.01, 0.04])
    finding = answer(claim(partner=GRU, least=0.0), pairs)
    values = {(p.sides[0].seed, p.sides[1].seed): p.metrics[0].value or 0.0 for p in pairs}
    theirs = stats.pairwise_interval(values, unit="seed")
    assert finding.number is not None
    assert theirs is not None
    assert (finding.number.low, finding.number.high) == pytest.approx((theirs.low, theirs.high))
    assert finding.n_seeds == 4


def test_losses_that_are_apart_are_named_below_the_table():
    def at_losses(a: float, b: float) -> list[PairReport]:
        return [
            report.model_copy(
                update={
                    "sides": [
                        side.model_copy(update={"validation_loss": loss})
                        for side, loss in zip(report.sides, (a, b), strict=True)
                    ]
                }
            )
            for report in across(GRU, LSTM, ACROSS)
        ]

    apart, alike = (
        answer(claim(id=id, least=0.4), pairs)
        for id, pairs in (("L1", at_losses(2.4, 2.61)), ("L2", at_losses(2.4, 2.44)))
    )
    assert apart.losses_apart == pytest.approx(0.21)
    assert "Losses are not the same in L1: " in markdown([apart, alike])
    assert "differ by up to 0.21 nats per token, and 0.05 count" in markdown([apart])
    assert "Losses are not" not in markdown([alike])


def test_the_skyline_is_the_mean_of_the_seeds_of_both_models():
    effect = [0.0, 0.02, -0.01, 0.04]
    pairs = [*across(GRU, LSTM, ACROSS), *seeds_of(GRU, 0.8, effect), *seeds_of(LSTM, 0.6, effect)]
    finding = answer(claim(minus={"at": "skyline"}, most=0.0), pairs)
    mean = float(np.mean(ACROSS)) - (0.7 + 2 * float(np.mean(effect)))
    assert finding.number is not None
    assert finding.number.mean == pytest.approx(mean)
    assert finding.answer == "yes"


def test_what_networks_contribute_to_both_numbers_cancels():
    # Every network adds the same to its pair with the other model as to those with its own seeds,
    # so the difference is the same without any of them, and the interval is (nearly) a point.
    effect = [0.0, 0.1, -0.05, 0.2]
    other = [0.0, *effect[:3]]  # LSTM's networks, moved on by one as the pairs are
    lstm = [effect[(j - 1) % 4] for j in SEEDS]
    assert other[1:] == lstm[1:]
    pairs = [
        *across(GRU, LSTM, [0.5 + 2 * each for each in effect]),
        *seeds_of(GRU, 0.8, effect),
        *seeds_of(LSTM, 0.8, lstm),
    ]
    finding = answer(claim(minus={"at": "skyline"}, most=0.0), pairs)
    assert finding.number is not None
    assert finding.number.mean == pytest.approx(-0.3)
    low, high = finding.number.low, finding.number.high
    assert (low, high) == (None, None) or (low, high) == pytest.approx((-0.3, -0.3), abs=1e-6)


def test_pairs_with_a_third_model_are_subtracted():
    further = [0.2, 0.25, 0.15, 0.2]
    pairs = [*across(GRU, LSTM, ACROSS), *across(GRU, MAMBA, further)]
    finding = answer(claim(minus={"partner": MAMBA}, least=0.0), pairs)
    theirs = stats.t_interval(np.subtract(ACROSS, further), unit="seed")
    assert finding.number is not None
    assert theirs is not None
    assert (finding.number.low, finding.number.high) == pytest.approx((theirs.low, theirs.high))


def test_too_few_pairs_decide_nothing():
    finding = answer(claim(least=0.0), across(GRU, LSTM, ACROSS)[:3])
    assert (finding.answer, finding.n_seeds) == ("not testable", 3)
    assert finding.here == "3 of 4 pairs that share no network"
    assert answer(claim(least=0.0), []).here == "no report of such a pair"
    missing = answer(claim(least=0.0), across(GRU, LSTM, ACROSS), [*CELLS[GRU]])
    assert missing.here == "lstm: not measured"
    unknown = answer(claim(result="closeness", least=0.0), across(GRU, LSTM, ACROSS))
    assert unknown.here == "not measured"


def test_numbers_of_an_older_version_are_not_mixed_in():
    pairs = across(GRU, LSTM, ACROSS)
    newer = [
        p.model_copy(update={"metrics": [p.metrics[0].model_copy(update={"version": 2})]})
        for p in pairs[1:]
    ]
    assert answer(claim(least=0.0), [pairs[0], *newer]).n_seeds == 3


def test_the_table_says_what_the_interval_is_over_and_what_to_run():
    finding = answer(claim(least=0.0, id="U1"), [])
    table = markdown([finding], suite="small")
    assert "no two of which share one" in table


SUITE = """
[[grid]]
models = ["gru", "lstm"]
tasks = ["parity"]

[[claim]]
says = "alike"
task = "parity"
model = "gru"
result = "likeness"
{}
"""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('partner = "lstm"\nverdicts = ["yes"]', "a partner beside verdicts"),
        ('partner = "lstm"\nleast = 0.0\nwhich = "least"', "names"),
        ('least = 0.0\nminus = { partner = "lstm" }', "Write partner in the claim"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, fields: str, said: str):
    file = tmp_path / "own.toml"
    file.write_text(SUITE.format(fields))
    with pytest.raises(UsageError, match=said if said != "names" else "which"):
        load_suite(str(file))


def test_a_partner_is_renamed_and_checked_as_a_model_is(tmp_path: Path):
    (tmp_path / "first.toml").write_text(SUITE.format('partner = "lstm"\nleast = 0.0'))
    taken = (
        '[[grid]]\nmodels = ["mamba"]\ntasks = ["parity"]\n'
        '[[claims_from]]\nsuite = "first.toml"\nmodels = { lstm = "mamba" }\n'
    )
    (tmp_path / "second.toml").write_text(taken)
    (found,) = claims_of(load_suite(str(tmp_path / "second.toml")))
    assert (found.model, found.partner) == ("gru", "mamba")
