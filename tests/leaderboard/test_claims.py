"""Claims: held against the mean over seeds, and never decided from too few of them."""

from __future__ import annotations

import pytest
from synthetic_reports import synthetic

from mecheval.errors import UsageError
from mecheval.harness.suites import Suite
from mecheval.leaderboard.claims import Claim, claims_of, examine, markdown
from mecheval.registry import Registry
from mecheval.tasks.contract import configure

TASK = Registry().load("task", "parity")
PARAMS = configure(TASK, {}, name="parity").params
GRU = {"layers": 4, "width": 32}


def reports(model: str, values: list[float | None], *, verdicts: list[str] | None = None):
    """Return reports of a model of default arguments with invented token accuracies."""
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    args = dict(resolve(parse_spec(model), Registry()).identity().args)
    made = []
    for seed, value in enumerate(values):
        report = synthetic(model, "parity", seed, model_args=args, task_params=PARAMS)
        changes = {"value": value, "reason": None if value is not None else "not learned: 0.5"}
        if verdicts:
            changes["verdict"] = verdicts[seed]
        first = report.metrics[0].model_copy(update=changes)
        made.append(report.model_copy(update={"metrics": [first, *report.metrics[1:]]}))
    return made


def claim(**changes) -> Claim:
    base = {"says": "x", "task": "parity", "model": "gru", "result": "token_accuracy/1x"}
    return Claim(**{**base, **changes})


def answer(given: Claim, found):
    return examine([given], found, Registry())[0]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"least": 0.85}, "yes"),
        ({"most": 0.85}, "no"),
        ({"least": 0.93}, "undecided"),
        ({"least": 0.97}, "no"),
        ({"least": 0.8, "most": 1.0}, "yes"),
    ],
)
def test_bounds_are_held_against_the_interval_over_seeds(bounds, expected):
    finding = answer(claim(**bounds), reports("gru", [0.90, 0.92, 0.94, 0.96]))
    assert finding.answer == expected
    assert (finding.here, finding.n_seeds) == ("0.930", 4)


def test_few_seeds_decide_nothing():
    finding = answer(claim(least=0.5), reports("gru", [0.9, 0.9, 0.9, None]))
    assert (finding.answer, finding.here) == ("not testable", "not learned: 1 of the seeds")
    assert answer(claim(least=0.5), []).here == "not measured"
    assert answer(claim(model="gru[layers=2]"), reports("gru", [0.9] * 4)).here == "not measured"


def test_differences_are_taken_seed_by_seed():
    found = [*reports("gru", [0.9, 0.8, 0.7, 0.6]), *reports("lstm", [0.8, 0.7, 0.6, 0.5])]
    finding = answer(claim(minus="lstm", least=0.05), found)
    assert (finding.here, finding.interval, finding.answer) == ("0.100", "[0.100, 0.100]", "yes")
    assert answer(claim(minus="mamba"), found).answer == "not testable"


def test_other_numbers_of_a_result():
    finding = answer(claim(at="floor", least=0.4, most=0.6), reports("gru", [0.9] * 4))
    assert finding.answer == "yes"
    assert answer(claim(at="nothing"), reports("gru", [0.9] * 4)).answer == "not testable"


@pytest.mark.parametrize(
    ("allowed", "expected"), [(("a", "b"), "yes"), (("a",), "undecided"), (("c",), "no")]
)
def test_verdicts_must_agree(allowed, expected):
    found = reports("gru", [1.0] * 4, verdicts=["a", "a", "a", "b"])
    finding = answer(claim(verdicts=allowed), found)
    assert (finding.answer, finding.here) == (expected, "a 3 of 4, b 1 of 4")


def test_the_table_has_all_claims(tmp_path):
    untestable = Claim(says="too large", paper="1.0", untestable="needs a GPU")
    text = markdown(examine([claim(least=0.5), untestable], reports("gru", [0.9] * 4), Registry()))
    assert text.count("\n| ") == 3
    assert "needs a GPU" in text
    assert "yes: 1, no: 0, undecided: 0, not testable: 1" in text


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"says": "x", "task": "parity", "model": "gru"}, "has no result"),
        ({"sais": "x"}, "Did you mean 'says'"),
    ],
)
def test_malformed_claims_are_usage_errors(tmp_path, entry, message):
    with pytest.raises(UsageError, match=message):
        claims_of(Suite("s", "", (), (entry,), tmp_path))
