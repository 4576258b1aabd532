"""The write offset: what it says of models whose offset is known, and of effects made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from measured import measured

import mecheval
from mecheval.metrics import Subject
from mecheval.metrics.intervention import write_offset
from mecheval.metrics.intervention.write_effects import COMPONENTS, MEMORY, WriteEffects
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
        assert len(result.units) == 64
        counted = [unit for unit in result.units if unit is not None]
        assert len(counted) == result.n_scored
        assert np.mean(counted) == pytest.approx(result.value)


def test_columns_name_the_token_that_was_exchanged() -> None:
    headings = {
        id: [line.title for line in r.headline] for id, r in offsets("planted/induction").items()
    }
    assert headings["write_offset/key"] == ["key: positions until stored", "key: in layer"]
    (result,) = offsets("planted/parity-at-block", "parity").values()
    assert [line.title for line in result.headline] == [
        "positions until stored", "in layer",
    ]  # fmt: skip


def test_without_a_gap_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model answers few pairs rightly, and those by luck: known from the runs alone."""
    monkeypatch.delattr(write_offset, "write_effects")
    for result in offsets("mamba[width=16,layers=1]").values():
        assert result.value is None
        assert result.reason.startswith("no gap: ")


def test_what_cannot_be_taken_apart_is_not_applicable(monkeypatch) -> None:
    from mecheval.models.decomposition import Refusal
    from mecheval.models.stack.residual import ResidualStack

    monkeypatch.setattr(ResidualStack, "decomposition", lambda self: Refusal("it is one piece"))
    for result in offsets("lstm[width=16,layers=1]").values():
        assert result.value is None
        assert result.reason.startswith("not applicable: ")


@pytest.mark.parametrize(
    ("writes", "why"),
    [((), "no position writes anything"), (None, "a mixer does not say what a position writes")],
)
def test_a_mixer_that_says_nothing_of_its_writes_is_not_applicable(
    monkeypatch, writes, why
) -> None:
    from mecheval.builtin.model_registry.gru import GatedRecurrentUnit

    monkeypatch.setattr(GatedRecurrentUnit, "writes", writes)
    for result in offsets("gru[width=16,layers=1]").values():
        assert result.reason == f"not applicable: {why}"


def by_hand(monkeypatch: pytest.MonkeyPatch, change_LOP: np.ndarray) -> dict:
    """Measure effects of writes that are given, as shares of a gap of 1."""
    n_pairs = change_LOP.shape[-1]
    kept_P = np.arange(n_pairs) % 8 != 0

    def grid(sign: float) -> SimpleNamespace:
        zero_LOP = np.zeros_like(change_LOP)
        values = dict.fromkeys((*COMPONENTS, *MEMORY), zero_LOP)
        values |= {"write": change_LOP, "state": np.cumsum(change_LOP, axis=1)}
        end_P = np.full(n_pairs, 1.0 if sign < 0 else 0.0)
        return SimpleNamespace(
            clean=np.ones(n_pairs), corrupted=np.zeros(n_pairs),
            component=lambda name: end_P + sign * values[name],
        )  # fmt: skip

    effects = WriteEffects(grid(-1.0), grid(1.0), kept_P)  # type: ignore[arg-type]
    monkeypatch.setattr(write_offset, "write_effects", lambda *_, **__: effects)
    (result, _) = offsets("planted/mamba-recall", n_pairs=n_pairs).values()
    return result


def noise(n_layers: int, scale: float) -> np.ndarray:
    noise_LOP = scale * np.random.default_rng(0).standard_normal((n_layers, 6, 64))
    noise_LOP[:, 0] = 0.0  # nothing is written before the token
    return noise_LOP


def test_a_storage_that_is_spread_over_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    change_LOP = noise(4, 0.02)
    for layer, offset, carried in ((0, 0, 1.0), (2, 1, 0.5), (3, 1, 0.45)):
        change_LOP[layer, offset + 1] += carried
    result = by_hand(monkeypatch, change_LOP)
    assert result.value == pytest.approx(1.0, abs=0.05)
    assert (result.scalars["first_layer"], result.scalars["layer"]) == (2, 2)
    assert result.scalars["storage_layers"] == 2
    assert result.scalars["carried"] == pytest.approx(0.95, abs=0.05)
    assert result.scalars["resamples_apart"] == 0
    assert result.n_scored == 56
    counted = [unit for unit in result.units if unit is not None]
    assert np.mean(counted) == pytest.approx(result.value)
    assert result.units[::8] == [None] * 8, "a pair that does not count has its place"
    assert result.profiles["layer"].value[0] == pytest.approx(0.0, abs=0.01)
    assert result.profiles["layer"].value[1] is None


@pytest.mark.parametrize(("late", "null"), [(0.95, False), (0.75, True), (0.5, True)])
def test_layers_that_store_it_at_different_offsets(
    monkeypatch: pytest.MonkeyPatch, late: float, null: bool
) -> None:
    """Where the last layer carries nearly enough by itself, neither of two offsets is the one."""
    change_LOP = noise(6, 0.1)
    change_LOP[2, 1] += 1.0
    change_LOP[5, 2] += late
    result = by_hand(monkeypatch, change_LOP)
    if not null:
        assert (result.value, result.scalars["layer"]) == (pytest.approx(1.0, abs=0.01), 5)
        return
    assert result.value is result.scalars["layer"] is None
    assert result.reason.startswith("layers store it at different offsets: layer 2 at 0.0")
    assert "layer 5 at 1.0" in result.reason
    assert result.scalars["resamples_apart"] > 0.05
    assert result.profiles["layer"].value[5] == pytest.approx(1.0, abs=0.01)
    assert result.units == []


def test_writes_that_stand_against_the_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    change_LOP = noise(1, 0.01)
    change_LOP[0, 1] += 1.0
    change_LOP[0, 4] -= 0.2
    result = by_hand(monkeypatch, change_LOP)
    assert result.value == pytest.approx(0.0, abs=0.01)
    assert result.scalars["opposed"] == pytest.approx(0.2, abs=0.01)
    assert "raises the answer, by 0.2 of the gap" in result.warnings[-1]
