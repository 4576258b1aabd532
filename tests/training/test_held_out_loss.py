"""Training on a text: validation loss, which ends it, chooses among recipes, and is kept along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from source_files import write_source
from training_runs import QUICK, silent

import mecheval
from mecheval.models.load import resolve
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import Spec
from mecheval.tasks import UNSCORED
from mecheval.tasks.tokenized import FIRST
from mecheval.training import loop, sweeps, validation
from mecheval.training.preparation import Workplace, prepare_best
from mecheval.training.training_run import TrainingRun

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.tasks import Task

GRU = Spec("gru", {"layers": 1, "width": 16})
OFTEN = Recipe(steps=24, check_every=8, batch=8, lr=0.01)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = write_source(tmp_path_factory.mktemp("source"))
    return mecheval.load_task(f"text[folder={folder},min_length=16,max_length=16,vocabulary=256]")


def run_of(task: Task, recipe: Recipe, snapshots: int | None = None) -> TrainingRun:
    source = resolve(GRU, Registry())
    return TrainingRun(source, task, source.encode(task), recipe, 0, snapshots)


def trained(task: Task, recipe: Recipe, cache: Path, **options):
    run = run_of(task, recipe, **options)
    return prepare_best([run], {}, Workplace(cache, "cpu"), emit=silent)


def test_it_is_the_loss_of_torch_on_the_validation_windows(text: Task) -> None:
    run = run_of(text, OFTEN)
    training = loop.Trainer(
        run.build(), text, run.encoding, OFTEN, seed=0, device="cpu", emit=silent
    )
    batch = training.data.validation(1.0)
    with torch.no_grad():
        logits = training.model(torch.as_tensor(batch.tokens_BT))[..., FIRST:].flatten(0, 1)
    targets = torch.as_tensor(batch.targets_BT).flatten()
    asked = targets != UNSCORED
    expected = torch.nn.functional.cross_entropy(logits[asked], targets[asked] - FIRST)
    accuracy, loss = validation.scores(training)
    assert loss == pytest.approx(float(expected), abs=1e-5)
    right = (logits[asked].argmax(-1) == targets[asked] - FIRST).float().mean()
    assert accuracy == pytest.approx(float(right), abs=1e-6)
    assert accuracy == pytest.approx(validation.accuracy(training), abs=1e-6)


def test_training_ends_at_the_loss_that_is_asked_for(text: Task, tmp_path: Path) -> None:
    whole = trained(text, OFTEN, tmp_path).record
    assert (whole.stopped, whole.steps) == ("budget", 24)
    assert len(whole.losses) == len(whole.curve) == 3
    assert whole.validation_loss == whole.losses[-1] < whole.losses[0]
    between = (whole.losses[0] + whole.losses[1]) / 2
    early = trained(text, OFTEN.replace({"stop_loss": between}), tmp_path).record
    assert (early.stopped, early.steps) == ("gate", 16)
    assert early.losses == pytest.approx(whole.losses[:2], abs=1e-6)


def test_an_accuracy_ends_nothing_there(text: Task, tmp_path: Path) -> None:
    easy = OFTEN.replace({"stop_at": 0.0, "steps": 8, "check_every": 4})
    assert trained(text, easy, tmp_path).record.stopped == "budget"


def test_patience_is_of_the_loss(text: Task, tmp_path: Path) -> None:
    still = OFTEN.replace({"lr": 1e-9, "patience": 2, "check_every": 4})
    record = trained(text, still, tmp_path).record
    assert (record.stopped, record.steps) == ("patience", 12)
    falling = OFTEN.replace({"patience": 1})
    assert trained(text, falling, tmp_path).record.stopped == "budget"


def test_snapshots_carry_their_loss(text: Task, tmp_path: Path) -> None:
    done = trained(text, OFTEN, tmp_path, snapshots=4)
    snapshots = done.run.snapshots_in(tmp_path)
    assert snapshots is not None
    states = [snapshots.load(index)[1] for index in snapshots.chosen()]
    assert [state["step"] for state in states] == [0, 8, 16, 24]
    assert [state["loss"] for state in states[1:]] == pytest.approx(done.record.losses)
    assert states[0]["loss"] > states[1]["loss"]


def test_a_report_has_them(text: Task, tmp_path: Path) -> None:
    report = mecheval.evaluate(
        "gru[layers=1,width=16]", text, metrics=["language"], limit=16, device="cpu",
        recipe={**OFTEN.fields(), "steps": 8}, snapshots=2, output=tmp_path,
    )[0]  # fmt: skip
    assert report.training is not None
    assert [s.validation_loss for s in report.snapshots][-1] == report.training.validation_loss
    losses = [r.value for s in report.snapshots for r in s.metrics if r.id == "loss/1x"]
    assert len(losses) == 2
    assert losses == sorted(losses, key=lambda loss: -(loss or 0.0))


def test_a_sweep_is_chosen_by_the_loss(text: Task, tmp_path: Path) -> None:
    record = trained(text, OFTEN.replace({"steps": 8}), tmp_path).record
    worse = record.model_copy(update={"validation_accuracy": 0.99, "validation_loss": 9.0})
    assert sweeps.choose([worse, record]) == 1


def test_a_task_of_accuracy_has_none(tmp_path: Path) -> None:
    task = mecheval.load_task("parity")
    record = trained(task, QUICK.replace({"stop_at": 1.5, "stop_loss": 9.0}), tmp_path).record
    assert (record.stopped, record.validation_loss, record.losses) == ("budget", None, [])
