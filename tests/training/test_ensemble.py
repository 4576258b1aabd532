"""An ensemble leads to what its members lead to by themselves."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from training_runs import QUICK, exact, silent, training_run

from mecheval.training import data, loop
from mecheval.training.checkpoints import Checkpoint
from mecheval.training.ensemble import Ensemble
from mecheval.training.grouping import groups, most_together

if TYPE_CHECKING:
    from pathlib import Path

STACKED = (
    "transformer", "mamba", "mamba2", "deltanet", "gated_deltanet", "based", "base_conv",
    "hyena", "h3", "gla", "lstm", "gru", "attention", "rwkv7", "hybrid", "deltaproduct",
    "gated_deltaproduct",
)  # fmt: skip
SLOW = (
    "gated_deltanet",
    "base_conv",
    "h3",
    "gru",
    "attention",
    "rwkv7",
    "hybrid",
    "deltaproduct",
    "gated_deltaproduct",
)
"""Those whose parts others have too."""

RATES = (3e-3, 1e-3, 1e-2)


@pytest.fixture(autouse=True)
def _few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "N_VALIDATION", 32)


def trainers(tmp_path, *runs, dtype=torch.float32):
    made = [run.trainer(tmp_path, device="cpu", emit=silent) for run in runs]
    return [exact(trainer) if dtype == torch.float64 else trainer for trainer in made]


def members(model: str, **fields):
    """Return runs of three learning rates, the second of which takes more steps than the others."""
    return [
        training_run(
            f"{model}[layers=2,width=16]", "ar[keys=6,values=6,pairs=3]",
            QUICK.replace({"lr": lr, "steps": 5 if lr == 1e-3 else 4, "check_every": 4, **fields}),
        )
        for lr in RATES
    ]  # fmt: skip


def assert_equal(alone, together, *, tolerance: float) -> None:
    for one, other in zip(alone, together, strict=True):
        assert one.progress.step == other.progress.step
        for (_, loss, accuracy), (_, loss2, accuracy2) in zip(
            one.progress.curve, other.progress.curve, strict=True
        ):
            assert loss2 == pytest.approx(loss, rel=tolerance)
            assert accuracy2 == accuracy
        for name, parameter in one.parameters.items():
            scale = float(parameter.detach().abs().max()) + 1e-30
            difference = float((parameter - other.parameters[name]).detach().abs().max())
            assert difference <= tolerance * scale, name


@pytest.mark.parametrize(
    "model",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in STACKED],
)
def test_members_that_stop_at_different_steps_end_as_by_themselves(model, tmp_path) -> None:
    alone = trainers(tmp_path, *members(model), dtype=torch.float64)
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *members(model), dtype=torch.float64))
    ended = list(ensemble.run([None] * 3))
    assert [ensemble.trainers.index(trainer) for trainer in ended] == [0, 2, 1]
    assert [trainer.progress.together for trainer in ensemble.trainers] == [3, 3, 3]
    assert ensemble.reason is None
    assert_equal(alone, ensemble.trainers, tolerance=1e-10)


def test_models_that_cannot_be_stacked_are_trained_one_by_one(tmp_path, monkeypatch) -> None:
    """The fused layers of torch cannot, if they are called where their recurrence should be."""
    source = members("lstm")[0].source
    monkeypatch.setattr(sys.modules[type(source).__module__], "is_lifted", lambda: False)
    alone = trainers(tmp_path, *members("lstm"), dtype=torch.float64)
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *members("lstm"), dtype=torch.float64))
    ended = list(ensemble.run([None] * 3))
    assert [ensemble.trainers.index(trainer) for trainer in ended] == [0, 1, 2]
    assert [trainer.progress.together for trainer in ensemble.trainers] == [1, 1, 1]
    assert ensemble.reason
    assert_equal(alone, ensemble.trainers, tolerance=1e-10)


@pytest.mark.parametrize("model", ["transformer", "mamba", "mamba2", "based"])
def test_float32_agrees_but_for_rounding(model, tmp_path) -> None:
    """The C kernels of Mamba among them; more steps would let rounding errors grow."""
    recipe = {"steps": 3, "check_every": 3}
    alone = trainers(tmp_path, *members(model, **recipe))
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *members(model, **recipe)))
    list(ensemble.run([None] * 3))
    assert ensemble.reason is None
    assert_equal(alone, ensemble.trainers, tolerance=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "muon"},
        {"precision": "bfloat16"},
        {"curriculum": [0.5, 1.0], "stop_at": 0.4},
    ],
    ids=["muon", "bfloat16", "curriculum"],
)
def test_recipes_keep_their_meaning(fields, tmp_path) -> None:
    runs = [
        training_run(task="parity[max_length=8,min_length=4]", recipe=QUICK.replace(
            {"lr": lr, **fields})) for lr in (1e-2, 1e-3)
    ]  # fmt: skip
    alone = trainers(tmp_path, *runs)
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *runs))
    list(ensemble.run([None] * 2))
    assert ensemble.trainers[0].progress.together == 2
    assert_equal(alone, ensemble.trainers, tolerance=2e-2 if "precision" in fields else 1e-3)


@pytest.mark.parametrize(
    "task", ["parity[max_length=8,min_length=8]", "atr[max_length=24,terminals=8]"]
)
def test_members_of_several_seeds_see_their_own_examples(task, tmp_path) -> None:
    runs = [training_run(task=task, seed=seed) for seed in range(3)]
    alone = trainers(tmp_path, *runs, dtype=torch.float64)
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *runs, dtype=torch.float64))
    list(ensemble.run([None] * 3))
    assert [t.progress.together for t in ensemble.trainers] == [3, 3, 3]
    assert_equal(alone, ensemble.trainers, tolerance=1e-10)
    assert len({trainer.progress.curve[0][1] for trainer in alone}) == 3


def test_a_member_that_diverges_leaves_the_others_alone(tmp_path) -> None:
    wild = QUICK.replace({"lr": 1e300})
    runs = [training_run(recipe=recipe) for recipe in (QUICK, wild, QUICK.replace({"lr": 1e-2}))]
    alone = trainers(tmp_path, *runs, dtype=torch.float64)
    for trainer in alone:
        trainer.run(None)
    ensemble = Ensemble(trainers(tmp_path, *runs, dtype=torch.float64))
    ended = list(ensemble.run([None] * 3))
    assert ended[0] is ensemble.trainers[1]
    progress = ended[0].progress
    assert progress.diverged
    assert not progress.passed
    assert progress.step == progress.diverged_from + loop.EVIDENCE - 1 < 24
    assert_equal(alone[::2], ensemble.trainers[::2], tolerance=1e-10)
    assert all(math.isfinite(loss) for _, loss, _ in ensemble.trainers[0].progress.curve)


class KilledError(Exception):
    pass


def test_members_resume_at_different_steps(tmp_path: Path, monkeypatch) -> None:
    runs = [training_run(recipe=QUICK.replace({"lr": lr})) for lr in (1e-3, 1e-2)]
    undisturbed = Ensemble(trainers(tmp_path, *runs))
    list(undisturbed.run([None] * 2))
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "SHARE_FOR_CHECKPOINTS", float("inf"))
    checkpoints = [Checkpoint(tmp_path / name) for name in "ab"]
    killed = Ensemble(trainers(tmp_path, *runs))
    step = killed._step

    def until_9(going):
        if going[0].progress.step == 9:
            raise KilledError
        step(going)

    monkeypatch.setattr(killed, "_step", until_9)
    with pytest.raises(KilledError):
        list(killed.run(checkpoints))
    killed.trainers[0].step()  # one of them is a step ahead
    killed.trainers[0].advance(0.5)
    resumed = Ensemble(trainers(tmp_path, *runs))
    losses, sizes = resumed._losses, []
    monkeypatch.setattr(resumed, "_losses", lambda alike: sizes.append(len(alike)) or losses(alike))
    list(resumed.run(checkpoints))
    assert [t.progress.step for t in resumed.trainers] == [24, 24]
    assert sizes == [1, *[2] * 14], "the one behind catches up first"
    assert_equal(undisturbed.trainers, resumed.trainers, tolerance=1e-4)


def test_runs_are_grouped_by_shape() -> None:
    runs = [
        training_run(), training_run(recipe=QUICK.replace({"lr": 1e-2})), training_run(seed=1),
        training_run("transformer[layers=2,width=8]"), training_run(task="z6"),
        training_run(recipe=QUICK.replace({"batch": 16})),
        training_run(recipe=QUICK.replace({"precision": "bfloat16"})),
    ]  # fmt: skip
    found = list(groups(runs, device="cuda", asked=None))
    assert found[0] == runs[:3]
    assert [len(group) for group in found] == [3, 1, 1, 1, 1]
    sizes = [len(group) for group in groups(runs[:3], device="cpu", asked=2)]
    assert sizes == [2, 1]
    assert most_together(runs[0], device="cpu", asked=1) == 1
    assert most_together(runs[0], device="cpu", asked=None) > 1
    assert most_together(training_run("transformer[width=256]"), device="cpu", asked=None) == 1
