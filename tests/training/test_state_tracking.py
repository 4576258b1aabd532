"""Tasks of state tracking can be learned: a small LSTM passes the gate in a few hundred steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mecheval
from mecheval import seeding
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.tasks import UNSCORED
from mecheval.tasks.splits import draw
from mecheval.training.loop import Trainer


@pytest.mark.parametrize(
    ("spec", "steps", "at_4x"),
    [
        ("group[name=z5]", 400, 0.5),
        ("flipflop", 200, 0.99),
        ("parity[range]", 200, 0.99),
        ("s3[reveal_rate=0.2]", 400, 0.9),
    ],
)
def test_an_lstm_of_width_64_learns(spec: str, steps: int, at_4x: float) -> None:
    task = mecheval.load_task(spec)
    source = resolve(parse_spec("lstm[layers=2,width=64]"), Registry())
    encoding = source.encode(task)
    recipe = source.recipe.replace({"steps": steps})
    model = source.build(encoding, seed=0)
    trainer = Trainer(
        model, task, encoding, recipe, seed=0, device="cpu", emit=lambda *event: None
    )  # fmt: skip
    assert trainer.run(None).passed
    for length, least in ((task.max_length, 0.98), (4 * task.max_length, at_4x)):
        batch = draw(task, seeding.stream(0, "test", length), 256, length=length, split="test")
        batch = batch.recoded(encoding.code_C)
        with torch.inference_mode():
            found_BT = trainer.model(torch.as_tensor(batch.tokens_BT)).argmax(-1).numpy()
        scored_BT = batch.targets_BT != UNSCORED
        assert np.mean((found_BT == batch.targets_BT)[scored_BT]) >= least
