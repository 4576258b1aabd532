"""The counted minimum of operations, by hand and against torch's own counter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import counting
from benchmarks.counting import Counter, ParallelAttention, SelectiveScan
from benchmarks.subjects import mamba_shape, neox_shape

ALL = np.arange(6)
TINY = {"vocab_size": 11, "hidden_size": 12, "num_hidden_layers": 3}


class Digits:
    """A block whose four kinds of work can be read off the digits of a count."""

    def whole(self, t: np.ndarray) -> np.ndarray:
        return np.full(t.shape, 1000)

    def remembering(self, t: np.ndarray, p: int) -> np.ndarray:
        assert (t > p).all()
        return np.full(t.shape, 100)

    def writing(self, t: np.ndarray) -> np.ndarray:
        return np.full(t.shape, 10)

    def passing_on(self, t: np.ndarray, p: int) -> np.ndarray:
        assert (t > p).all()
        return np.full(t.shape, 1)


def test_a_grid_of_three_layers_and_four_positions() -> None:
    counter = Counter(Digits(), 3, 0, 4)
    # Two whole blocks at four positions; in the last block three that write and one that reads.
    assert counter.run(0) == 9030
    assert counter.run(1) == 7020
    # Patched at position 1: the block there, two that remember it, the block above at three
    # positions, and the last one.
    assert counter.cell(0, 1) == 5220
    assert counter.cell(1, 1) == 2220
    assert counter.cell(2, 1) == 111
    assert (counter.cell(1, 2), counter.cell(2, 2)) == (2110, 110)
    assert (counter.cell(1, 3), counter.cell(2, 3)) == (2000, 1000)
    cells = 5220 + (2220 + 111) + (2110 + 110) + (2000 + 1000)
    assert counter.grid([1]) == 9030 + 7020 + cells
    assert counter.grid([1, 1]) == 2 * counter.grid([1])
    assert counter.grid([3]) < counter.grid([1]) < counter.grid([0])


def test_the_answers_logits_are_read_once_per_run() -> None:
    with_answers, without = Counter(Digits(), 3, 5, 4), Counter(Digits(), 3, 0, 4)
    n_runs = 2 + 1 + 2 * 3  # clean, corrupted, one cell at layer 0, three positions of two layers
    assert with_answers.grid([1]) - without.grid([1]) == n_runs * 2 * 2 * 5


def test_attention_by_hand() -> None:
    block, t = ParallelAttention(width=2, inner=8), np.array([3])
    projection, attention, mlp = 2 * 2 * 2, 2 * 2 * 2 * 4, 2 * 2 * 2 * 8
    assert block.whole(t) == 4 * projection + attention + mlp
    assert block.remembering(t, 1) == attention + projection
    assert block.writing(t) == 2 * projection
    assert block.passing_on(t, 1) == 0


def test_selective_scan_by_hand() -> None:
    block = SelectiveScan(width=2, inner=4, states=3, window=2, rank=1)
    projection, convolution = 2 * 2 * 4, 2 * 2 * 4
    selection, readout_selection = 2 * 4 * (1 + 3) + 2 * 1 * 4, 2 * 4 * 3
    state, readout = 5 * 4 * 3, 2 * 4 * 3
    fed = convolution + selection
    assert block.whole(np.array([5])) == 3 * projection + fed + readout_selection + state + readout
    late = state + readout + projection
    assert block.remembering(np.array([2, 3]), 1).tolist() == [fed + readout_selection + late, late]
    assert block.writing(np.array([5])) == projection + fed + state
    assert block.passing_on(np.array([2, 3]), 1).tolist() == [fed + state, state]


def products(model: torch.nn.Module) -> dict[str, int]:
    """Return what torch counts in the products of a forward pass, by operator."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros((1, len(ALL)), dtype=torch.long), use_cache=False)
    return {str(name): n for name, n in counter.get_flop_counts()["Global"].items()}


def test_projections_of_attention_are_as_torch_counts_them() -> None:
    shape = neox_shape(**TINY, num_attention_heads=2, intermediate_size=20)
    counts = products(shape.build())
    found = sum(n for name, n in counts.items() if name in ("aten.mm", "aten.addmm"))
    block = counting.block_of(shape.config)
    attention = 4 * 12 * (ALL + 1)
    assert found == 3 * (block.whole(ALL) - attention).sum() + 2 * 12 * 11 * len(ALL)


def test_products_of_mamba_are_as_torch_counts_them() -> None:
    shape = mamba_shape(**TINY, state_size=5)
    counts = products(shape.build())
    found = sum(n for name, n in counts.items() if name in ("aten.mm", "aten.addmm", "aten.bmm"))
    inner = 2 * 12
    not_products = 2 * 4 * inner + 5 * inner * 5  # convolution and state
    block = counting.block_of(shape.config)
    assert found == 3 * (block.whole(ALL) - not_products).sum() + 2 * 12 * 11 * len(ALL)


def test_the_published_shapes() -> None:
    """The figures of an independent count of the same savings, to its own precision."""
    assert counting.minimum(neox_shape().config, 32, [4] * 8) == pytest.approx(2.3e12, rel=0.06)
    assert counting.minimum(mamba_shape().config, 32, [4] * 8) == pytest.approx(6.2e12, rel=0.06)


def test_other_architectures_are_refused() -> None:
    config = neox_shape(**TINY, num_attention_heads=2, intermediate_size=20).config
    config.use_parallel_residual = False
    with pytest.raises(TypeError, match="parallel"):
        counting.block_of(config)
    config.model_type = "gpt2"
    with pytest.raises(TypeError, match="gpt2"):
        counting.block_of(config)
