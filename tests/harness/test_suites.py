"""Suites: files that name grids, and become requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.api import evaluate_suite
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness.plan import plan
from mecheval.harness.request import Settings
from mecheval.harness.suites import load_suite, suite_names
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
summary = "two grids"

[[grid]]
models = ["lstm[layers=1]"]
tasks = ["parity", "ar[small]"]
seeds = [0, 1]
recipe = { lr = 1e-2, steps = 7 }

[[grid]]
models = ["gru[layers=1]"]
tasks = ["parity"]
metrics = ["recovery"]
recipe = { steps = 3 }
"""


CLAIM = """
[[claim]]
says = "it is solved"
task = 'parity'
model = 'gru'
result = 'token_accuracy/1x'
least = 0.5
"""

OF_ALL = CLAIM.replace("'gru'", "'*'") + "which = 'least'\n"
TIMES_ALL = "minus = 'lstm'\ntimes = { model = 'mamba' }\n"
TIMES = "minus = 'lstm'\ntimes = { task = 'dyck' }\n"


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_package_can_be_planned(name):
    suite = load_suite(name)
    cells = [cell for request in suite.requests() for cell in plan(request)]
    assert len({cell.key for cell in cells}) == len(cells) == suite.n_cells
    assert suite.summary


def test_a_grid_becomes_a_request(written):
    first, second = load_suite(written(TEXT)).requests(limit=8, seeds=None)
    assert first.models == (Spec("lstm", {"layers": 1}),)
    assert first.tasks == (Spec("parity"), Spec("ar", {"preset": "small"}))
    assert (first.chosen_seeds, second.chosen_seeds) == ((0, 1), (0,))
    assert (first.metrics, second.metrics) == (None, (parse_spec("recovery"),))
    assert (first.limit, second.limit) == (8, 8)


def test_what_is_given_takes_precedence_and_recipes_are_merged(written):
    first, second = load_suite(written(TEXT)).requests(seeds=(5,), recipe={"steps": 3})
    assert first.chosen_seeds == second.chosen_seeds == (5,)
    assert first.recipe == {"lr": 1e-2, "steps": 3}
    assert second.recipe == {"steps": 3}
    assert load_suite(written(TEXT)).n_cells == 5


SHARED = """
seeds = [3, 4]
size = "small"
metrics = ["recovery"]
recipe = { lr = 1e-2, steps = 7 }
"""


def test_what_all_grids_share_is_written_once_and_a_grids_own_takes_precedence(written):
    first, second = load_suite(written(SHARED + TEXT)).requests()
    assert (first.seeds, second.seeds) == ((0, 1), (3, 4))
    assert (first.size, second.size) == ("small", "small")
    assert first.metrics == second.metrics == (parse_spec("recovery"),)
    assert first.recipe == {"lr": 1e-2, "steps": 7}
    assert second.recipe == {"lr": 1e-2, "steps": 3}, "a recipe is merged field by field"
    given, _ = load_suite(written(SHARED + TEXT)).requests(seeds=[9], recipe={"steps": 1})
    assert (given.seeds, given.recipe) == ((9,), {"lr": 1e-2, "steps": 1})


def test_shared_fields_plan_the_cells_that_repeated_ones_do(written):
    shared = "metrics = ['recovery', 'exchange']\nseeds = [0, 5]\nrecipe = { steps = 9 }\n"
    grids = [GRID, GRID.replace("gru", "lstm"), GRID.replace("parity", "dyck")]
    once, often = (
        [cell for request in load_suite(written(text)).requests() for cell in plan(request)]
        for text in (shared + "".join(grids), "".join(grid + shared for grid in grids))
    )
    assert len(once) == 6
    assert [cell.key for cell in once] == [cell.key for cell in often]


def test_a_suite_runs_from_python(written, tmp_path):
    suite = written(TEXT)
    reports = evaluate_suite(suite, [0], output=tmp_path / "results", cache=tmp_path / "cache")
    assert [report.identity.model.name for report in reports] == ["lstm", "lstm", "gru"]
    assert {report.status for report in reports} == {"success"}
    assert [report.training.steps for report in reports if report.training][:2] == [7, 7]


GRID = "[[grid]]\nmodels = ['gru']\ntasks = ['parity']\n"


