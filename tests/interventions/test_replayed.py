"""Whole blocks replayed from the patched position on, where a checkpoint has keys and values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hf_families import build

from mecheval.interventions import recovery_grid
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.replay import RealBlocks

STREAMING = ("falcon", "bloom", "mpt", "gptj", "gpt_neo")
LENGTH = 12


def pairs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    clean_BT = torch.randint(3, 60, (3, LENGTH), generator=generator)
    corrupted_BT = clean_BT.clone()
    corrupted_BT[:, 6] = (corrupted_BT[:, 6] + 7) % 50 + 3
    corrupted_BT[1, 9] = 9
    ends = ([4, 5, 6], [7, 8, 9], [LENGTH - 1, LENGTH - 2, LENGTH - 1])
    return (clean_BT, corrupted_BT, *map(torch.tensor, ends))


@pytest.mark.parametrize("family", STREAMING)
def test_passes_begin_at_the_patched_position(family, monkeypatch):
    model = WrappedModel(build(family, initializer_range=0.2)).eval()
    lengths, real = set(), RealBlocks.run

    def watched(blocks, layer, stream_RTD, run_R):
        lengths.add(stream_RTD.shape[1])
        return real(blocks, layer, stream_RTD, run_R)

    how = {"components": ("block_in", "mixer_out", "block_out")}
    recovery_grid(model, *pairs(), **how, engine="blocks", positions=[6])  # the check is made once
    monkeypatch.setattr(RealBlocks, "run", watched)
    made = recovery_grid(model, *pairs(), **how, engine="blocks", positions=[6, 7, 9])
    wanted = recovery_grid(model, *pairs(), **how, engine="hooks", positions=[6, 7, 9])
    assert lengths == {LENGTH - 6, LENGTH - 7, LENGTH - 9}
    np.testing.assert_allclose(made.patched, wanted.patched, atol=1e-5)
    assert np.abs(wanted.patched - wanted.corrupted).max() > 1e-3


def test_weights_that_change_are_seen():
    model = WrappedModel(build("gptj")).eval()
    tokens = pairs()
    before = recovery_grid(model, *tokens, engine="blocks")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = recovery_grid(model, *tokens, engine="blocks")
    np.testing.assert_allclose(
        after.patched, recovery_grid(model, *tokens, engine="hooks").patched, atol=1e-6
    )
    assert not np.allclose(before.patched, after.patched)


@pytest.mark.parametrize("family", ["falcon_h1", "rwkv"])
def test_others_are_replayed_from_the_start(family):
    model = WrappedModel(build(family)).eval()
    blocks = model.replay(pairs()[0])
    assert blocks is not None
    assert blocks.behind(0) is blocks
    assert blocks.behind(1) is None
