"""H3: a shift and diagonal state spaces between q, k and v (Fu et al. 2022, arXiv:2212.14052).

Glossary (paper -> code): Q, K, V -> ``qkv`` (one matrix); SSM_shift -> ``shift``, a convolution of
``d_shift`` taps, and its skip ``D1``; heads of two channels, whose k v^T -> ``_products``; SSM_diag
-> ``log_dt``, ``A_real_log``, ``A_imag`` and ``C`` of ``d_state`` / 2 conjugate pairs (S4D-Lin,
arXiv:2206.11893), and its skip ``D2``; W_O -> ``out``.
Differences from the paper: the shift has a bias, and 4 taps by default. The study of retrieval
(arXiv:2505.15105) has ``d_state=1024`` and ``d_shift=1024``, for 37 tokens.

Official implementation: https://github.com/HazyResearch/H3

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``P`` channels of a head,
``E`` all products of all heads, ``X`` products of a head, ``M`` pairs of states, ``K`` taps, a last
``2`` real and imaginary parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mecheval.models.contract import Tap
from mecheval.models.kernels.chunks import upcast
from mecheval.models.kernels.long_convolution import long_convolution
from mecheval.models.kernels.scan import choose
from mecheval.models.mixing import Edit, Signals, State, Written, at, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.feed_forward import FeedForwardArchitecture
from mecheval.models.stack.linear import affine
from mecheval.models.stack.residual import Mixer
from mecheval.models.stack.short_convolution import ShortConvolution
from mecheval.models.stack.state_space import STEP_RANGE
from mecheval.models.views import Columns
from mecheval.training.recipe import Recipe

HEAD_DIM = 2


class ShiftAndDiagonal(Mixer):
    """Products of keys and values, remembered by state spaces, one for each head."""

    kernels = ("long_convolution:torch",)
    n_recent = 1
    inner = ("conv_out", "q", "v", "attn_out")
    writes = ("k", "v")

    def __init__(self, arguments: H3) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__()
        width, pairs = arguments.width, arguments.d_state // 2
        self.heads = width // HEAD_DIM
        self.reach = arguments.d_shift
        self.qkv = affine(width, 3 * width)
        self.shift = ShortConvolution(width, arguments.d_shift)
        self.D1 = nn.Parameter(torch.randn(width))
        low, high = (math.log(end) for end in STEP_RANGE)
        self.log_dt = nn.Parameter(torch.empty(self.heads).uniform_(low, high))
        self.A_real_log = nn.Parameter(torch.full((self.heads, pairs), math.log(0.5)))
        self.A_imag = nn.Parameter((math.pi * torch.arange(pairs)).repeat(self.heads, 1))
        self.C = nn.Parameter(torch.randn(self.heads, pairs, 2) * 0.5**0.5)
        self.D2 = nn.Parameter(torch.randn(self.heads))
        self.out = affine(width, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Shift the keys; the first part of the state is the last of them."""
        q_BTD, before_BTD, v_BTD = self.qkv(normed_BTD).chunk(3, -1)
        chosen = choose("auto", before_BTD, signed=False)
        shifted_BTD = self.shift(before_BTD, chosen, state[0] if state else None)
        return {
            "q": edit("q", q_BTD),
            "before": before_BTD,
            "k": edit("conv_out", shifted_BTD) + self.D1 * before_BTD,
            "v": edit("v", v_BTD),
        }

    def mix(self, normed_BTD: Tensor) -> Tensor:
        """Leave out the last state, which nobody wants of a whole sequence."""
        signals = self.project(normed_BTD, ())
        products_BTE = self._products(signals["k"], signals["v"])
        return self._write(signals, self._remembered(products_BTE, ()), None, unchanged)

    def read(
        self,
        signals: Signals,
        state: State,
        *,
        only_B: Tensor | None = None,
        edit: Edit = unchanged,
    ) -> tuple[Tensor, State]:
        """Run the state spaces on; the second part of the state is theirs ``(B, H, X, M, 2)``."""
        products_BTE = self._products(signals["k"], signals["v"])
        sums_BTE = self._remembered(products_BTE, state)
        return self._write(signals, sums_BTE, only_B, edit), self.advance(signals, state)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def advance(self, signals: Signals, state: State) -> State:
        """Add what is left of every product to what is left of the state."""
        tail_BKD = self.shift.tail(signals["before"], state[0] if state else None)
        (products_BTE,) = upcast(self._products(signals["k"], signals["v"]))
        products_BTHX = products_BTE.unflatten(-1, (self.heads, -1))
        powers_THM = self._powers(products_BTE.shape[1] + 1, products_BTE)
        left_THM2 = torch.view_as_real(powers_THM[:-1].flip(0))
        last_BHXM2 = torch.einsum("thmc,bthx->bhxmc", left_THM2, products_BTHX)
        if state:
            left_HXM = powers_THM[-1][:, None] * torch.view_as_complex(state[1])
            last_BHXM2 = last_BHXM2 + torch.view_as_real(left_HXM)
        return tail_BKD, last_BHXM2

    def written(self, signals: Signals, state: State) -> Written:
        """Return shifted keys, and values."""
        return signals["k"], signals["v"]

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Remember other products; queries and the skip stay."""
        return self._write(
            signals, self._remembered(self._products(*written), state), None, unchanged
        )

    def taps(self) -> dict[str, Tap]:
        """Return queries and values, shifted keys without their skip, and what the heads read."""
        width = self.out.in_features
        found = {
            "conv_out": Tap(self.shift, "output", "shift", width),
            "attn_out": Tap(self.out, "input", "out", width),
        }
        for name, i in (("q", 0), ("v", 2)):
            columns = Columns(tuple(range(i * width, (i + 1) * width)))
            found[name] = Tap(self.qkv, "output", "qkv", width, columns)
        return found

    def _products(self, k_BTD: Tensor, v_BTD: Tensor) -> Tensor:
        """Return all products of a key's and a value's channels, head by head, ``(B, T, E)``."""
        k_BTHP, v_BTHP = (x.unflatten(-1, (self.heads, HEAD_DIM)) for x in (k_BTD, v_BTD))
        return (k_BTHP[..., :, None] * v_BTHP[..., None, :]).flatten(2)

    def _powers(self, n: int, like: Tensor) -> Tensor:
        """Return what is left of a state after 0, 1, ... n - 1 positions, ``(T, H, M)``.

        In float64, because phases grow with the position.
        """
        lags_T = torch.arange(n, device=like.device, dtype=torch.float64)
        powers_THM = torch.exp(lags_T[:, None, None] * self._rates())
        return powers_THM.to(torch.complex128 if like.dtype == torch.float64 else torch.complex64)

    def _rates(self) -> Tensor:
        """Return dt A, the logarithm of what is left after one position, ``(H, M)``."""
        A_HM = torch.complex(-self.A_real_log.double().exp(), self.A_imag.double())
        return self.log_dt.double().exp()[:, None] * A_HM

    def _readout(self, like: Tensor) -> Tensor:
        """Return C Bbar, with which a state is read, ``(H, M)``; Bbar by zero-order hold."""
        A_HM = torch.complex(-self.A_real_log.double().exp(), self.A_imag.double())
        read_HM = torch.view_as_complex(self.C.double()) * torch.expm1(self._rates()) / A_HM
        return read_HM.to(torch.complex128 if like.dtype == torch.float64 else torch.complex64)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def _remembered(self, products_BTE: Tensor, state: State) -> Tensor:
        """Return what the state spaces read at every position, without the skip, ``(B, T, E)``."""
        (products_BTE,) = upcast(products_BTE)
        n_positions = products_BTE.shape[1]
        powers_THM = self._powers(n_positions + 1, products_BTE)
        weights_THM = powers_THM * self._readout(products_BTE)
        filter_TH = 2 * weights_THM[:-1].real.sum(-1)
        filter_TE = filter_TH.repeat_interleave(HEAD_DIM**2, 1)
        sums_BTE = long_convolution(products_BTE, filter_TE, n_last=n_positions)
        if not state:
            return sums_BTE
        state_BHXM = torch.view_as_complex(state[1])
        old_BTHX = 2 * torch.einsum("thm,bhxm->bthx", weights_THM[1:], state_BHXM).real
        return sums_BTE + old_BTHX.flatten(2)

    def _write(
        self, signals: Signals, sums_BTE: Tensor, only_B: Tensor | None, edit: Edit
    ) -> Tensor:
        q_BTD, k_BTD, v_BTD = (at(signals[name], only_B) for name in ("q", "k", "v"))
        skip_E = self.D2.repeat_interleave(HEAD_DIM**2)
        sums_BTE = at(sums_BTE, only_B) + skip_E * self._products(k_BTD, v_BTD)
        sums_BTHPP = sums_BTE.unflatten(-1, (self.heads, HEAD_DIM, HEAD_DIM))
        q_BTHP = q_BTD.unflatten(-1, (self.heads, HEAD_DIM))
        read_BTD = (q_BTHP[..., None] * sums_BTHPP).sum(-2).flatten(2)
        return self.out(edit("attn_out", read_BTD.to(q_BTD.dtype)))


@model(
    name="h3",
    reference="Fu et al. 2022, arXiv:2212.14052",
    architecture="state-space model",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=1e-2),
        "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class H3(FeedForwardArchitecture):
    """Shifted keys times values, remembered by diagonal state spaces.

    Attributes:
        d_state: States of a head, in conjugate pairs.
        d_shift: Taps of the shift, the present included.
    """

    d_state: int = 64
    d_shift: int = 4

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.width % HEAD_DIM == 0, "an even width")
        self.check(self.d_state >= 2 and self.d_state % 2 == 0, "an even d_state of at least 2")
        self.check(self.d_shift >= 1, "d_shift of at least 1")

    def mixer(self, layer: int) -> ShiftAndDiagonal:
        """Build the state spaces of a layer."""
        return ShiftAndDiagonal(self)