FILES = {
    "grid 1: it has no tasks": "[[grid]]\nmodels = ['gru']",
    'it has no tasks. Write tasks = ["parity"]': "[[grid]]\nmodels = ['gru']",
    "grid 1: it should be a table. Write": "grid = [1]",
    "Write a table with models, tasks, seeds": "grid = [1]",
    "grid 2: models is 'gru'; it should be a list. Write": (
        GRID + "[[grid]]\nmodels = 'gru'\ntasks = ['parity']"
    ),
    "grid 1: there is no field 'seed'. Did you mean 'seeds'": GRID + "seed = [1]",
    "grid 1: there is no field 'summary'": GRID + "summary = 'x'",
    "grid 1: recipe is 3; ": GRID + "recipe = 3",
    "Write recipe = { lr = 1e-3 }": GRID + "recipe = 3",
    "grid 1: recipe is {'a': 1}; it should be true or false, a whole number": GRID
    + "recipe = { lr = { a = 1 } }",
    "unknown argument 'step' of recipe. Did you mean 'steps'": GRID + "recipe = { step = 3 }",
    "grid 1: recipe is {'lr': inf}; argument lr=inf": GRID + "recipe = { lr = inf }",
    "grid 1: sweep is {'lrr': [1]}; unknown argument 'lrr'": GRID + "sweep = { lrr = [1] }",
    "claim 1: recipe is {'x': 1}; unknown argument 'x'": GRID + CLAIM + "recipe = { x = 1 }",
    "grid 1: snapshots is 'x'; it should be a whole number": GRID + "snapshots = 'x'",
    "grid 1: snapshots is 1; it should be at least 2": GRID + "snapshots = 1",
    "grid 1: snapshots is 4.0; ": GRID + "snapshots = 4.0",
    "grid 1: sweep is 3; ": GRID + "sweep = 3",
    "grid 1: sweep is 'lr=1'; ": GRID + "sweep = 'lr=1'",
    "grid 1: sweep is 1; it should be a list": GRID + "sweep = { lr = 1 }",
    "grid 1: sweep is []; it should be a list of 1 or more": GRID + "sweep = { lr = [] }",
    "grid 1: size is []; it should be text": GRID + "size = []",
    "grid 1: seeds 1 is 1.5; ": GRID + "seeds = [1.5]",
    "grid 1: seeds 2 is -1; ": GRID + "seeds = [0, -1]",
    "grid 1: seeds is []; ": GRID + "seeds = []",
    "grid 1: seeds is 3; ": GRID + "seeds = 3",
    "grid 1: models 1 is 1; it should be text": GRID.replace("'gru'", "1"),
    "grid 1: models 1 is ''; ": GRID.replace("'gru'", "''"),
    "grid 1: models 1 is 'gru[layers='; malformed": GRID.replace("'gru'", "'gru[layers='"),
    "grid 1: tasks 1 is datetime.date": GRID.replace("'parity'", "1979-05-27"),
    "own.toml: there is no field 'sumary'. Did you mean 'summary'": "sumary = 'x'\n" + GRID,
    "own.toml: seeds is []; it should be a list of 1 or more": "seeds = []\n" + GRID,
    "own.toml: metrics 1 is 'x['; malformed": "metrics = ['x[']\n" + GRID,
    "own.toml: recipe is {'step': 3}; unknown": "recipe = { step = 3 }\n" + GRID,
    "own.toml: there is no field 'tasks'": "tasks = ['dyck']\n" + GRID,
    "own.toml: claim is 5; ": "claim = 5\n" + GRID,
    "own.toml, claim 1: it should be a table": "claim = [1]\n" + GRID,
    "own.toml, claim 1: it has no task": GRID + "[[claim]]\nsays = 'x'",
    "claim 1: least is 'x'; ": GRID + CLAIM.replace("0.5", "'x'"),
    "claim 1: its bounds 2.0 and 1.0": GRID + CLAIM.replace("0.5", "2.0\nmost = 1.0"),
    "claim 1: its bounds inf and inf": GRID + CLAIM.replace("0.5", "inf"),
    "claim 1: its bounds -inf and -inf": GRID + CLAIM.replace("least = 0.5", "most = -inf"),
    "leave out what bounds nothing.": GRID + CLAIM.replace("0.5", "inf"),
    "claim 1: it has neither least, most": GRID + CLAIM.replace("least = 0.5", ""),
    'claim 1: it has no result. Write result = "..."': GRID + CLAIM.replace("result", "paper"),
    "claim 1: recipe is 3; it should be a table": GRID + CLAIM + "recipe = 3",
    "claim 1: its bounds nan": GRID + CLAIM.replace("0.5", "nan"),
    "claim 1: verdicts is 'x'; ": GRID + CLAIM + "verdicts = 'x'",
    "claim 1: model is 'gru]'; ": GRID + CLAIM.replace("'gru'", "'gru]'"),
    "claim 1: minus is 3; it should be a table. Write minus = { model": GRID + CLAIM + "minus = 3",
    "claim 1: minus is {}; it differs in nothing": GRID + CLAIM + "minus = {}",
    "claim 1, minus: there is no field 'tsk'. Did you": GRID + CLAIM + "minus = { tsk = 'dyck' }",
    "claim 1, minus: task is 'dyck['; ": GRID + CLAIM + "minus = { task = 'dyck[' }",
    "claim 1, times: at is 3; it should be text": GRID + CLAIM + "times = { at = 3 }",
    "claim 1, minus: model is 'gru]'; ": GRID + CLAIM + "minus = 'gru]'",
    "it has times without minus": GRID + CLAIM + "times = { task = 'dyck' }",
    "it has times, of which only the sign": GRID + CLAIM + TIMES,
    "it has nearer_than, of which only": GRID + CLAIM + TIMES.replace("times", "nearer_than"),
    "it has nearer_than and times": GRID + CLAIM + TIMES + "nearer_than = { task = 's3' }",
    "another number of many cells must be of the same": GRID + OF_ALL + "minus = 'lstm'",
    "its times names all in which minus differs": GRID + CLAIM.replace("0.5", "0") + TIMES_ALL,
    "it has *, for many": GRID + CLAIM + "minus = { result = 'x/*' }",
    "it has which for one number alone": GRID + CLAIM + "which = 'least'",
    "it has *, for many numbers": GRID + CLAIM.replace("'gru'", "'*'"),
    "it has minus and ranks_with": GRID + CLAIM + "ranks_with = { at = 'x' }\nminus = 'lstm'",
    "it has ranks_with and which": GRID + CLAIM + "which = 'least'\nranks_with = { at = 'x' }",
    "claim 1: which is 'most'; it should be 'least'": GRID + CLAIM + "which = 'most'",
    "claim 1: off is -1; it should be at least 0": GRID + CLAIM + "off = -1",
    "claim 1: off is inf; ": GRID + CLAIM + "off = inf",
    "it has off beside least or most": GRID + CLAIM + "off = 0.1",
    "it has verdicts and which": GRID + CLAIM + "verdicts = ['x']\nwhich = 'least'",
    "there is no field 'leats'. Did you mean 'least'": GRID + CLAIM.replace("least", "leats"),
    "own.toml is not a TOML file (Expected": "[[grid",
    "own.toml is not a TOML file (Exceeds": "x = " + "1" * 5000,
    "own.toml is nested too deeply": "x = " + "[" * 5000,
    "grid 1: size is 'xxx": GRID + "size = '" + "x" * 5000 + "'",
    "own.toml is not a TOML file (Invalid": "\x1b = 1",
    "own.toml has no [[grid]]": "summary = 'x'",
    "has no [[grid]]. Write one": "grid = 3",
    "no [[grid]]. Write one with models": "[grid]\nmodels = ['gru']",
}


