"""Matrices of pairs: which pairs stand where, over what intervals are, and why numbers miss."""

from __future__ import annotations

from itertools import combinations

import pytest

from mecheval import stats
from mecheval.reports.collection.numbers import Number
from mecheval.reports.collection.over_pairs import over_pairs
from mecheval.reports.pair import PairIdentity, PairReport, PairSide
from mecheval.reports.pair_matrix import matrices_of
from mecheval.reports.schema import Headline, Labels, MetricResult, ModelPart, TaskIdentity

COLUMNS = (
    Headline(title="alike"), Headline(title="apart", at="apart", otherwise="not asked"),
)  # fmt: skip
WRITES = {"lstm": 0.1, "gru": 0.5}


def side(model: str, seed: int, *, learned: bool = True, run: dict | None = None) -> PairSide:
    return PairSide(
        key=f"{len(model)}{seed}".ljust(64, "a"), seed=seed,
        model=ModelPart(name=model, args={}, source="scratch"),
        title=model, labels=Labels(run=run or {}), learned=learned, tracking=None,
    )  # fmt: skip


def pair(a: PairSide, b: PairSide, value: float | None, **changes) -> PairReport:
    result = MetricResult(
        id="likeness", title="t", name="likeness", metric="likeness", version=1, family="circuit",
        value=value, reason=None if value is not None else "not learned by one",
        n_expected=4, n_scored=4 if value is not None else 0, bounds=(-1.0, 1.0),
        headline=[*COLUMNS],
        scalars={},
    )  # fmt: skip
    fields = {
        "status": "success", "partial": False, "key": "0" * 64,
        "identity": PairIdentity(protocol=4, a=a.key, b=b.key, metrics=[]),
        "task": TaskIdentity(name="ar", version=1, params={}), "task_title": "ar",
        "sides": [a, b], "created": "now", "finished": "now", "metrics": [result],
    }  # fmt: skip
    return PairReport(**{**fields, **changes})


def test_additive_likeness_has_the_interval_of_its_parts() -> None:
    """The mean over pairs of ``a_i + a_j`` is twice that of ``a``, and so is its interval."""
    a_U = [0.1, 0.4, 0.2, 0.35]
    pairs = {(i, j): a_U[i] + a_U[j] for i, j in combinations(range(4), 2)}
    found = stats.pairwise_interval(pairs, unit="seed")
    expected = stats.t_interval([2 * a for a in a_U], unit="seed")
    assert found is not None
    assert expected is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "jackknife t"


@pytest.mark.parametrize(
    "pairs", [{(0, 1): 0.5}, {(0, 1): 0.5, (0, 2): 0.4}, {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0}]
)
def test_where_no_interval_of_pairs_exists(pairs: dict[tuple[int, int], float]) -> None:
    assert stats.pairwise_interval(pairs, unit="seed") is None


def test_pairs_of_two_models_have_students_interval() -> None:
    numbers = {(s, (s + 1) % 4): Number(0.1 * s, bounds=(0.0, 1.0)) for s in range(4)}
    found, expected = (
        over_pairs(numbers, same=False),
        stats.t_interval([0, 0.1, 0.2, 0.3], unit="s"),
    )
    assert expected is not None
    assert (found.low, found.high) == pytest.approx((max(0.0, expected.low), expected.high))
    missing = over_pairs({**numbers, (9, 0): Number(reason="lost")}, same=False)
    assert str(missing).endswith("(4 of 5)")


def test_models_stand_where_they_were_met_whatever_the_order_of_a_pair() -> None:
    nets = {(m, s): side(m, s) for m in ("lstm", "gru") for s in range(3)}
    reports = [
        pair(nets[m, i], nets[m, j], WRITES[m] + 0.1 * (i + j))
        for m in WRITES for i, j in combinations(range(3), 2)
    ]  # fmt: skip
    cross = [pair(nets["lstm", s], nets["gru", (s + 1) % 3], 0.2 + 0.1 * s) for s in range(3)]
    cross[1] = pair(*cross[1].sides[::-1], 0.3)
    first, _ = matrices_of([*reports, *cross])
    assert first.models == ["lstm", "gru"]
    assert {models: len(of.values) for models, of in first.entries.items()} == {
        (0, 0): 3, (0, 1): 3, (1, 1): 3,
    }  # fmt: skip
    assert first.entries[0, 1].values == {(0, 1): 0.2, (1, 2): 0.3, (2, 0): pytest.approx(0.4)}
    of_one = {(i, j): 0.1 + 0.1 * (i + j) for i, j in combinations(range(3), 2)}
    expected = stats.pairwise_interval(of_one, unit="seed")
    assert expected is not None
    assert first.entries[0, 0].high == pytest.approx(expected.high)
    headers, rows = first.table()
    assert headers == ["Model", "1.", "2."]
    assert rows[1][1] == ""
    assert rows[0][2].startswith("0.300 [")


def test_what_is_missing_has_its_reason_and_no_row() -> None:
    lost = [side("gru", seed, learned=False) for seed in range(2)]
    nets = [side("lstm", seed) for seed in range(2)]
    failed = pair(nets[0], nets[1], 0.5)
    reports = [failed, pair(nets[0], lost[1], None), pair(nets[1], lost[0], None)]
    first, second = matrices_of(reports)
    assert first.shown == [0]
    assert "not learned on ar: gru (2 of 2 seeds)" in first.notes
    assert second.shown == []
    assert "apart on ar, 1 pairs: not asked" in second.notes


def test_recipes_tell_models_of_one_name_apart() -> None:
    short, usual = side("lstm", 0, run={"steps": 10, "metrics": ["x"]}), side("lstm", 0)
    first, _ = matrices_of([pair(short, usual, 0.5)])
    assert first.models == ["lstm (steps=10)", "lstm (usual recipe)"]
