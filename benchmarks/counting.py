"""The least number of floating-point operations that an exact recovery grid takes.

A grid patches the input of every block (component ``block_in``) at every position of every pair and
reads the answer at the last position r. What is counted, for one pair whose prompts differ at
position c and nowhere else:

1. The corrupted run, once, and the clean run from position c on (before it the two are equal).
2. For every cell (layer l, position p) at which the clean and the corrupted activation differ: at
   layer 0 the one with p = c, at later layers those with p >= c. The others answer as the
   corrupted run does. Of such a cell:

   * nothing before layer l and nothing before position p;
   * in layer l itself the whole block at p; behind p the block's input is what it was, so that only
     the mixer's memory of p is new. Attention in parallel with the MLP: scores and values over the
     keys up to there, and the output projection. Mamba: the scan and the output projection, and at
     the positions whose convolution window holds p also what the convolution feeds;
   * in later layers the whole block at all positions from p on;
   * in the last layer, off the readout, only what a later position can read: keys and values, or
     the input of the state;
   * the logits of the answer and of the foil at the readout.

A multiplication and an addition are two operations. Counted are matrix products, attention,
convolution and scan; norms, activation functions, gates, rotary angles and softmax are not
(about one percent of the above). Reading the cell (0, c) off the clean run, which it equals, would
save one more cell of each pair; it is counted as work.

Shape suffixes: ``T`` positions. ``D`` is the residual width, ``E`` the width inside a Mamba block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import GPTNeoXConfig, MambaConfig, PretrainedConfig


class Block(Protocol):
    """Operations of one block at one position t of a sequence."""

    def whole(self, t: np.ndarray) -> np.ndarray:
        """Count the block where its input is new."""
        ...

    def remembering(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count the block where its input is what it was, but not its memory of position p < t."""
        ...

    def writing(self, t: np.ndarray) -> np.ndarray:
        """Count what later positions can read, where the block's input is new."""
        ...

    def passing_on(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count what later positions can read, where only the memory of position p < t is new."""
        ...


@dataclass(frozen=True)
class ParallelAttention:
    """GPT-NeoX: attention and MLP side by side on the same input.

    Attributes:
        width: Residual width D, also the width of queries, keys and values together.
        inner: Width of the MLP.
    """

    width: int
    inner: int

    @property
    def _square(self) -> int:
        return 2 * self.width**2  # one of the query, key, value and output projections

    def _attend(self, t: np.ndarray) -> np.ndarray:
        return 4 * self.width * (t + 1)  # scores and values over the keys 0 to t

    def whole(self, t: np.ndarray) -> np.ndarray:
        """Count the four projections, attention, and the two matrices of the MLP."""
        return 4 * self._square + self._attend(t) + 4 * self.width * self.inner

    def remembering(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count attention and its output projection; the MLP does not see other positions."""
        return self._attend(t) + self._square

    def writing(self, t: np.ndarray) -> np.ndarray:
        """Count the key and the value projection."""
        return np.full(t.shape, 2 * self._square)

    def passing_on(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count nothing: keys and values of t depend on the block's input at t alone."""
        return np.zeros(t.shape)


@dataclass(frozen=True)
class SelectiveScan:
    """Mamba-1: projection, short convolution, selection, scan, output projection.

    Attributes:
        width: Residual width D.
        inner: Width E of the mixer.
        states: States per channel.
        window: Taps of the convolution.
        rank: Rank of the step size's projection.
    """

    width: int
    inner: int
    states: int
    window: int
    rank: int

    @property
    def _projection(self) -> int:
        return 2 * self.width * self.inner  # input, gate and output each

    @property
    def _input(self) -> int:
        """Convolution, and from it the step size and B; not C, which nobody reads later."""
        selection = 2 * self.inner * (self.rank + self.states) + 2 * self.rank * self.inner
        return 2 * self.window * self.inner + selection

    @property
    def _state(self) -> int:
        return 5 * self.inner * self.states  # exp(step A), step x B, decay h + input

    @property
    def _readout(self) -> int:
        return 2 * self.inner * self.states  # C h

    @property
    def _select_readout(self) -> int:
        return 2 * self.inner * self.states  # C from the convolution

    def whole(self, t: np.ndarray) -> np.ndarray:
        """Count everything."""
        mixer = self._input + self._select_readout + self._state + self._readout
        return np.full(t.shape, 3 * self._projection + mixer)

    def remembering(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count the scan and the output projection; in reach of the convolution what it feeds."""
        fed = np.where(t < p + self.window, self._input + self._select_readout, 0)
        return fed + self._state + self._readout + self._projection

    def writing(self, t: np.ndarray) -> np.ndarray:
        """Count the projection without its gate, and the state."""
        return np.full(t.shape, self._projection + self._input + self._state)

    def passing_on(self, t: np.ndarray, p: int) -> np.ndarray:
        """Count the state; in reach of the convolution its input too."""
        return np.where(t < p + self.window, self._input, 0) + self._state


def block_of(config: PretrainedConfig) -> Block:
    """Return the count of a configuration's blocks.

    Raises:
        TypeError: The architecture is not one of those that are counted.
    """
    if config.model_type == "gpt_neox":
        return _attention(config)  # type: ignore[arg-type]
    if config.model_type == "mamba":
        return _mamba(config)  # type: ignore[arg-type]
    raise TypeError(f"No operations are counted for '{config.model_type}'.")


def _attention(config: GPTNeoXConfig) -> Block:
    if not config.use_parallel_residual:
        raise TypeError("Operations are counted for attention in parallel with the MLP only.")
    return ParallelAttention(config.hidden_size, config.intermediate_size)


def _mamba(config: MambaConfig) -> Block:
    return SelectiveScan(
        config.hidden_size, config.intermediate_size, config.state_size, config.conv_kernel,
        int(config.time_step_rank),
    )  # fmt: skip


@dataclass(frozen=True)
class Counter:
    """Counts of whole grids.

    Attributes:
        block: What one block takes.
        n_layers: Number of blocks.
        width: Residual width D.
        n_positions: Number of positions T; the last is the readout.
    """

    block: Block
    n_layers: int
    width: int
    n_positions: int

    def grid(self, changed: Sequence[int]) -> float:
        """Count a grid over all layers and positions.

        Args:
            changed: Of every pair the position at which its prompts differ.
        """
        return float(sum(self._pair(c) for c in changed))

    def _pair(self, c: int) -> float:
        cells = self.cell(0, c)
        for p in range(c, self.n_positions):
            cells += sum(self.cell(layer, p) for layer in range(1, self.n_layers))
        return self.run(0) + self.run(c) + cells

    def run(self, first: int) -> float:
        """Count an unpatched run from a position on."""
        return self._blocks(self.n_layers - 1, first) + self._last(first) + self._answers()

    def cell(self, layer: int, p: int) -> float:
        """Count one patched run of one pair."""
        later = np.arange(p + 1, self.n_positions)
        if layer < self.n_layers - 1:
            patched = self._sum(self.block.whole(np.array([p])), self.block.remembering(later, p))
            between = self._blocks(self.n_layers - 2 - layer, p)
            return patched + between + self._last(p) + self._answers()
        if not later.size:
            return self._last(p) + self._answers()
        off_readout, readout = later[:-1], later[-1:]
        return self._answers() + self._sum(
            self.block.writing(np.array([p])),
            self.block.passing_on(off_readout, p),
            self.block.remembering(readout, p),
        )

    def _blocks(self, n_blocks: int, first: int) -> float:
        return n_blocks * self._sum(self.block.whole(np.arange(first, self.n_positions)))

    def _last(self, first: int) -> float:
        """Count the last block where its input is new from a position on."""
        t = np.arange(first, self.n_positions)
        return self._sum(self.block.writing(t[:-1]), self.block.whole(t[-1:]))

    def _answers(self) -> float:
        return 2.0 * 2 * self.width

    @staticmethod
    def _sum(*parts: np.ndarray) -> float:
        return float(sum(part.sum() for part in parts))


def minimum(config: PretrainedConfig, n_positions: int, changed: Sequence[int]) -> float:
    """Count the operations of a grid over all layers and positions; see the top of this file.

    Args:
        config: Configuration of transformers.
        n_positions: Number of positions T.
        changed: Of every pair the position at which its prompts differ.
    """
    return Counter(
        block_of(config), config.num_hidden_layers, config.hidden_size, n_positions
    ).grid(changed)
