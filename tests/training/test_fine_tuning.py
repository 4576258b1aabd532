"""Fine-tuning a checkpoint, against a loop that shares nothing with ours but the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hf_families import build
from hf_tokenizers import character_tokenizer
from training_runs import silent

import mecheval
from mecheval.models.hub.source import FINE_TUNING
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import Spec
from mecheval.tasks.batch import UNSCORED
from mecheval.training.data import TrainingData
from mecheval.training.preparation import prepare

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 4
RECIPE = FINE_TUNING.replace({"steps": STEPS, "batch": 4, "check_every": 2, "lr": 1e-3})


@pytest.fixture(params=["gpt_neox", "mamba"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a tiny checkpoint; the head of Mamba is its embedding."""
    module: Any = build(request.param, num_hidden_layers=2)
    module.save_pretrained(tmp_path / "checkpoint")
    character_tokenizer().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def by_hand(folder: Path, data: TrainingData) -> Any:
    """Train all weights by AdamW, its rate falling to zero, on the answers alone."""
    from transformers import AutoModelForCausalLM

    module: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    module.train()
    for step in range(STEPS):
        batch = data.at(step, 1.0)
        logits_BTC = module(torch.from_numpy(batch.tokens_BT)).logits
        row_N, position_N = np.nonzero(batch.targets_BT != UNSCORED)
        target_N = torch.from_numpy(batch.targets_BT[row_N, position_N])
        loss = torch.nn.functional.cross_entropy(logits_BTC[row_N, position_N], target_N)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return module


def test_all_weights_take_the_steps_of_a_plain_loop(checkpoint: Path, tmp_path: Path) -> None:
    source = resolve(Spec(f"hf:{checkpoint}"), Registry())
    task = mecheval.load_task("dyck[max_length=8,min_length=8]")
    encoding = source.encode(task)
    place: Any = {"seed": 1, "cache": tmp_path / "cache", "device": "cpu", "emit": silent}
    trained = prepare(source, task, encoding, RECIPE, **place)
    assert trained.record.steps == STEPS
    before = source.build(encoding, seed=1).state_dict()
    theirs = by_hand(checkpoint, TrainingData(task, encoding, 1, RECIPE.batch)).state_dict()
    ours = trained.model.state_dict()
    assert {f"module.{name}" for name in theirs} == set(ours)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[f"module.{name}"], value, rtol=1e-4, atol=1e-5)
    moved = [name for name, value in before.items() if not torch.equal(ours[name], value)]
    assert set(moved) == {f"module.{name}" for name, _ in trained.model.module.named_parameters(
        remove_duplicate=False
    )}  # fmt: skip

    again = prepare(source, task, encoding, RECIPE, **place)
    assert again.record == trained.record
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, ours[name])
    module: Any = again.model.module
    head, embedding = module.get_output_embeddings(), module.get_input_embeddings()
    assert (head.weight is embedding.weight) == module.config.tie_word_embeddings


def test_the_untrained_control_has_the_shape_and_the_tokens_of_the_checkpoint(
    checkpoint: Path,
) -> None:
    source = resolve(Spec(f"hf:{checkpoint}"), Registry())
    encoding = source.encode(mecheval.load_task("dyck"))
    own, control = source.build(encoding, seed=0), source.untrained(encoding, seed=0)
    shapes = [
        {name: value.shape for name, value in model.state_dict().items()}
        for model in (own, control)
    ]
    assert shapes[0] == shapes[1]
    matrices = [name for name, parameter in own.named_parameters() if parameter.ndim == 2]
    other = source.untrained(encoding, seed=1)
    for name in matrices:
        if "A_log" not in name:  # always the same: it is no draw
            drawn = control.state_dict()[name]
            assert not torch.equal(drawn, own.state_dict()[name])
            assert not torch.equal(drawn, other.state_dict()[name])
