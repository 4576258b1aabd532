"""Shards and packs: every cell in one part, trainings that are shared in one, in any order."""

from __future__ import annotations

import random

import pytest

from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness.packs import dealt, packed, sharing_a_training
from mecheval.harness.pair_plan import plan_pairs
from mecheval.harness.plan import plan
from mecheval.harness.request import Cell, Request, Settings
from mecheval.harness.shards import Shard, read_shard
from mecheval.spec import Spec

FIXED = Spec("parity", {"min_length": 16, "max_length": 16})


def planned(**changes) -> list[Cell]:
    given = {"models": (Spec("lstm"), Spec("gru")), "tasks": (FIXED, Spec("z6")), "seeds": (0, 1)}
    return plan(Request(**{**given, **changes}))


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Return cells of which some share trainings: by other metrics, by a sweep, by an ensemble."""
    cells = [
        *planned(),
        *planned(metrics=(Spec("recovery"),)),
        *planned(sweep={"lr": [0.003, 0.001]}, seeds=(0,)),
        *planned(recipe={"lr": 0.001}, seeds=(0,)),
        *planned(models=(Spec("lstm"),), seeds=(2, 3, 4), settings=Settings(ensemble=4)),
    ]
    return list({cell.key: cell for cell in cells}.values())


@pytest.mark.parametrize("n", [1, 2, 3, 5, 50])
def test_parts_are_disjoint_and_together_the_whole(cells, n: int) -> None:
    parts = [Shard(i, n).of(cells) for i in range(n)]
    keys = [cell.key for part in parts for cell in part]
    assert sorted(keys) == sorted(cell.key for cell in cells)
    shuffled = random.Random(0).sample(cells, len(cells))
    for i, part in enumerate(parts):
        assert {c.key for c in Shard(i, n).of(shuffled)} == {c.key for c in part}


def test_what_shares_a_training_stays_together(cells) -> None:
    groups = sharing_a_training(cells)
    of = {cell.key: i for i, group in enumerate(groups) for cell in group}
    for cell in cells:
        for other in cells:
            same = (cell.identity.model, cell.identity.task, cell.identity.seed) == (
                other.identity.model, other.identity.task, other.identity.seed
            )  # fmt: skip
            if (
                same
                and cell.recipe == other.recipe
                and not (cell.identity.sweep or other.identity.sweep)
            ):
                assert of[cell.key] == of[other.key]
    joined = [[c for c in cells if c.settings.ensemble and (c.task == FIXED) is fixed]
              for fixed in (True, False)]  # fmt: skip
    assert [len({of[cell.key] for cell in seeds}) for seeds in joined] == [1, 1]
    assert of[joined[0][0].key] != of[joined[1][0].key]
    swept = next(c for c in cells if c.identity.sweep)
    members = [c for c in cells if of[c.key] == of[swept.key]]
    assert any(c.recipe.lr == 0.001 for c in members if not c.identity.sweep)
    for n in (2, 3, 7):
        part_of = {c.key: i for i, pack in enumerate(packed(cells, n)) for c in pack}
        assert all(len({part_of[c.key] for c in group}) == 1 for group in groups)


def test_packs_are_alike_in_cost_and_model_by_model() -> None:
    packs = packed(planned(tasks=(FIXED,), seeds=tuple(range(8))), 4)
    assert [len(pack) for pack in packs] == [4, 4, 4, 4]
    assert [{cell.model_title for cell in pack} for pack in packs] == [
        {"gru"}, {"gru"}, {"lstm"}, {"lstm"}
    ]  # fmt: skip
    parts = dealt([[10], [1], [1], [1]], 2, cost=float, place=lambda x: (str(-x),))
    assert parts == [[1, 1, 1], [10]]


def test_pairs_are_split_as_well() -> None:
    pairs = plan_pairs(planned(), None)
    parts = [Shard(i, 3).of_pairs(pairs) for i in range(3)]
    assert sorted(p.key for part in parts for p in part) == sorted(p.key for p in pairs)
    assert all(parts)


def test_the_task_of_an_array_is_read() -> None:
    array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4",
             "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}  # fmt: skip
    assert read_shard("auto", array) == Shard(3, 4)
    assert read_shard("auto", {key: array[key] for key in list(array)[1::-1]} | {
        "SLURM_ARRAY_TASK_ID": "0"}) == Shard(0, 4)  # fmt: skip
    assert str(read_shard("2/8", {})) == "2/8"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Malformed shard ''"), ("1", "Malformed shard '1'"), ("-1/4", "Write it like 0/4"),
        ("a/4", "Malformed"), ("4/4", "counted from 0/4"), ("0/0", "There is no shard 0/0"),
        ("auto", "no task of a SLURM job array"), ("1/2/3", "Malformed"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str, sentence: str, capsys) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_shard(text, {})
    assert main(["run", "-m", "lstm", "-t", "parity", f"--shard={text}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_says_which_part_it_does(tmp_path, capsys) -> None:
    grid = ["-m", "lstm,gru", "-t", "parity", "-s", "0-1", "-o", str(tmp_path), "--dry-run"]
    shown = []
    for part in ("0/2", "1/2"):
        assert main(["run", *grid, "--json", "--shard", part]) == 0
        shown += capsys.readouterr().out.splitlines()
    assert len(set(shown)) == len(shown) == 4
