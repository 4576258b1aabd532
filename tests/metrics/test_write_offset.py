"""The write offset: its arithmetic, and what it says of models whose offset is known."""

from __future__ import annotations

import numpy as np
import pytest
from measured import measured

import mecheval
from mecheval.metrics import Subject
from mecheval.metrics.intervention.write_offset import FIRST, offsets_of
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec

RECALL = "ar[keys=12,values=12,pairs=6]"


def offsets(model: str, task: str = RECALL, *, learned: bool = True, **params) -> dict:
    task = mecheval.load_task(task)
    source = resolve(parse_spec(model), Registry())
    encoding = source.encode(task)
    built = source.build(encoding, seed=0).eval()
    subject = Subject(
        model=built, task=task, encoding=encoding, seed=0, learned=learned, limit=None,
        batch_size=64, untrained=lambda: built,
    )  # fmt: skip
    found = measured("write_offset", subject, **{"n_pairs": 64, **params})
    return {result.id: result for result in found}


def test_arithmetic() -> None:
    """The study's own numbers at the offsets 0 to 3 of one layer, with nothing before it."""
    effect = np.array([[[0.0, 0.001, 0.99, -0.05, -0.02], [0.0, 0.0, 0.0, 0.0, 0.5]]])
    found = offsets_of(effect)
    weight = 0.99 / 0.991
    np.testing.assert_allclose(found.carried_RL, [[0.991, 0.5]])
    np.testing.assert_allclose(found.mean_RL, [[weight, 3.0]])
    np.testing.assert_allclose(found.off_by_one_RL, [[weight - 0.001 / 0.991, 0.0]])
    assert found.storage_R.tolist() == [0]
    assert FIRST == -1


def test_the_last_of_equal_layers_stores() -> None:
    carried = np.array([0.97, 1.0, 0.96, 0.5])
    effect = np.zeros((1, 4, 3))
    effect[0, :, 1] = carried
    assert offsets_of(effect).storage_R.tolist() == [2]


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("planted/induction", 1, 0),
        ("planted/mamba-recall", 1, 0),
        ("planted/mamba-recall[shift=1]", 2, 1),
        ("planted/mamba2-recall", 1, 0),
        ("planted/mamba2-recall[shift=1]", 2, 1),
    ],
)
def test_planted_models(model: str, key: int, value: int) -> None:
    results = offsets(model)
    for kind, offset in (("key", key), ("value", value)):
        result = results[f"write_offset/{kind}"]
        assert result.value == pytest.approx(offset, abs=1e-3)
        assert result.uncertainty.low == pytest.approx(offset, abs=1e-3)
        off_by_one = {0: -1, 1: 1}.get(offset, 0)
        assert result.scalars["off_by_one"] == pytest.approx(off_by_one, abs=1e-3)
        assert result.scalars["carried"] == pytest.approx(1, abs=1e-3)
        assert result.scalars["restored"] == pytest.approx(1, abs=1e-3)
        assert result.scalars["black_box_difference"] == pytest.approx(0, abs=1e-3)
        assert result.scalars["black_box_offset"] == pytest.approx(offset, abs=1e-3)
        assert result.n_scored + result.scalars["pairs_too_close"] == 64


def test_without_a_gap_there_is_no_offset() -> None:
    """A random model answers few pairs rightly, and those by luck."""
    for result in offsets("mamba[width=16,layers=1]").values():
        assert result.value is None
        assert result.reason.startswith("no gap: ")


def test_what_cannot_be_taken_apart_is_not_applicable(monkeypatch) -> None:
    from mecheval.models.stack.residual import ResidualStack

    monkeypatch.setattr(ResidualStack, "apart", lambda self: None)
    for result in offsets("lstm[width=16,layers=1]").values():
        assert result.value is None
        assert result.reason.startswith("not applicable: ")


def test_a_mixer_that_says_nothing_of_its_writes_is_not_applicable(monkeypatch) -> None:
    from mecheval.builtin.model_registry.gru import GatedRecurrentUnit

    monkeypatch.setattr(GatedRecurrentUnit, "writes", ())
    for result in offsets("gru[width=16,layers=1]").values():
        assert result.reason == "not applicable: no mixer says what a position writes"