@pytest.mark.parametrize("said", FILES)
def test_what_is_wrong_is_said_with_file_table_and_field(written, said):
    with pytest.raises(UsageError) as caught:
        load_suite(written(FILES[said]))
    assert said in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_what_is_no_text_or_no_file_is_said(tmp_path):
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"own\.toml is not a TOML file"):
        load_suite(str(tmp_path / "own.toml"))
    with pytest.raises(UsageError, match="There is no file"):
        load_suite("a" * 300 + ".toml")
    with pytest.raises(UsageError, match="Unknown suite 'aaa"):
        load_suite("a" * 300)
    with pytest.raises(UsageError, match="There is no file"):
        load_suite("~nobody_of_this_name/own.toml")


def test_a_claim_is_kept_as_it_is_written(written):
    text = GRID + CLAIM + "recipe = { lr = 1e-2 }\nverdicts = ['induction']\nmost = inf\n"
    (claim,) = load_suite(written(text)).claims
    assert claim["recipe"] == {"lr": 1e-2}
    assert claim["verdicts"] == ["induction"]
    assert claim["least"] == 0.5
    assert "paper" not in claim


def test_another_number_is_kept_by_what_it_differs_in(written):
    own = CLAIM.replace("least = 0.5", "most = 0")
    (claim,) = load_suite(written(GRID + own + TIMES)).claims
    assert claim["minus"] == {"model": "lstm"}
    assert claim["times"] == {"task": "dyck"}
    assert "at" not in claim
    (none,) = load_suite(written(GRID + CLAIM + "minus = ''\n")).claims
    assert none["minus"] is None


