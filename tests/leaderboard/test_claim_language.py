"""Claims about several numbers: of other tasks and results, signs, ranks, the least of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from synthetic_reports import synthetic

from mecheval.harness.plan import plan
from mecheval.harness.suites import Suite, load_suite
from mecheval.leaderboard.claim import Claim, claims_of
from mecheval.leaderboard.claims import examine
from mecheval.leaderboard.claims_table import markdown
from mecheval.registry import Registry
from mecheval.reports.collection import collect
from mecheval.reports.results import Profile
from mecheval.tasks.contract import configure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.schema import Report

REGISTRY = Registry()
GRU, LSTM = "gru", "lstm"
LATE = {"parity": "readability/parity", "dyck": "readability/top", "s3": "readability/element"}


def cell(
    model: str, task: str, values: Mapping[str, Sequence[float | None]], **changes: Any
) -> list[Report]:
    """Return a report per seed of a cell, which has these results."""
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    args = dict(resolve(parse_spec(model), REGISTRY).identity().args)
    card = REGISTRY.load("task", task)
    params = dict(configure(card, {}, name=task).params)
    made = []
    for seed in range(len(next(iter(values.values())))):
        report = synthetic(
            model, "dyck" if task == "s3" else task, seed, model_args=args, task_params=params,
            version=card.card.version, **changes,
        )  # fmt: skip
        identity = report.identity
        named = identity.model_copy(
            update={"task": identity.task.model_copy(update={"name": task})}
        )
        base = report.metrics[0]
        results = [base.model_copy(update=_result(id, each[seed])) for id, each in values.items()]
        made.append(report.model_copy(update={"identity": named, "metrics": results}))
    return made


def _result(id: str, value: Any) -> dict[str, Any]:
    """Return the fields of a result: of a curve over layers, if the value is one."""
    fields: dict[str, Any] = {"id": id, "metric": id.partition("/")[0], "bounds": (None, None)}
    if isinstance(value, np.ndarray):
        layers: list[Any] = [*range(len(value))]
        profile = Profile(axes=["layer"], index={"layer": layers}, value=value.tolist())
        return {**fields, "value": float(value.max()), "profile": profile}
    reason = "not learned: 0.5" if value is None else None
    return {**fields, "value": value, "reason": reason}


def late(model: str, **by_task: Sequence[float | None]) -> list[Report]:
    """Return reports whose lateness is given by task."""
    return [r for task, v in by_task.items() for r in cell(model, task, {LATE[task]: v})]


def around(mean: float) -> list[float]:
    return [mean - 0.02, mean + 0.01, mean + 0.02, mean - 0.01]


def claim(**changes: Any) -> Claim:
    base = {"says": "x", "task": "parity", "model": GRU, "result": LATE["parity"]}
    return Claim(**{**base, **changes})


def answer(given: Claim, found: Sequence[Report]):
    return examine([given], collect(found), REGISTRY)[0]


DYCK = {"task": "dyck", "result": LATE["dyck"]}
S3 = {"task": "s3", "result": LATE["s3"]}


def test_a_difference_of_tasks_has_welchs_interval():
    from scipy.stats import ttest_ind

    a, b = [0.7, 0.72, 0.69, 0.75], [0.3, 0.5, 0.35, 0.4]
    finding = answer(claim(minus=DYCK, off=0.0), late(GRU, parity=a, dyck=b))
    theirs: Any = ttest_ind(a, b, equal_var=False)
    assert finding.number is not None
    assert (finding.number.low, finding.number.high) == pytest.approx(
        tuple(theirs.confidence_interval(0.95))
    )
    assert finding.p == pytest.approx(theirs.pvalue)
    assert (finding.here, finding.answer, finding.n_seeds) == ("0.328", "yes", 4)


def test_a_difference_of_results_is_paired():
    a, b = [0.7, 0.5, 0.3, 0.1], [0.69, 0.48, 0.29, 0.08]
    found = cell(GRU, "parity", {"exchange/parity": a, "readability/parity": b})
    finding = answer(
        claim(result="exchange/parity", minus={"result": LATE["parity"]}, off=0.0), found
    )
    assert (finding.here, finding.answer) == ("0.015", "yes"), "the spread of seeds cancels"


@pytest.mark.parametrize(
    ("value", "off", "expected"),
    [(0.3, 0.0, "yes"), (-0.3, 0.0, "yes"), (0.01, 0.0, "undecided"), (0.01, 0.1, "no"),
     (-0.01, 0.1, "no"), (0.1, 0.1, "undecided"), (-0.3, 0.1, "yes")],
)  # fmt: skip
def test_off_leaves_the_side_open(value, off, expected):
    finding = answer(claim(off=off), late(GRU, parity=around(value)))
    assert finding.answer == expected
    assert finding.p is not None
    assert (finding.p < 0.05) == (expected != "undecided")


@pytest.mark.parametrize(
    ("gru", "lstm", "most", "least"),
    [
        ((0.8, 0.2), (0.3, 0.6), "yes", "no"),
        ((0.3, 0.6), (0.8, 0.2), "yes", "no"),
        ((0.8, 0.6), (0.3, 0.2), "no", "yes"),
        ((0.8, 0.605), (0.3, 0.6), "undecided", "undecided"),
        ((0.5, 0.2), (0.505, 0.6), "undecided", "undecided"),
    ],
)
def test_a_reversal_is_decided_where_both_differences_are(gru, lstm, most, least):
    found = [*late(GRU, parity=around(gru[0]), dyck=around(gru[1])),
             *late(LSTM, parity=around(lstm[0])[::-1], dyck=around(lstm[1])[::-1])]  # fmt: skip
    flip = {"minus": {"model": LSTM}, "times": DYCK}
    finding = answer(claim(**flip, most=0.0), found)
    assert finding.answer == most
    assert answer(claim(**flip, least=0.0), found).answer == least
    brackets = gru[0] - lstm[0], gru[1] - lstm[1]
    assert finding.here.endswith(f"({brackets[0]:.3f} and {brackets[1]:.3f})")
    assert finding.p is not None
    assert (finding.p < 0.05) == (most != "undecided")


@pytest.mark.parametrize(
    ("s3", "parity", "dyck", "expected"),
    [
        (0.7, 0.75, 0.3, "yes"), (0.35, 0.75, 0.3, "no"), (0.7, 0.6, 0.9, "yes"),
        (0.9, 0.2, 0.6, "no"), (0.5, 0.7, 0.302, "undecided"), (0.1, 0.4, 0.41, "undecided"),
    ],
)  # fmt: skip
def test_nearer_to_one_task_than_to_another(s3, parity, dyck, expected):
    found = late(GRU, s3=around(s3), parity=around(parity), dyck=around(dyck))
    given = claim(
        **S3, minus={"task": "parity", "result": LATE["parity"]}, nearer_than=DYCK, most=0
    )
    finding = answer(given, found)
    assert finding.answer == expected
    assert finding.number is not None
    assert finding.number.mean == pytest.approx(abs(s3 - parity) - abs(s3 - dyck))


def test_what_is_missing_is_said_with_the_number_that_lacks_it():
    found = late(GRU, parity=around(0.5))
    assert answer(claim(minus=DYCK, off=0.0), found).here == "dyck, readability/top: not measured"
    found += late(GRU, dyck=[0.5, 0.6, None, 0.5])
    finding = answer(claim(minus=DYCK, off=0.0), found)
    assert (finding.answer, finding.n_seeds) == ("not testable", 3)
    assert finding.here == "dyck, readability/top: not learned: 1 of 4 seeds"
    other = {"minus": {"model": LSTM}, "times": DYCK}
    assert answer(claim(**other, most=0.0), found).here == "lstm: not measured"
    found += late(LSTM, parity=around(0.5))
    missing = answer(claim(**other, most=0.0), found).here
    assert missing == "lstm, dyck, readability/top: not measured"


def curves(rng: np.random.Generator, *, sign: float) -> dict[str, list]:
    """Return two results per seed, whose curves over five layers go together inside, or against."""
    ours, theirs = [], []
    for _ in range(4):
        a_L = rng.permutation(5) + rng.random(5)
        b_L = sign * a_L**3
        b_L[[0, -1]] = [50, -50]
        ours.append(a_L)
        theirs.append(b_L)
    return {"bottleneck/parity": ours, "exchange/parity": theirs}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_ranks_of_two_numbers_over_cells_and_inner_layers(sign):
    rng = np.random.default_rng(0)
    found = [*cell(GRU, "parity", curves(rng, sign=sign)),
             *cell(LSTM, "parity", curves(rng, sign=sign)),
             *cell("mamba", "parity", {"other": around(1.0)})]  # fmt: skip
    given = claim(model="*", task="*", result="bottleneck/*", at="layer=*",
                  ranks_with={"result": "exchange/*"}, least=0.5)  # fmt: skip
    finding = answer(given, found)
    assert finding.here == f"{sign:.3f} (of 6 numbers)"
    assert finding.answer == ("yes" if sign > 0 else "no")
    few = answer(claim(model=GRU, result="bottleneck/*", at="layer=*",
                       ranks_with={"result": "exchange/*"}, most=0.5), found)  # fmt: skip
    assert (few.answer, few.here) == ("not testable", "fewer than 5 numbers to rank")


@pytest.mark.parametrize(
    ("which", "expected"), [("least", 0.5), ("median", 0.7), ("mean", 0.72), ("greatest", 0.96)]
)
def test_one_of_the_numbers_of_all_cells(which, expected):
    found = [*late(GRU, parity=around(0.5)), *late(LSTM, parity=around(0.7)),
             *late("mamba", parity=around(0.96)), *late("mamba2", parity=[None] * 4)]  # fmt: skip
    finding = answer(claim(model="*", which=which, least=0.0), found)
    assert finding.number is not None
    assert finding.number.mean == pytest.approx(expected)
    assert finding.here == f"{expected:.3f} (of 3 numbers)"
    assert (
        answer(claim(model="*", task="dyck", which=which, least=0.0), found).here == "not measured"
    )


def test_the_least_of_many_differences_and_no_result_of_another_kind():
    values = {
        "mlp/parity": around(0.9),
        "mlp/parity/inlp": around(0.1),
        "refit/parity": around(0.7),
    }
    found = [*cell(GRU, "parity", values), *cell(LSTM, "parity", values)]
    given = claim(model="*", result="refit/*", minus={"result": "mlp/*"}, which="least", least=-0.3)
    assert answer(given, found).here == "-0.200 (of 2 numbers)"
    alone = claim(model="*", result="mlp/*", which="least", least=0.5)
    assert answer(alone, found).here == "0.900 (of 2 numbers)", "a part is of the task alone"
    other = claim(model="*", result="mlp/*/inlp", which="least", least=0.5)
    assert answer(other, found).here == "0.100 (of 2 numbers)"


def test_why_no_cell_has_a_number_is_said():
    rng = np.random.default_rng(0)
    found = cell(GRU, "parity", curves(rng, sign=1.0))
    given = claim(model="*", result="bottleneck/*", at="layer=* series=x", which="least", least=0)
    finding = answer(given, found)
    assert finding.answer == "not testable"
    assert finding.here.startswith("no cell has a number: there is no layer=1 series=x")
    unlearned = cell(GRU, "parity", {"bottleneck/parity": [None] * 4})
    there = claim(model="*", result="bottleneck/*", which="least", least=0)
    assert answer(there, unlearned).here.startswith("no cell has a number: not learned")


def test_only_seeds_of_all_cells_count():
    found = [*late(GRU, parity=[*around(0.5), 0.9, 0.9]), *late(LSTM, parity=around(0.7))]
    finding = answer(claim(model="*", which="greatest", least=0.0), found)
    assert finding.number is not None
    assert sorted(finding.number.values) == [0, 1, 2, 3]


GRID = "[[grid]]\nmodels = ['gru', 'lstm']\ntasks = ['parity', 'dyck']\nrecipe = { lr = 0.5 }\n"
OF_ALL = (
    "[[claim]]\nsays = 'all of them'\nmodel = '*'\ntask = '*'\nresult = 'readability/*'\n"
    "which = 'least'\nleast = 0.1\n"
)


def test_all_cells_are_those_of_the_suite(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text(GRID + OF_ALL)
    suite = load_suite(str(path))
    found = []
    planned = plan(suite.requests()[0])[0].identity.recipe
    for value, lr in ((0.5, 0.5), (0.05, 0.1)):
        recipe = {**planned, "lr": lr}
        cells = cell(GRU, "parity", {LATE["parity"]: around(value)}, recipe=recipe)
        found += [report.model_copy(update={"key": f"{report.key}{lr}"}) for report in cells]
    found += late("mamba", parity=around(0.0))
    (finding,) = examine(claims_of(suite), collect(found), REGISTRY, suite)
    assert finding.here == "0.500 (of 1 numbers)"
    assert [str(group.name.model) for group in finding.groups] == ["gru"]


def test_the_long_table_has_names_sources_and_counts():
    found = late(GRU, parity=around(0.5))
    first = found[0].metrics[0]
    longer = first.model_copy(update={"id": "last_accuracy/4x", "value": 0.95})
    found = [
        report.model_copy(
            update={
                "metrics": [*report.metrics, longer] if seed < 3 else report.metrics,
                "learned": seed != 1,
            }
        )
        for seed, report in enumerate(found)
    ]
    command = "mecheval run --suite formal-pretrained"
    weights = claim(id="F2", model="mamba", least=0.1, command=command, source="v2")
    claims = [claim(id="F1", least=0.1, source="v1"), weights]
    text = markdown(examine(claims, collect(found), REGISTRY))
    rows = [[each.strip() for each in line.split("|")[1:-1]] for line in text.splitlines()[:4]]
    assert rows[0][:4] == ["Id", "Claim", "Source", "Paper"]
    row = dict(zip(rows[0], rows[2], strict=True))
    assert (row["Source"], row["Learned"], row["Tracking"]) == ("v1", "3 of 4", "2 of 2")
    missing = dict(zip(rows[0], rows[3], strict=True))
    assert (missing["Here"], missing["Learned"], missing["Tracking"]) == ("not measured", "", "")
    assert f"- To test F2: `{command}`" in text
    assert "F1:" not in text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"least": 0.75}, "at least 0.75"),
        ({"least": -0.1, "most": 0.1}, "at least -0.1, at most 0.1"),
        ({"off": 0.0}, "not 0"),
        ({"off": 0.2}, "more than 0.2 from 0"),
        ({"verdicts": ("induction", "mixed")}, "induction or mixed"),
        ({"untestable": "no weights"}, ""),
    ],
)
def test_what_a_number_must_be_stands_beside_it(asked: dict[str, Any], said: str):
    found = examine([claim(**asked)], collect(late(GRU, parity=around(0.5))), REGISTRY)
    heads, _, row = (line.split("|")[1:-1] for line in markdown(found).splitlines()[:3])
    assert row[[each.strip() for each in heads].index("Holds if")].strip() == said


def test_what_no_paper_claims_is_said_to_be_asked_here():
    found = collect(late(GRU, parity=around(0.5)))
    theirs = claim(least=0.1, source="Jiang 2026")
    ours = claim(least=0.1, source="ours: the same without a probe")
    said = "questions that this package asks"
    assert said not in markdown(examine([theirs], found, REGISTRY))
    assert said in markdown(examine([theirs, ours], found, REGISTRY))


def test_cells_without_a_gate_are_not_counted_as_learned():
    values = {LATE["parity"]: around(0.5)}
    found = [*cell(GRU, "parity", values), *cell(LSTM, "parity", values, recipe={"gate": 0.0})]
    (finding,) = examine([claim(id="F1", model="*", which="least", least=0.1)], collect(found),
                         REGISTRY)  # fmt: skip
    assert len(finding.groups) == 2
    titles, _, row = markdown([finding]).splitlines()[:3]
    learned = [each.strip() for each in titles.split("|")].index("Learned")
    assert row.split("|")[learned].strip() == "4 of 4"


def test_claims_without_names_have_the_short_table():
    found = late(GRU, parity=around(0.5))
    text = markdown(examine([claim(least=0.1)], collect(found), REGISTRY))
    assert text.startswith("| Claim | Paper | Holds if ")
    assert "Learned" not in text


def pretrained(
    value: float, *, revision: str = "step143000", lr: float | None = None, **args: str
) -> list[Report]:
    """Return reports of pythia-160m on Parity, fine-tuned, by a recipe of one's own if asked."""
    from mecheval.models.hub.source import FINE_TUNING

    recipe = FINE_TUNING.on("last").to_dict()
    found = cell(GRU, "parity", {LATE["parity"]: around(value)}, recipe=recipe)
    given = {"weights": "pretrained", "symbols": "text", "adapter": "none", "attention": "own"}
    made = []
    for report in found:
        model = report.identity.model.model_copy(
            update={
                "name": "pythia-160m",
                "source": "pretrained",
                "revision": revision,
                "args": {**given, **args},
            }
        )
        changes: dict[str, Any] = {"model": model}
        if lr is not None:
            changes["recipe"] = {**recipe, "lr": lr}
        identity = report.identity.model_copy(update=changes)
        key = f"{report.key}{revision}{lr}{args}"
        made.append(report.model_copy(update={"identity": identity, "key": key}))
    return made


