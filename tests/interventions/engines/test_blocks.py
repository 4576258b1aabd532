"""Whole blocks replayed from the patched position on, where a checkpoint has keys and values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from hf_families import build
from plain_modules import Recurrent

from mecheval.interventions import recovery_grid
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.replay.blocks import RealBlocks, Replayer

STREAMING = ("falcon", "bloom", "mpt", "gptj", "gpt_neo")
WITH_MASKS = ("llama", "gpt2", "qwen2", "gpt_neox", "phi3")
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


@pytest.mark.parametrize("n_pairs", mostly_slow([1, 2, 3], always=[1, 3]))
@pytest.mark.parametrize("family", mostly_slow(WITH_MASKS, always=WITH_MASKS[:2]))
def test_the_last_position_is_patched_too(family, n_pairs):
    """A run of one token behind a cache is given no mask, which other runs are given."""
    model = WrappedModel(build(family, initializer_range=0.2)).eval()
    tokens = [part[:n_pairs] for part in pairs()]
    tokens[1][:, LENGTH - 1] = (tokens[1][:, LENGTH - 1] + 11) % 50 + 3
    tokens[-1][:] = LENGTH - 1
    how = {"components": ("block_in", "mixer_out", "block_out")}
    made = recovery_grid(model, *tokens, **how, engine="blocks")
    wanted = recovery_grid(model, *tokens, **how, engine="hooks")
    np.testing.assert_allclose(made.patched, wanted.patched, atol=1e-5)
    moved = np.abs(wanted.patched - wanted.corrupted)[:, :, LENGTH - 1]
    assert moved.max() > 1e-3
    alone = recovery_grid(model, *tokens, **how, engine="blocks", positions=[LENGTH - 1])
    np.testing.assert_allclose(alone.patched[:, :, 0], wanted.patched[:, :, -1], atol=1e-5)


@pytest.mark.parametrize("engine", ["blocks", "tails"])
def test_positions_that_are_patched_together(engine):
    """From before the change, over it, and beyond the end of the sequence."""
    model = WrappedModel(build("llama", initializer_range=0.2)).eval()
    how = {"components": ("block_in", "mixer_out", "block_out"), "positions": [5, 6, 10], "span": 4}
    made = recovery_grid(model, *pairs(), **how, engine=engine)
    wanted = recovery_grid(model, *pairs(), **how, engine="hooks")
    assert made.execution.engine == engine
    np.testing.assert_allclose(made.patched, wanted.patched, atol=1e-5)
    assert (np.abs(wanted.patched - wanted.corrupted).max((0, 1)) > 1e-3).all()
    whole = made.component("block_in")[0, 1]  # holds both changes of the pair that has two
    np.testing.assert_allclose(whole, made.clean, atol=1e-5)


def test_a_position_without_a_tail_is_replayed_from_the_start(monkeypatch):
    """Where the blocks are given something that they are not given elsewhere."""
    model = WrappedModel(build("llama", initializer_range=0.2)).eval()
    wanted = recovery_grid(model, *pairs(), engine="hooks")
    known = Replayer.knows

    def others_alone(replayer, tail):
        return known(replayer, tail) and tail.stream_PTD.shape[1] != LENGTH - 7

    monkeypatch.setattr(Replayer, "knows", others_alone)
    made = recovery_grid(model, *pairs(), engine="blocks")
    np.testing.assert_allclose(made.patched, wanted.patched, atol=1e-5)
    with torch.no_grad():
        blocks = model.replay(pairs()[0])
        assert blocks.behind(7) is None
        assert blocks.behind(8) is not None


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


def test_blocks_without_a_cache_are_replayed_from_the_start():
    model = WrappedModel(Recurrent(in_list=True)).eval()
    tokens = [part % 13 for part in pairs()]
    with torch.no_grad():
        blocks = model.replay(tokens[0])
        assert blocks is not None
        assert blocks.behind(0) is blocks
        assert blocks.behind(1) is None
    made, wanted = (recovery_grid(model, *tokens, engine=engine) for engine in ("blocks", "hooks"))
    np.testing.assert_allclose(made.patched, wanted.patched, atol=1e-6)
