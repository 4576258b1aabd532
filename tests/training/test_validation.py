"""What the stop rule looks at: which positions, how long the words are, and whether it rises."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from training_runs import QUICK, silent, training_run

from mecheval.errors import UsageError
from mecheval.metrics import accuracy as of_arrays
from mecheval.recipe import Recipe
from mecheval.tasks.batch import UNSCORED
from mecheval.training import loop, sweeps, validation
from mecheval.training.checkpoints import Checkpoint, state_sha256

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from mecheval.tasks import Batch

GRU = "gru[layers=1,width=16]"
ENDLESS = QUICK.replace({"stop_at": 1.5, "steps": 200, "check_every": 2})


def trainer(task: str, recipe: Recipe, model: str = GRU, emit=silent) -> loop.Trainer:
    run = training_run(model, task, recipe)
    return loop.Trainer(
        run.build(), run.task, run.encoding, recipe, seed=run.seed, device="cpu", emit=emit
    )


def predictions(training: loop.Trainer, batch: Batch) -> np.ndarray:
    """Answer every position by a whole forward pass."""
    with torch.inference_mode():
        logits_BTC = training.model.eval()(torch.as_tensor(batch.tokens_BT))
    answers_A = training.answers_A
    return answers_A[logits_BTC[..., answers_A].argmax(-1)].numpy()


@pytest.mark.parametrize("task", ["parity[max_length=8,min_length=8]", "atr[easy]"])
@pytest.mark.parametrize("on", ["token", "last"])
def test_it_is_what_a_test_calls_the_accuracy_of_these_positions(task: str, on: str) -> None:
    """The sequences of treecall are asked at several places and end differently."""
    training = trainer(task, QUICK.replace({"gate_on": on}))
    training.run(None)
    batch = training.data.validation(1.0)
    assert training.progress.accuracy == validation.share_right(training, batch)
    expected = {"token": of_arrays.token_accuracy, "last": of_arrays.last_accuracy}[on]
    right = expected(predictions(training, batch), batch.targets_BT)
    assert validation.share_right(training, batch) == pytest.approx(right, abs=1e-9)


def test_a_sequence_without_a_question_counts_nowhere() -> None:
    training = trainer("parity[max_length=8,min_length=8]", QUICK.replace({"gate_on": "last"}))
    batch = training.data.validation(1.0)
    silenced_BT = batch.targets_BT.copy()
    silenced_BT[::2] = UNSCORED
    part = dataclasses.replace(batch, targets_BT=silenced_BT)
    asked = batch.take(slice(1, None, 2))
    assert validation.share_right(training, part) == validation.share_right(training, asked)


def test_the_task_decides_where_the_recipe_does_not() -> None:
    assert trainer("parity", QUICK).recipe.gate_on == "last"
    assert trainer("ar", QUICK).recipe.gate_on == "token"
    assert training_run(task="parity").recipe.gate_on == "last"
    plain, last = (
        training_run(task="parity"),
        training_run(task="parity", recipe=QUICK.replace({"gate_on": "last"})),
    )
    assert plain.key == last.key
    assert plain.key != training_run(task="parity", recipe=QUICK.replace({"gate_on": "token"})).key


@pytest.mark.parametrize(("on", "n"), [("token", [512]), ("last", [512, 2048])])
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_stop_at_last_positions_is_confirmed_on_further_examples(
    on: str, n: list[int], confirmed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def share_right(_: loop.Trainer, batch: Batch) -> float:
        asked.append(len(batch))
        return 0.99 if len(batch) == 512 else 0.98 if confirmed else 0.9

    monkeypatch.setattr(validation, "share_right", share_right)
    recipe = QUICK.replace({"gate_on": on, "stop_at": 0.95, "steps": 8})
    progress = trainer("parity[max_length=8,min_length=8]", recipe).run(None)
    assert asked == n
    assert progress.passed is (confirmed or on == "token")
    assert progress.accuracy == (0.99 if on == "token" else 0.98 if confirmed else 0.9)


def test_further_examples_are_others() -> None:
    data = trainer("parity[max_length=8,min_length=8]", QUICK).data
    few, more = data.validation(1.0), data.validation(1.0, confirming=True)
    assert (len(few), len(more)) == (512, 2048)
    assert (few.tokens_BT != more.take(slice(512)).tokens_BT).any()


@pytest.mark.parametrize("curriculum", [(1.0,), (0.5, 1.0)])
def test_validation_words_are_as_long_as_asked(curriculum: tuple[float, ...]) -> None:
    recipe = dataclasses.replace(QUICK, stop_length=2, curriculum=curriculum, stop_at=0.0, steps=16)
    training, lengths = trainer("parity[max_length=8,min_length=8]", recipe), []
    validated = training.data.validation

    def watched(share: float, **how) -> Batch:
        lengths.append(validated(share, **how).n_positions - 1)
        return validated(share, **how)

    training.data.validation = watched  # type: ignore[method-assign]
    training.run(None)
    assert [*dict.fromkeys(lengths)] == [16 * share for share in curriculum]
    assert training.data.at(0, 1.0).n_positions - 1 == 8


def test_what_is_right_on_short_words_alone_is_trained_on() -> None:
    """Attention counts the symbols of short words, and cannot count further than it has seen."""
    model, task = "transformer[layers=2,width=32]", "parity[max_length=6,min_length=6]"
    recipe = Recipe(steps=200, check_every=20, stop_at=0.95)
    short = trainer(task, recipe, model).run(None)
    longer = trainer(task, recipe.replace({"stop_length": 4}), model).run(None)
    assert (short.passed, longer.passed) == (True, False)
    assert short.step < longer.step == 200


def test_words_that_the_model_cannot_take_are_refused() -> None:
    model = "transformer[layers=1,width=16,positions=learned,context=16]"
    trainer("parity[max_length=8,min_length=8]", QUICK, model)
    with pytest.raises(UsageError, match="needs 17 positions, and the model takes at most 16"):
        trainer("parity[max_length=8,min_length=8]", QUICK.replace({"stop_length": 2}), model)


@pytest.mark.parametrize(
    ("accuracies", "patience", "expected"),
    [
        ([0.5, 0.5, 0.5], 0, False),
        ([0.5, 0.5], 2, False),
        ([0.5, 0.5, 0.5], 2, True),
        ([0.5, 0.55, 0.5], 2, False),
        ([0.5, 0.505, 0.509], 2, True),
        ([0.5, 0.505, 0.51], 2, False),
        ([0.9, 0.5, 0.8], 2, True),
        ([0.9, 0.5, 0.8, 0.7], 2, True),
        ([0.5, 0.9, 0.8, 0.7], 2, True),
        ([0.5, 0.8, 0.7, 0.82], 2, False),
    ],
)
def test_a_stall_is_no_rise_of_the_best_within_patience(
    accuracies: list[float], patience: int, expected: bool
) -> None:
    assert validation.stalled(accuracies, Recipe(patience=patience)) is expected


def test_a_training_ends_where_its_accuracy_no_longer_rises(tmp_path: Path) -> None:
    recipe = ENDLESS.replace({"lr": 1e-9, "patience": 3})
    progress = trainer("parity[max_length=8,min_length=8]", recipe).run(None)
    assert (progress.stalled, progress.passed, progress.step) == (True, False, 8)
    run = training_run(GRU, recipe=recipe)
    assert run.record(progress, "").stopped == "patience"
    endless = trainer("parity[max_length=8,min_length=8]", ENDLESS.replace({"lr": 1e-9}))
    assert endless.run(None).step == 200


def test_patience_begins_anew_at_every_stage() -> None:
    """The longer words of a later stage begin lower, which is no stall."""
    recipe = dataclasses.replace(
        ENDLESS, lr=1e-9, stop_at=0.0, patience=3, curriculum=(0.5, 0.75, 1.0)
    )
    training = trainer("parity[max_length=8,min_length=8]", recipe)
    assert training.run(None).passed
    slow = dataclasses.replace(recipe, curriculum=(0.5, 1.0))
    training = trainer("parity[max_length=8,min_length=8]", slow)
    training.start(None)
    training.advance(training.step())
    training.advance(training.step())
    training.recipe = dataclasses.replace(slow, stop_at=1.5)
    while training.going:
        training.advance(training.step())
    assert (training.progress.stage, training.progress.stage_from) == (1, 1)
    assert (training.progress.stalled, training.progress.step) == (True, 2 + 8)


def test_patience_survives_an_interruption(tmp_path: Path, monkeypatch) -> None:
    recipe = ENDLESS.replace({"lr": 1e-9, "patience": 4})
    undisturbed = trainer("parity[max_length=8,min_length=8]", recipe)
    expected = undisturbed.run(None)
    monkeypatch.setattr(loop, "STEPS_BETWEEN_EVENTS", 1)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "SHARE_FOR_CHECKPOINTS", float("inf"))

    def interrupt(stage: str, at: int, total: int, accuracy: float | None) -> None:
        if at >= 5:
            raise KeyboardInterrupt

    killed = trainer("parity[max_length=8,min_length=8]", recipe, emit=interrupt)
    with pytest.raises(KeyboardInterrupt):
        killed.run(Checkpoint(tmp_path))
    resumed = trainer("parity[max_length=8,min_length=8]", recipe)
    assert resumed.run(Checkpoint(tmp_path)) == expected
    assert resumed.progress.step == 10
    assert state_sha256(resumed.model) == state_sha256(undisturbed.model)


@pytest.mark.parametrize("field", ["gate_on", "stop_length"])
def test_what_decides_the_comparison_cannot_be_swept(field: str) -> None:
    with pytest.raises(UsageError, match="what trainings are compared by, so a sweep"):
        sweeps.checked(Recipe(), {field: ["last"]})


def test_a_sweep_of_a_field_at_its_old_value_says_so() -> None:
    sweep = sweeps.checked(Recipe(), {"patience": [0, 4]})
    assert sweep == {"patience": [0, 4]}
    assert [member.patience for member in sweeps.members(Recipe(), sweep)] == [0, 4]