def test_weights_of_a_hub_need_not_be_here():
    given = claim(model="pythia-160m", least=0.1)
    assert answer(given, []).here == "not measured: needs weights"
    found = pretrained(0.5)
    assert answer(given, found).here == "0.500"
    assert answer(claim(model="pythia-410m"), found).here == "not measured: needs weights"
    for other in (pretrained(0.5, revision="step1000"), pretrained(0.5, symbols="added")):
        assert answer(given, other).here == "not measured: needs weights"
    assert answer(given, pretrained(0.5, revision="main", code="own")).here == "0.500"


def test_cells_of_weights_of_a_hub_are_those_of_the_suite():
    grid = {"models": ["pythia-160m", "gru"], "tasks": ["parity"], "seeds": [0]}
    suite = Suite("s", "", (grid,), (), Path("s.toml"))
    found = [*pretrained(0.5), *pretrained(0.05, lr=0.1), *pretrained(0.05, revision="step1000")]
    one = claim(model="pythia-160m", least=0.1)
    of_all = claim(model="*", which="least", least=0.1)
    findings = examine([one, of_all], collect(found), REGISTRY, suite)
    assert [finding.here for finding in findings] == ["0.500", "0.500 (of 1 numbers)"]
    other = claim(model="pythia-160m", recipe={"lr": 0.1}, least=0.1)
    (finding,) = examine([other], collect(found), REGISTRY, suite)
    assert finding.here == "measured by another recipe only"
