"""Donors by kind, against a loop over all cells.

Shape suffixes: ``S`` sequences of the pool, ``B`` sequences that get, ``T`` positions, ``J`` draws.
"""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import load_task, subject_of, written_at_block

import mecheval
from mecheval.metrics.exchange.donors import NONE, donors_by
from mecheval.metrics.exchange.exchanged_runs import exchanged_runs
from mecheval.metrics.exchange.whole_state import decides, told_apart
from mecheval.seeding import stream
from mecheval.tasks import Batch

TUPLES = [(), ("top",), ("depth",), ("depth", "top")]


def batches(n_pool: int = 60, n: int = 20) -> tuple[Batch, Batch]:
    task, rng = load_task("dyck"), np.random.default_rng(0)
    return task.sample(rng, n_pool, 8), task.sample(rng, n, 8)


def eligible(pool: Batch, getting: Batch, names: tuple[str, ...], b: int, t: int) -> list[int]:
    return [
        s
        for s in range(len(pool))
        if pool.tokens_BT[s, t] == getting.tokens_BT[b, t]
        and all(pool.variables[n][s, t] == getting.variables[n][b, t] for n in names)
    ]


@pytest.mark.parametrize("names", TUPLES)
def test_every_donor_is_of_the_kind_of_the_cell_and_all_are_drawn(names: tuple[str, ...]) -> None:
    pool, getting = batches()
    donors = donors_by(pool, getting, names)
    donor_JBT = donors.draw(np.random.default_rng(1), 400)
    n_missing = 0
    for b in range(len(getting)):
        for t in range(getting.n_positions):
            wanted = eligible(pool, getting, names, b, t)
            drawn = donor_JBT[:, b, t].tolist()
            n_missing += not wanted
            assert donors.missing_BT[b, t] == (not wanted)
            if len(wanted) <= 20:  # of more, some are not drawn
                assert set(drawn) == set(wanted or [NONE])
            else:
                assert set(drawn) <= set(wanted)
    assert n_missing == 0 or names


def test_all_donors_are_as_likely() -> None:
    pool, getting = batches(12, 1)
    donor_J = donors_by(pool, getting, ()).draw(np.random.default_rng(0), 24_000)[:, 0, 0]
    counts = np.bincount(donor_J, minlength=12)  # position 0 is BOS: all twelve
    assert np.abs(counts / 24_000 - 1 / 12).max() < 0.01


def test_draws_are_independent_between_positions() -> None:
    pool, getting = batches(600, 200)
    donor_JBT = donors_by(pool, getting, ()).draw(np.random.default_rng(0), 1)
    assert (donor_JBT[0, :, 1:] == donor_JBT[0, :, :-1]).mean() < 0.03


def test_kinds_that_only_one_side_has_do_not_mix() -> None:
    pool, getting = (Batch(np.array(t), np.zeros((1, 2), int)) for t in ([[5, 7]], [[7, 5]]))
    donors = donors_by(pool, getting, ())
    assert donors.missing_BT.all()
    assert (donors.draw(np.random.default_rng(0), 3) == NONE).all()


@pytest.mark.parametrize("names", TUPLES)
def test_the_share_of_donors_that_agree(names: tuple[str, ...]) -> None:
    pool, getting = batches()
    found_BT = donors_by(pool, getting, names).agreeing(pool.targets_BT, getting.targets_BT)
    for b in range(len(getting)):
        for t in range(getting.n_positions):
            alike = [
                pool.targets_BT[s, t] == getting.targets_BT[b, t]
                for s in eligible(pool, getting, names, b, t)
            ]
            wanted = np.mean(alike) if alike else np.nan
            np.testing.assert_allclose(found_BT[b, t], wanted)


def test_which_variables_decide_the_rest() -> None:
    batch = load_task("dyck").sample(np.random.default_rng(0), 400, 16)
    assert decides(batch, ("top",), ())
    assert not decides(batch, ("top",), ("depth",))
    assert not decides(batch, ("depth",), ())
    assert decides(batch, ("depth", "top"), ())
    batch = load_task("s3").sample(np.random.default_rng(0), 400, 16)
    assert decides(batch, ("element",), ("sign", "coset"))
    assert decides(batch, ("sign", "coset"), ("element",))
    assert not decides(batch, ("sign",), ())


@pytest.mark.parametrize(
    ("task", "further"),
    [
        ("parity", []),
        ("s3", []),
        ("z6", []),
        ("group[name=z2xs3]", []),
        ("group[name=s5]", []),
        ("dyck", ["depth+top"]),
        ("ar", ["bound+key"]),
    ],
)
def test_variables_are_asked_for_together_where_none_decides_the_others(
    task: str, further: list[str]
) -> None:
    loaded = mecheval.load_task(task)
    assert told_apart(loaded) == [*loaded.variables, *further]


def test_words_hold_all_states_that_are_told_apart() -> None:
    """A pair of values that no word has could be what tells two states apart."""
    task = mecheval.load_task("group[name=s5]")
    names = list(task.variables)
    words = task.sample(stream(0, "variables"), 1000, task.max_length)
    assert len(np.unique(words.variables[names[0]])) == 1 + task.variables[names[0]]


def test_tuples_that_tell_the_same_states_apart_have_the_same_donors() -> None:
    task, rng = load_task("s3"), np.random.default_rng(0)
    pool, getting = task.sample(rng, 300, 8), task.sample(rng, 50, 8)
    element = donors_by(pool, getting, ("element",))
    assert element.same_as(donors_by(pool, getting, ("element", "sign", "coset")))
    assert not element.same_as(donors_by(pool, getting, ("sign",)))


def test_no_sequence_gives_to_itself() -> None:
    params = {"n_sequences": 400, "n_pool": 3000, "n_pool_most": 3000, "max_missing": 0.05}
    runs = exchanged_runs(subject_of(written_at_block(1), load_task("parity")), [], params)
    assert not set(map(bytes, runs.pool.tokens_BT)) & set(map(bytes, runs.batch.tokens_BT))
    assert not runs.scored_BT[:, : runs.first].any()
    assert runs.scored_BT[:, runs.first :].all()
