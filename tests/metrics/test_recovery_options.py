"""Recovery in its other directions, and the reasons for which it has no value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from circuit_subjects import any_answers
from measured import measured

import mecheval
from mecheval.errors import UsageError
from mecheval.metrics import Subject
from mecheval.models.load import resolve
from mecheval.models.sites import COMPONENTS
from mecheval.registry import Registry
from mecheval.spec import parse_spec


@pytest.fixture(autouse=True)
def _all_pairs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    any_answers(monkeypatch)


def subject_of(spec: str = "lstm[layers=2,width=16]", **fields) -> Subject:
    task = mecheval.load_task("parity")
    source = resolve(parse_spec(spec), Registry())
    encoding = source.encode(task)
    model = source.build(encoding, seed=0).eval()
    return Subject(
        model=model, task=task, encoding=encoding, seed=0, learned=True, limit=32, batch_size=32,
        untrained=lambda: model, **fields,
    )  # fmt: skip


def recovery(subject: Subject, **params):
    return measured("recovery", subject, components=["block_in"], min_gap=0.0, **params)[0]


def test_noising_is_what_is_lost_and_denoising_what_comes_back() -> None:
    subject = subject_of()
    back, lost = (recovery(subject, direction=way) for way in ("denoising", "noising"))
    for result in (back, lost):
        grid = np.array(result.profile.value, float)
        np.testing.assert_allclose(grid[0, 0], 1, atol=1e-4)
        assert result.scalars["trivial_error"] < 1e-3
    assert back.profile.value != lost.profile.value
    assert back.config["engine"] == lost.config["engine"] != "gradients"


def test_logits_that_are_not_finite_are_a_reason() -> None:
    subject = subject_of()
    with torch.no_grad():
        subject.model.head.weight.fill_(torch.nan)
    result = recovery(subject)
    assert result.value is None
    assert result.reason.startswith("the logits of 32 pairs are not finite, and no gap")


def test_a_gradient_guess_says_how_good_it_is() -> None:
    result = recovery(subject_of(), method="gradient_guess")
    assert result.config["engine"] == "gradients"
    assert "correlation with" in result.warnings[0]
    with pytest.raises(UsageError, match="Leave direction and frozen"):
        recovery(subject_of(), method="gradient_guess", direction="noising")


def test_frozen_memory_leaves_less() -> None:
    free, frozen = (
        recovery(subject_of("transformer[layers=2,width=16]"), frozen=frozen)
        for frozen in (False, True)
    )
    assert free.profile.value != frozen.profile.value
    assert free.profile.value[0][0] == pytest.approx(1, abs=1e-4)
    assert frozen.profile.value[0][0] != pytest.approx(1, abs=1e-2)
    # What is known by construction is another matter then, and is as it must be.
    assert frozen.scalars["trivial_error"] < 1e-3
    assert not any("construction" in warning for warning in frozen.warnings)


def test_every_component_has_a_grid_or_is_not_there(tmp_path) -> None:
    subject = subject_of("transformer[layers=2,width=16]", scratch=tmp_path)
    names = [*COMPONENTS]
    found = measured("recovery", subject, components=names, min_gap=0.0)
    # Each is a column, by its own name.
    columns = {result.id.partition("/")[2]: result.headline[0].title for result in found}
    assert columns.pop("block_in") == "midway, by the stream"
    assert columns.pop("state") == "midway, by the memory"
    assert columns == {name: f"midway, by {name}" for name in columns}
    assert len(columns) == len(COMPONENTS) - 2
    results = {result.id: result for result in found}
    assert results.pop("recovery/conv_out").reason == "the model has no such component"
    for result in results.values():
        assert result.scalars["trivial_error"] < 1e-3, result.id
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spec",
    ["lstm[layers=1,width=16]", "transformer[layers=1,width=16]", "based[layers=2,width=16]"],
)
def test_a_memory_that_everything_has_to_pass_is_no_value(spec: str) -> None:
    """With one layer, or one behind a convolution, it brings back all in any model."""
    result = measured("recovery", subject_of(spec), components=["state"], min_gap=0.0)[0]
    layer = len(result.profile.value) - 1
    assert result.profile.value[layer][1] == pytest.approx(1, abs=1e-3)
    assert result.profile.marks["trivial"][layer][1]
    assert result.value is None
    assert result.reason.startswith("known by construction at the middle position")


def test_the_memory_is_of_the_layer_up_to_which_half_is_brought_back() -> None:
    """Not of the largest; and exchanged at the roles alone, as in a grid of all positions."""
    subject = subject_of("lstm[layers=4,width=16]")
    result = measured("recovery", subject, components=["state"], min_gap=0.0)[0]
    assert "grid" not in result.profiles
    pairs = subject.pairs(64, subject.length)
    grid = mecheval.recovery_grid(
        subject.model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P,
        pairs.foils_P, pairs.readout_P, components=["state"],
    )  # fmt: skip
    middle_P = (pairs.changed_P + pairs.readout_P) // 2
    has_P = pairs.readout_P - pairs.changed_P >= 2
    share_LP = grid.component("state")[:, middle_P, np.arange(len(middle_P))] - grid.corrupted
    share_LP = (share_LP / (grid.clean - grid.corrupted))[:, has_P]
    np.testing.assert_allclose(np.array(result.profile.value)[:, 1], share_LP.mean(1), atol=1e-6)
    assert result.scalars["all_layers"] == pytest.approx(share_LP.mean(1).sum(), abs=1e-6)
    positive_L = np.maximum(share_LP.mean(1), 0)
    layer = next(i for i in range(4) if positive_L[: i + 1].sum() >= positive_L.sum() / 2)
    assert result.value == pytest.approx(share_LP[layer].mean(), abs=1e-6)
    assert result.units == pytest.approx(share_LP[layer].tolist(), rel=1e-5)
    assert result.scalars["layer"] == layer


def test_gradients_guess_no_memory() -> None:
    found = measured("recovery", subject_of(), method="gradient_guess", min_gap=0.0)
    state = next(result for result in found if result.id == "recovery/state")
    assert state.reason.startswith("not applicable: gradients say nothing of a memory")
    assert "trivial_error" not in found[0].scalars


def test_a_component_that_no_layer_has_is_null_by_every_method() -> None:
    for method in ("exact", "gradient_guess"):
        asked = {"components": ["z", "block_in"], "method": method, "min_gap": 0.0}
        absent, found = measured("recovery", subject_of(), **asked)
        assert (absent.value, absent.reason) == (None, "the model has no such component")
        assert found.value is not None


def test_pairs_of_longer_words_have_the_recovery_of_those_of_training() -> None:
    """The state is written at a block, at every position: at any length all of it is there."""
    from mecheval.harness.selftest import subject_of as planted

    subject = replace(planted("planted/parity-at-block", "parity"), limit=16)
    short, longer = (
        {result.id: result for result in measured("recovery", subject, length=length)}
        for length in (1, 2)
    )
    assert set(short) == set(longer) == {"recovery/block_in", "recovery/state"}
    for id, result in longer.items():
        assert result.value == pytest.approx(short[id].value, abs=1e-3)
        assert result.config["length"] == 2
    grid = longer["recovery/block_in"].profiles["grid"]
    assert len(grid.index["position"]) == 33
    assert len(short["recovery/block_in"].profiles["grid"].index["position"]) == 17


def test_where_longer_words_are_guessed_nothing_is_recovered() -> None:
    (result,) = measured("recovery", subject_of(), components=["block_in"], length=2)
    assert result.value is None
    assert result.reason.startswith("at 2 times the training length the last answer is right in ")