def test_unknown_suites_and_files_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown suite 'dmeo'\. Did you mean 'demo'"):
        load_suite("dmeo")
    with pytest.raises(UsageError, match="There is no file"):
        load_suite(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        ("metrics = ['nosuch']", "own.toml, grid 2: Unknown metric 'nosuch'"),
        ("metrics = ['recovery[n_pairs=0]']", "own.toml, grid 2: Parameter n_pairs=0 of metric"),
        ("metrics = ['recovery@1']", "own.toml, grid 2: There is no version '1' of metric"),
        ("size = 'huge'", "own.toml, grid 2: Unknown size 'huge' of lstm"),
        ("snapshots = 4\nrecipe = { steps = 0 }", "own.toml, grid 2: Model 'lstm' is not trained"),
        ("models = ['lsmt']", "own.toml, grid 2: Unknown model 'lsmt'. Did you mean 'lstm'"),
        ("models = ['lstm[lay=1]']", "own.toml, grid 2: Unknown argument 'lay' of lstm"),
        ("models = ['hf:/nowhere']", "own.toml, grid 2: There is no directory /nowhere"),
        ("tasks = ['dick']", "own.toml, grid 2: Unknown task 'dick'"),
        ("tasks = ['parity[x=1]']", "own.toml, grid 2: Unknown argument 'x' of parity"),
        ("tasks = ['dyck[k=9]']", "own.toml, grid 2: Task 'dyck' got k=9"),
    ],
)
def test_names_that_do_not_exist_are_said_with_file_and_grid(written, written_as, said):
    fields = {"models": "models = ['lstm']", "tasks": "tasks = ['parity']"}
    fields |= {written_as.partition(" ")[0]: written_as}
    first, second = load_suite(written(GRID + "[[grid]]\n" + "\n".join(fields.values()))).requests()
    plan(first)
    with pytest.raises(UsageError) as caught:
        plan(second)
    assert said in str(caught.value)
    assert str(caught.value).count("own.toml") == 1


def test_what_is_given_in_place_of_the_suites_is_not_put_down_to_it(written):
    (request,) = load_suite(written(GRID)).requests(metrics=(Spec("nosuch"),))
    with pytest.raises(UsageError, match=r"own\.toml, grid 1 with other metrics: Unknown metric"):
        plan(request)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("'gru'", "'gruu'"), "own.toml, claim 2: Unknown model 'gruu'. Did you mean 'gru'"),
        (("'gru'", "'gru[lay=1]'"), "own.toml, claim 2: Unknown argument 'lay' of gru"),
        (("'parity'", "'partiy'"), "own.toml, claim 2: Unknown task 'partiy'. Did you mean"),
        (("least", "minus = 'lsmt'\nleast"), "own.toml, claim 2: Unknown model 'lsmt'"),
        (("least", "minus = { task = 'dick' }\nleast"), "own.toml, claim 2: Unknown task 'dick'"),
    ],
)
def test_models_and_tasks_of_claims_are_checked_before_a_run(written, change, said, capsys):
    untestable = CLAIM.replace("'gru'", "'retnet'") + "untestable = 'it is not here'\n"
    path = written(GRID + untestable + CLAIM.replace(*change))
    for command in (["run", "--suite", path, "--dry-run"], ["leaderboard", "claims", path, "."]):
        assert main(command) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="claim 2: Unknown"):
        evaluate_suite(path)


def test_claims_about_an_older_version_are_no_reason_not_to_run(written):
    load_suite(written(GRID + CLAIM.replace("'parity'", "'parity@0'"))).check_claims(Settings())
