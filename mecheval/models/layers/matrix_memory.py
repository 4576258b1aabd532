"""Mixers whose memory is a matrix per head: linear attention and the delta rule, with their kin.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream, ``H`` heads, ``K`` width
of a key, ``V`` width of a value, ``X`` channels of the convolution (queries, keys and values).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.models.contract import Tap
from mecheval.models.kernels.scan import Implementation, Kernel, choose
from mecheval.models.layers.linear import projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layouts import Columns
from mecheval.models.mixing import Edit, Signals, State, unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.models.stack.arguments import LinearAttentionArchitecture

NORM_EPSILON = 1e-5


class MatrixMemory(Mixer):
    """Queries, keys and values, perhaps behind a short convolution, and a matrix per head.

    A subclass says what the positions signal (:meth:`signal`) and how the matrices run on
    (:meth:`remember`), and names in ``writes`` the signals that are written. A signal ``gate``
    multiplies what the heads read.

    Attributes:
        output_norm: Whether what a head reads is divided by its root mean square.
    """

    output_norm = True

    def __init__(
        self,
        arguments: LinearAttentionArchitecture,
        sizes: Sequence[int],
        *,
        d_conv: int = 0,
        n_writes: int = 1,
    ) -> None:
        """Draw the weights.

        Args:
            arguments: Width D of the stream, number of heads, and which kernel runs; see
                :func:`mecheval.models.kernels.fla.choose_linear`.
            sizes: Widths of a query, a key and a value, all heads together.
            d_conv: Taps of the convolution; 0 is none.
            n_writes: Keys and values that a position has of each head; they lie side by side.
        """
        super().__init__()
        d_query, d_key, d_value = sizes
        self.sizes = [d_query, n_writes * d_key, n_writes * d_value]
        self.heads = arguments.heads
        self.kernel: Kernel = arguments.kernel
        self.reach, self.n_recent = max(d_conv, 1), min(d_conv, 1)
        self.qkv = projection(arguments.width, sum(self.sizes))
        self.conv = ShortConvolution(sum(self.sizes), d_conv)
        self.out = projection(d_value, arguments.width, scale=arguments.residual_scale)

    @abstractmethod
    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Return what the positions signal, each alone."""

    @abstractmethod
    def remember(self, signals: Signals, state_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what is read ``(B, T, H, V)``, and the matrices after the last position.

        Where there is no signal ``q``, nobody looks at the first of the two.
        """

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve queries, keys and values; the first part of the state is their last inputs."""
        qkv_BTX = self.qkv(normed_BTD)
        recent_BKX = state[0] if state and self.n_recent else None
        conv_BTX = self.conv(qkv_BTX, self._convolution(qkv_BTX), recent_BKX)
        if self.n_recent:
            conv_BTX = edit("conv_out", conv_BTX)
        # In one layout, whoever made it: kernels differ in the last bit between layouts.
        conv_BTX = conv_BTX.contiguous()
        q_BTHK, k_BTHK, v_BTHV = (
            edit(name, part_BTX).unflatten(-1, (self.heads, -1))
            for name, part_BTX in zip("qkv", conv_BTX.split(self.sizes, -1), strict=True)
        )
        signals = self.signal(normed_BTD, q_BTHK, k_BTHK, v_BTHV)
        return {**signals, "qkv": qkv_BTX} if self.n_recent else signals

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the matrices on, and read them; they are the last part of the state."""
        y_BTHV, last_BHKV = self.remember(signals, state[-1] if state else None)
        if self.output_norm:
            y_BTHV = functional.rms_norm(y_BTHV, y_BTHV.shape[-1:], eps=NORM_EPSILON)
        z_BTX = y_BTHV.flatten(2)
        if "gate" in signals:
            z_BTX = z_BTX * signals["gate"]
        return z_BTX, (*self._recent(signals, state), last_BHKV)

    def advance(self, signals: Signals, state: State) -> State:
        """Run the matrices on without reading them."""
        unread = {name: value for name, value in signals.items() if name != "q"}
        _, last_BHKV = self.remember(unread, state[-1] if state else None)
        return (*self._recent(signals, state), last_BHKV)

    def _recent(self, signals: Signals, state: State) -> State:
        if not self.n_recent:
            return ()
        return (self.conv.tail(signals["qkv"], state[0] if state else None),)

    def taps(self) -> dict[str, Tap]:
        """Return queries, keys and values before their activation, and what the heads read."""
        whole, path = (self.conv, "conv") if self.n_recent else (self.qkv, "qkv")
        found = {"z": Tap(self.out, "input", "out", self.out.in_features)}
        if self.n_recent:
            found["conv_out"] = Tap(whole, "output", path, sum(self.sizes))
        first = 0
        for name, size in zip("qkv", self.sizes, strict=True):
            columns = Columns(tuple(range(first, first + size)))
            found[name] = Tap(whole, "output", path, size, columns)
            first += size
        return found

    def _convolution(self, x_BTX: Tensor) -> Implementation:
        return "torch" if self.kernel == "reference" else choose("auto", x_BTX)
