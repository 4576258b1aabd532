"""Runs taken up at a layer with another stream, against edits by hooks in whole runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mecheval
from mecheval.interventions import answer_logits, trace
from mecheval.interventions.stream_edits import StreamEdits
from mecheval.models.sites import stream_sites
from mecheval.models.wrapped.model import WrappedModel
from tests.hf_families import build

ANSWERS = [3, 1, 5]


def models(name: str) -> mecheval.SequenceModel:
    if name.startswith("hf:"):
        return WrappedModel(build(name[3:]))
    return mecheval.load_model(name, task="dyck")


@pytest.mark.parametrize(
    "name", ["transformer", "mamba", "lstm", "hf:gpt_neox", "hf:mamba", "hf:falcon"]
)
def test_logits_are_those_of_hooked_runs(name: str) -> None:
    model = models(name)
    rng = np.random.default_rng(0)
    tokens_BT = rng.integers(1, 6, (5, 9))
    stream_edits = StreamEdits(model, tokens_BT, ANSWERS, batch_size=3)
    row_R = np.array([4, 0, 0, 2, 3, 1, 4])
    shift_RD = torch.as_tensor(rng.normal(size=(7, model.d_model)), dtype=torch.float32)
    for layer in [*range(model.n_layers + 1), 0]:
        made = stream_edits.logits(layer, row_R, lambda x_RTD, rows: x_RTD + shift_RD[rows, None])
        site = stream_sites(model.n_layers)[layer]
        wanted = answer_logits(
            model, tokens_BT[row_R], ANSWERS, edits={site: lambda x_RTD: x_RTD + shift_RD[:, None]}
        )
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer", "lstm", "hf:gpt_neox", "hf:falcon"])
def test_a_stream_is_changed_again_at_later_layers(name: str) -> None:
    model = models(name)
    rng = np.random.default_rng(0)
    tokens_BT = rng.integers(1, 6, (5, 9))
    stream_edits = StreamEdits(model, tokens_BT, ANSWERS, batch_size=3)
    row_R = np.array([4, 0, 0, 2, 3])
    n_layers = model.n_layers
    shift_LRD = rng.normal(size=(n_layers + 1, 5, model.d_model))
    shift_LRD = torch.as_tensor(shift_LRD, dtype=torch.float32)

    def change(layer: int):
        return lambda x_RTD, rows: x_RTD + shift_LRD[layer][rows, None]

    later = {layer: change(layer) for layer in range(1, n_layers + 1)}
    made = stream_edits.logits(0, row_R, change(0), later=later)
    edits = {
        site: (lambda x_RTD, at=layer: x_RTD + shift_LRD[at][:, None])
        for layer, site in enumerate(stream_sites(n_layers))
    }
    wanted = answer_logits(model, tokens_BT[row_R], ANSWERS, edits=edits)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["transformer", "lstm", "hf:gpt_neox", "hf:falcon"])
def test_blocks_are_left_out(name: str) -> None:
    """The stream behind the block is that before it: what the block writes is taken off again."""
    model = models(name)
    tokens_BT = np.random.default_rng(0).integers(1, 6, (5, 9))
    stream_edits = StreamEdits(model, tokens_BT, ANSWERS, batch_size=3)
    sites = stream_sites(model.n_layers)
    streams = trace(model, tokens_BT, sites)
    every = np.arange(5)
    for block in range(model.n_layers):
        made = stream_edits.logits(block, every, lambda x_RTD, rows: 2 * x_RTD, enters=block + 1)
        before_BTD = torch.as_tensor(streams[sites[block]])
        edits = {sites[block + 1]: lambda x_RTD, before_BTD=before_BTD: 2 * before_BTD}
        wanted = answer_logits(model, tokens_BT, ANSWERS, edits=edits)
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_layers_below_are_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models("transformer")
    stream_edits = StreamEdits(model, np.ones((4, 6), np.int64), ANSWERS, batch_size=8)
    stream_edits.logits(1, np.arange(4), lambda x_RTD, rows: x_RTD)
    runs = []
    block = model.blocks[0]
    monkeypatch.setattr(block.mixer, "project", lambda *args, **kwargs: runs.append(1))
    stream_edits.logits(1, np.arange(4), lambda x_RTD, rows: 2 * x_RTD)
    assert runs == []
