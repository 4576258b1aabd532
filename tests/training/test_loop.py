"""Training learns, stops at its gate, and resumes to the same bits after an interruption."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mecheval
from mecheval import seeding
from mecheval.models.load import resolve
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.tasks.splits import draw
from mecheval.training import loop
from mecheval.training.checkpoints import Checkpoint, state_sha256
from mecheval.training.data import STEPS_PER_POOL, TrainingData
from mecheval.training.optimizers import build_optimizers, learning_rate_factor

QUICK = Recipe(steps=24, check_every=8, batch=8, warmup=4)


def trainer(
    model: str = "gru[layers=1,width=16]",
    task: str = "parity[max_length=8,min_length=8]",
    recipe: Recipe = QUICK,
    emit=lambda *event: None,
    seed: int = 0,
) -> loop.Trainer:
    source, chosen = resolve(parse_spec(model), Registry()), mecheval.load_task(task)
    encoding = source.encode(chosen)
    built = source.build(encoding, seed=seed)
    return loop.Trainer(built, chosen, encoding, recipe, seed=seed, device="cpu", emit=emit)


class InterruptionError(Exception):
    pass


def interrupted_at(step: int):
    def emit(stage: str, at: int, total: int, accuracy: float | None) -> None:
        if at >= step:
            raise InterruptionError

    return emit


def test_an_lstm_learns_parity_and_stops_at_the_gate() -> None:
    recipe = Recipe(lr=1e-2, steps=600)
    training = trainer("lstm[layers=1,width=32]", "parity", recipe)
    progress = training.run(None)
    assert progress.passed
    assert progress.step < 600
    assert progress.accuracy is not None
    assert progress.accuracy >= recipe.stop_at
    assert [step for step, _, _ in progress.curve] == list(range(50, progress.step + 1, 50))


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("gru[layers=1,width=16]", QUICK),
        ("mamba[layers=1,width=16]", QUICK),
        ("transformer[layers=1,width=16]", QUICK.replace({"optimizer": "muon"})),
        ("gru[layers=1,width=16]", QUICK.replace({"curriculum": [0.5, 1.0], "stop_at": 0.4})),
        ("lstm[layers=1,width=16]", QUICK.replace({"precision": "bfloat16", "steps": 21})),
    ],
    ids=["adamw", "mamba", "muon", "curriculum", "bfloat16"],
)
def test_a_killed_training_resumes_to_the_same_bits(
    model: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "STEPS_BETWEEN_EVENTS", 1)
    undisturbed = trainer(model, recipe=recipe)
    expected = undisturbed.run(None)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "SHARE_FOR_CHECKPOINTS", float("inf"))
    checkpoint = Checkpoint(tmp_path)
    for step in (7, 8, 13):
        killed = trainer(model, recipe=recipe, emit=interrupted_at(step))
        with pytest.raises(InterruptionError):
            killed.run(checkpoint)
    resumed = trainer(model, recipe=recipe)
    assert resumed.run(checkpoint) == expected
    assert state_sha256(resumed.model) == state_sha256(undisturbed.model)


def test_dropout_has_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(disturb: bool) -> str:
        training = trainer()
        dropout = nn.Dropout(0.5)
        block = training.model.blocks[0]
        block.register_forward_hook(lambda module, args, output: dropout(output))
        training.has_dropout = True
        for _ in range(3):
            if disturb:
                torch.rand(1)
            training.step()
            training.progress.step += 1
        return state_sha256(training.model)

    before = torch.random.get_rng_state()
    assert run(disturb=False) == run(disturb=True)
    torch.random.set_rng_state(before)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    trainer().run(None)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_batches_depend_on_the_seed_and_the_step_alone() -> None:
    training = trainer(task="parity[min_length=4,max_length=9]")
    data, again = training.data, TrainingData(**{
        name: getattr(training.data, name) for name in ("task", "encoding", "seed", "batch")
    })  # fmt: skip
    lengths = set()
    for step in (0, 3, 40, 3, STEPS_PER_POOL * 7):
        batch = data.at(step, 1.0)
        lengths.add(batch.n_positions - 1)
        assert len(batch) == 8
    np.testing.assert_array_equal(data.at(3, 1.0).tokens_BT, again.at(3, 1.0).tokens_BT)
    first, second = again.at(3, 1.0), again.at(4, 1.0)
    assert not np.array_equal(first.tokens_BT, second.tokens_BT)
    for step in range(0, 40 * STEPS_PER_POOL, STEPS_PER_POOL):
        lengths.add(data.at(step, 1.0).n_positions - 1)
    assert lengths == {4, 5, 6, 7, 8, 9}
    assert data.at(0, 0.5).n_positions - 1 in {4, 5}
    assert data.validation(1.0).n_positions - 1 == 9


TREES = "atr[max_length=24,terminals=8]"


def drawn_first(data: TrainingData):
    """Return the examples of the first steps as they are drawn."""
    rng = seeding.stream(data.seed, "train_data", 0)
    length = int(rng.integers(data.task.min_length, data.task.max_length + 1))
    return draw(data.task, rng, STEPS_PER_POOL * data.batch, length=length, split="train")


def test_examples_that_end_alike_share_a_step() -> None:
    data = trainer(task=TREES).data
    steps = [data.at(step, 1.0) for step in range(STEPS_PER_POOL)]
    drawn = data.encoding.code_C[drawn_first(data).tokens_BT]
    np.testing.assert_array_equal(
        np.unique(np.concatenate([step.tokens_BT for step in steps]), axis=0),
        np.unique(drawn, axis=0),
    )
    ends = sorted((step.end_B.min(), step.end_B.max()) for step in steps)
    assert all(high <= low for (_, high), (low, _) in pairwise(ends))
    assert [step.end_B.max() for step in steps] != [high for _, high in ends]


def test_examples_of_one_length_keep_their_order() -> None:
    data = trainer().data
    tokens = data.encoding.code_C[drawn_first(data).tokens_BT]
    np.testing.assert_array_equal(data.at(1, 1.0).tokens_BT, tokens[8:16])


@pytest.mark.parametrize("model", ["attention", "mamba2", "hyena", "gru"])
def test_what_lies_behind_the_last_question_changes_nothing(model, monkeypatch) -> None:
    def trained():
        training = trainer(f"{model}[layers=1,width=16]", TREES, QUICK.replace({"steps": 4}))
        training.model.double()
        training.optimizers = build_optimizers(training.model, training.recipe)
        training.run(None)
        return training

    short = trained()
    inputs = loop.Trainer.inputs
    monkeypatch.setattr(
        loop.Trainer, "inputs", lambda self, part, end: inputs(self, part, part.n_positions)
    )
    whole = trained()
    assert short.progress.accuracy == whole.progress.accuracy
    for name, parameter in short.parameters.items():
        torch.testing.assert_close(parameter, whole.parameters[name], rtol=1e-8, atol=1e-10)


def test_muon_takes_the_matrices_inside_the_blocks() -> None:
    model = mecheval.load_model("transformer[layers=1,width=16]", vocab_size=5)
    adamw, muon = build_optimizers(model, Recipe(optimizer="muon", lr=1e-2, lr_vectors=1e-3))
    names = {id(p): name for name, p in model.named_parameters()}
    moved = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert moved
    assert all(name.startswith("layers.") for name in moved)
    kept = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert kept | moved == set(names.values())
    assert not kept & moved
    assert adamw.param_groups[0]["lr"] == 1e-3
    assert muon.param_groups[0]["lr"] == 1e-2


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("constant", 1.0, 1.0), ("cosine", 0.5, 0.0), ("linear", 0.5, 0.0)],
)
def test_learning_rate_factors(schedule: str, middle: float, end: float) -> None:
    recipe = Recipe(warmup=10, steps=110).replace({"schedule": schedule})
    assert learning_rate_factor(recipe, 0) == pytest.approx(0.1)
    assert learning_rate_factor(recipe, 9) == pytest.approx(1.0)
    assert learning_rate_factor(recipe, 60) == pytest.approx(middle)
    assert learning_rate_factor(recipe, 110) == pytest.approx(end, abs=1e-9)


@pytest.mark.parametrize("loss", [1.5, float("nan")])
def test_a_loss_that_is_not_finite_is_null(loss: float) -> None:
    training = trainer()
    training._validate(loss)
    assert training.progress.curve[0][1] == (1.5 if loss == 1.5 else None)
    assert training.progress.curve[0][2] == training.progress.accuracy


def launch(n: int, *command: str) -> None:
    """Run something in processes that accelerate starts together on the CPU."""
    options = ["--cpu", "--num_processes", str(n), "--num_machines", "1"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options, *command]
    subprocess.run(launcher, check=True, capture_output=True, timeout=300)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Data-parallel training over two processes gives the weights of one process."""
    script = tmp_path / "job.py"
    script.write_text(
        "import sys, torch, os\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_loop import trainer\n"
        "training = trainer()\n"
        "training.run(None)\n"
        "if training.accelerator.is_main_process:\n"
        "    torch.save(training.model.state_dict(), sys.argv[1])\n"
    )
    results = []
    for n in (1, 2):
        target = tmp_path / f"{n}.pt"
        launch(n, str(script), str(target))
        results.append(torch.load(target))
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_of_two_processes_reports_what_one_does(tmp_path: Path) -> None:
    """The main process alone measures and writes; the reports agree but for rounding."""
    reports = []
    for n in (1, 2):
        folder = tmp_path / f"{n}"
        command = ["--module", "mecheval", "run", "--models", "gru[layers=1,width=16]"]
        command += ["--tasks", "parity,dyck", "--recipe", "steps=20", "--metrics", "recovery"]
        command += ["--limit", "64", "--device", "cpu", "--output", str(folder / "results")]
        launch(n, *command, "--cache", str(folder / "cache"))
        paths = sorted((folder / "results").rglob("seed0*.json"))
        reports.append([mecheval.load_report(path) for path in paths])
    assert len(reports[0]) == len(reports[1]) == 2
    for one, two in zip(*reports, strict=True):
        assert one.key == two.key
        assert two.status == "success"
        assert one.training is not None
        assert two.training is not None
        losses = [np.array([loss for _, loss, _ in r.training.curve]) for r in (one, two)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
