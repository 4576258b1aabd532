"""Streams: independent of each other, the same everywhere, and no global state."""

import random

import numpy as np
import torch

from mecheval.seeding import STREAMS, derive, listed, stream, torch_stream


def test_derived_seeds_never_change() -> None:
    # Written down once: every published report lists these numbers.
    assert derive(0, "init") == 1519069808562059438
    assert derive(1, "train_data", 3) == 4255151501195396888


def test_purposes_and_seeds_have_different_streams() -> None:
    seeds = [derive(seed, name) for seed in range(50) for name in STREAMS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "2") != derive(12)


def test_a_stream_repeats() -> None:
    assert np.array_equal(stream(5, "pairs").random(8), stream(5, "pairs").random(8))
    first, second = (torch.rand(8, generator=torch_stream(5, "init")) for _ in range(2))
    assert torch.equal(first, second)


def test_global_random_state_is_left_alone() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is looked at
    torch.manual_seed(0)
    before = random.getstate(), _numpy_state(), torch.get_rng_state()
    stream(1, "init").random(4)
    torch.rand(4, generator=torch_stream(1, "init"))
    assert random.getstate() == before[0]
    assert _numpy_state() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False))  # noqa: NPY002


def test_reports_list_every_stream() -> None:
    assert listed(7) == {name: derive(7, name) for name in STREAMS}
