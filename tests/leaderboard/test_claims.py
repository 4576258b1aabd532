"""Claims: held against the mean over seeds, and never decided from too few of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_reports import synthetic

from mecheval.errors import UsageError
from mecheval.harness.suites import Suite
from mecheval.leaderboard.claim import Claim
from mecheval.leaderboard.claims import concerns, examine
from mecheval.leaderboard.claims_table import markdown
from mecheval.registry import Registry
from mecheval.reports.collection import collect
from mecheval.tasks.contract import configure

ROOT = Path(__file__).parents[2]
TASK = Registry().load("task", "parity")
PARITY = configure(TASK, {}, name="parity")
PARAMS = PARITY.params
GRU = {"layers": 4, "width": 32}


def reports(
    model: str, values: list[float | None], *, verdicts: list[str] | None = None, **changes: Any
):
    """Return reports of a model of default arguments with invented token accuracies."""
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    args = dict(resolve(parse_spec(model), Registry()).identity().args)
    made = []
    for seed, value in enumerate(values):
        report = synthetic(model, "parity", seed, model_args=args, task_params=PARAMS, **changes)
        update = {"value": value, "reason": None if value is not None else "not learned: 0.5"}
        if verdicts:
            update["verdict"] = verdicts[seed]
        first = report.metrics[0].model_copy(update=update)
        made.append(report.model_copy(update={"metrics": [first, *report.metrics[1:]]}))
    return made


def claim(**changes) -> Claim:
    base = {"says": "x", "task": "parity", "model": "gru", "result": "token_accuracy/1x"}
    return Claim(**{**base, **changes})


def answer(given: Claim, found, suite: Suite | None = None):
    return examine([given], collect(found), Registry(), suite)[0]


def suite(**grid) -> Suite:
    """Return a suite of one grid."""
    whole = {"models": ["gru"], "tasks": ["parity"], "seeds": [0, 1, 2, 3], **grid}
    return Suite("s", "", (whole,), (), Path("s.toml"))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"least": 0.85}, "yes"),
        ({"most": 0.85}, "no"),
        ({"least": 0.9}, "undecided"),
        ({"least": 0.93}, "undecided"),
        ({"least": 0.97}, "undecided"),
        ({"least": 0.98}, "no"),
        ({"least": 0.8, "most": 1.0}, "yes"),
    ],
)
def test_bounds_are_held_against_the_interval_over_seeds(bounds, expected):
    finding = answer(claim(**bounds), reports("gru", [0.90, 0.92, 0.94, 0.96]))
    assert finding.answer == expected
    assert (finding.here, finding.n_seeds) == ("0.930", 4)
    assert finding.p is not None
    assert (finding.p < 0.05) == (expected != "undecided"), "the interval and the test agree"


def test_few_seeds_decide_nothing():
    finding = answer(claim(least=0.5), reports("gru", [0.9, 0.9, 0.9, None]))
    assert (finding.answer, finding.here) == ("not testable", "not learned: 1 of 4 seeds")
    assert answer(claim(least=0.5), []).here == "not measured"
    assert answer(claim(model="gru[layers=2]"), reports("gru", [0.9] * 4)).here == "not measured"


def test_a_result_that_no_report_has_is_said_with_those_that_there_are():
    found = [*reports("gru", [0.9] * 4), *reports("lstm", [0.9] * 4)]
    ids = list(dict.fromkeys(metric.id for metric in found[0].metrics))
    finding = answer(claim(result="token_acuracy/1x", least=0.5), found)
    assert (finding.answer, finding.n_seeds) == ("not testable", 0)
    assert finding.here.startswith(
        "no report has the result 'token_acuracy/1x'. Did you mean 'token_accuracy/1x'? There are "
    )
    assert all(id in finding.here for id in ids[:8])
    assert finding.here in markdown([finding])
    bare = [
        report.model_copy(update={"metrics": report.metrics[1:]})
        for report in reports("mamba", [0.9] * 4)
    ]
    other = answer(claim(minus={"model": "mamba"}, least=0.5), [*found, *bare])
    assert other.here.startswith("mamba: no report has the result 'token_accuracy/1x'")


def test_differences_are_taken_seed_by_seed():
    found = [*reports("gru", [0.9, 0.8, 0.7, 0.6]), *reports("lstm", [0.7, 0.7, 0.5, 0.5])]
    finding = answer(claim(minus={"model": "lstm"}, least=0.05), found)
    assert finding.number is not None
    assert finding.number.values == pytest.approx({0: 0.2, 1: 0.1, 2: 0.2, 3: 0.1})
    assert (finding.here, finding.answer) == ("0.150", "yes")
    assert answer(claim(minus={"model": "mamba"}), found).here == "mamba: not measured"


def test_where_all_seeds_are_equal_the_reports_own_intervals_decide():
    finding = answer(claim(least=0.9), reports("gru", [1.0] * 4))
    assert (finding.answer, finding.corrected, finding.p) == ("yes", "yes", None)
    assert "\u00b9" in markdown([finding])


def test_other_numbers_of_a_result():
    finding = answer(claim(at="floor", least=0.4, most=0.6), reports("gru", [0.9] * 4))
    assert (finding.answer, finding.corrected, finding.p) == ("yes", "yes", None)
    assert answer(claim(at="floor", least=0.6), reports("gru", [0.9] * 4)).answer == "no"
    assert answer(claim(at="nothing"), reports("gru", [0.9] * 4)).answer == "not testable"


@pytest.mark.parametrize(
    ("allowed", "expected"), [(("a", "b"), "yes"), (("a",), "undecided"), (("c",), "no")]
)
def test_verdicts_must_agree(allowed, expected):
    found = reports("gru", [1.0] * 4, verdicts=["a", "a", "a", "b"])
    finding = answer(claim(verdicts=allowed), found)
    assert (finding.answer, finding.here) == (expected, "a (3 of 4), b (1 of 4)")
    assert (finding.p, finding.corrected) == (None, expected)


def test_claims_are_corrected_for_their_number():
    found = reports("gru", [0.90, 0.92, 0.94, 0.96], verdicts=["a"] * 4)
    bounds = [0.885, 0.884, 0.883]
    claims = [*(claim(least=least) for least in bounds), claim(verdicts=("a",))]
    findings = examine(claims, collect(found), Registry())
    assert [finding.answer for finding in findings] == ["yes"] * 4
    p = [finding.p for finding in findings[:3]]
    assert p[2] < p[1] < p[0] < 0.05 < 3 * p[2]
    assert findings[2].p_corrected == pytest.approx(3 * p[2]), "the smallest of three"
    assert [f.corrected for f in findings] == ["undecided"] * 3 + ["yes"]
    text = markdown(findings)
    assert "over the 3 claims of the suite that are numbers" in text
    assert "the 1 that are verdicts are counts" in text
    assert "yes: 4, no: 0, undecided: 0, not testable: 0; after correction yes: 1" in text


FIXED, SWEPT = {"lr": 0.02}, {"lr": [0.003, 0.01]}


def trained(values, *, recipe=None, sweep=None):
    """Return reports of a model that was trained by its own recipe with some fields replaced."""
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    own = resolve(parse_spec("gru"), Registry()).recipe.replace(recipe or {}).on(PARITY.gate_on)
    found = reports("gru", values, recipe=own.to_dict())
    return [
        report.model_copy(
            update={
                "key": f"{report.key}{recipe}{sweep}",
                "identity": report.identity.model_copy(update={"sweep": sweep}),
            }
        )
        for report in found
    ]


LOW, HIGH = [0.10, 0.11, 0.12, 0.13], [0.90, 0.91, 0.92, 0.93]


def test_the_suite_says_which_recipe_is_meant():
    found = [*trained(LOW), *trained(HIGH, recipe=FIXED), *trained([0.5, 0.6] * 2, sweep=SWEPT)]
    assert answer(claim(least=0.5), found, suite()).here == "0.115"
    assert answer(claim(least=0.5), found, suite(recipe=FIXED)).here == "0.915"
    assert answer(claim(least=0.5), found, suite(sweep=SWEPT)).here == "0.550"
    other = answer(claim(least=0.5), found, suite(recipe={"lr": 0.04}))
    assert (other.answer, other.here) == ("not testable", "measured by another recipe only")


def test_a_version_that_a_claim_names_is_that_of_its_reports():
    found = trained(HIGH)
    assert answer(claim(task="parity@1", least=0.5), found, suite()).answer == "yes"
    other = answer(claim(task="parity@7", least=0.5), found, suite())
    assert (other.answer, other.here) == (
        "not testable", "measured on parity@1 only, not with version 7"
    )  # fmt: skip
    older = [of_version(report, 7) for report in found]
    assert answer(claim(task="parity@7", least=0.5), older, suite()).answer == "yes"
    assert answer(claim(least=0.5), older, suite()).here == (
        "measured on parity@7 only, not with version 1"
    )


def of_version(report, version: int):
    """Return a report of another version of its task."""
    task = report.identity.task.model_copy(update={"version": version})
    identity = report.identity.model_copy(update={"task": task})
    return report.model_copy(update={"identity": identity})


def test_what_two_recipes_fit_is_refused_unless_the_claim_names_one():
    found = [*trained(LOW), *trained(HIGH, recipe=FIXED)]
    with pytest.raises(
        UsageError, match=r"fits 2 recipes: gru on parity@1 \(lr=0.01\) and .*lr=0.02"
    ):
        answer(claim(least=0.5), found)
    two = suite()
    both = Suite("s", "", (*two.grids, *suite(recipe=FIXED).grids), (), two.path)
    with pytest.raises(UsageError, match=r"Name the one that is meant"):
        answer(claim(least=0.5), found, both)
    assert answer(claim(least=0.5, recipe=FIXED), found, both).here == "0.915"
    assert answer(claim(least=0.5, recipe=FIXED), found).here == "0.915"
    assert answer(claim(least=0.5, recipe={"lr": 7.0}), found).here == (
        "measured by another recipe only"
    )


def test_a_suites_own_grid_is_matched_by_arguments_and_parameters():
    grid = suite(models=["gru[layers=2]", "gru"], tasks=["parity", "dyck"], recipe=FIXED)
    found = [*trained(LOW), *trained(HIGH, recipe=FIXED)]
    assert answer(claim(least=0.5), found, grid).here == "0.915"
    elsewhere = suite(models=["gru[layers=2]"], recipe=FIXED)
    with pytest.raises(UsageError, match="fits 2 recipes"):
        answer(claim(least=0.5), found, elsewhere)


def test_the_table_has_all_claims(tmp_path):
    untestable = Claim(says="too large", paper="1.0", untestable="needs a GPU")
    found = collect(reports("gru", [0.9, 0.91, 0.92, 0.93]))
    text = markdown(examine([claim(least=0.5), untestable], found, Registry()))
    assert text.count("\n| ") == 3
    assert "needs a GPU" in text
    assert "yes: 1, no: 0, undecided: 0, not testable: 1" in text


def test_grids_may_hold_models_of_ones_own(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        (ROOT / "model_registry/gru.py").read_text().replace('name="gru"', 'name="mine"')
    )
    registry = Registry((tmp_path,))
    given = claim(model="local/mine", least=0.5)
    (finding,) = examine([given], collect([]), registry, suite(models=["local/mine", "gru"]))
    assert finding.here == "not measured"


@pytest.mark.parametrize(
    ("model", "task", "whether"),
    [
        ("gru", "parity", True), ("lstm", "parity", False), ("gru", "dyck", False),
        ("*", "parity", True), ("gru[width=64]", "*", True), ("*", "dyck", False),
        ("*", "*", False),
    ],
)  # fmt: skip
def test_claims_are_about_reports_by_names(model: str, task: str, whether: bool) -> None:
    given = claim(model=model, task=task)
    assert concerns([given], collect(reports("gru", [1.0]))) == whether
    assert not concerns([claim(untestable="why")], collect(reports("gru", [1.0])))
