"""H3: a shift and diagonal state spaces between q, k and v (Fu et al. 2022, arXiv:2212.14052).

Glossary (paper -> code): Q, K, V -> ``qkv`` (one matrix); SSM_shift -> ``shift``, a convolution of
``d_shift`` taps, and its skip ``D1``; heads of two channels, whose k v^T -> ``_products``; SSM_diag
-> ``log_dt``, ``A_real_log``, ``A_imag`` and ``C`` of ``d_state`` / 2 conjugate pairs (S4D-Lin,
arXiv:2206.11893), and its skip ``D2``; W_O -> ``out``.
Differences from the paper: the shift has a bias, and 4 taps by default. The study of retrieval
(arXiv:2505.15105) has ``d_state=1024`` and ``d_shift=1024``, for 37 tokens.

Official implementation: https://github.com/HazyResearch/H3

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``P`` channels of a head,
``X`` products of a head (or of all examples, or both parts of all states), ``M`` pairs of states,
``K`` taps, ``N`` positions of all examples, a last ``2`` real and imaginary parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval import exact
from mecheval.models.contract import Tap
from mecheval.models.kernels.chunks import upcast
from mecheval.models.kernels.long_convolution import rows_convolution
from mecheval.models.layers.linear import affine
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layers.step_size import STEP_RANGE
from mecheval.models.layouts import Columns
from mecheval.models.mixing import LAST, Edit, Only, Signals, State, Written, at, cut, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import FeedForwardArchitecture

HEAD_DIM = 2


class ShiftAndDiagonal(Mixer):
    """Products of keys and values, remembered by state spaces, one for each head."""

    kernels = ("long_convolution:torch",)
    n_recent = 1
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
        low, high = exact.log(np.array(STEP_RANGE)).tolist()
        self.log_dt = nn.Parameter(torch.empty(self.heads).uniform_(low, high))
        self.A_real_log = nn.Parameter(torch.full((self.heads, pairs), -exact.LN2))
        self.A_imag = nn.Parameter((math.pi * torch.arange(pairs)).repeat(self.heads, 1))
        self.C = nn.Parameter(torch.randn(self.heads, pairs, 2) * math.sqrt(0.5))
        self.D2 = nn.Parameter(torch.randn(self.heads))
        self.out = affine(width, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Shift the keys; the first part of the state is the last of them."""
        q_BTD, before_BTD, v_BTD = self.qkv(normed_BTD).chunk(3, -1)
        shifted_BTD = self.shift(before_BTD, before_BKE=state[0] if state else None)
        return {
            "q": edit("q", q_BTD),
            "before": before_BTD,
            "k": edit("conv_out", shifted_BTD) + self.D1 * before_BTD,
            "v": edit("v", v_BTD),
        }

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the state spaces on; the second part of the state is theirs ``(B, H, X, M, 2)``."""
        return self.read_at(signals, state, None), self.advance(signals, state)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Leave out the last state, which nobody wants of a whole sequence."""
        products_HPPBT = self._products(signals["k"], signals["v"])
        if only is LAST:
            sums_HPPB1 = self._remembered(products_HPPBT, state, skip=True, n_last=1)
            return self._answer(cut(signals, slice(-1, None)), sums_HPPB1)
        sums_HPPBT = self._remembered(products_HPPBT, state, skip=True)
        return at(self._answer(signals, sums_HPPBT), only)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def advance(self, signals: Signals, state: State) -> State:
        """Add what is left of every product to what is left of the state."""
        tail_BKD = self.shift.tail(signals["before"], state[0] if state else None)
        products_HPPBT = self._products(signals["k"], signals["v"])
        powers_THM = self._powers(products_HPPBT.shape[-1] + 1, products_HPPBT)
        left_THM2 = torch.view_as_real(powers_THM[:-1].flip(0))
        last_BHXM2 = torch.einsum("thmc,hxbt->bhxmc", left_THM2, products_HPPBT.flatten(1, 2))
        if state:
            left_HXM = powers_THM[-1][:, None] * torch.view_as_complex(state[1])
            last_BHXM2 = last_BHXM2 + torch.view_as_real(left_HXM)
        return tail_BKD, last_BHXM2

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Remember other products; queries and the skip stay."""
        sums_HPPBT = self._remembered(self._products(*written), state, skip=False)
        skip_H1111 = self.D2[:, None, None, None, None]
        own_HPPBT = skip_H1111 * self._products(signals["k"], signals["v"])
        return self.out(self._answer(signals, sums_HPPBT + own_HPPBT))

    def taps(self) -> dict[str, Tap]:
        """Return queries and values, shifted keys without their skip, and what the heads read."""
        width = self.out.in_features
        found = {
            "conv_out": Tap(self.shift, "output", "shift", width),
            "z": Tap(self.out, "input", "out", width),
        }
        for name, i in (("q", 0), ("v", 2)):
            columns = Columns(tuple(range(i * width, (i + 1) * width)))
            found[name] = Tap(self.qkv, "output", "qkv", width, columns)
        return found

    def _by_head(self, x_BTD: Tensor) -> Tensor:
        """Return keys, values or queries as ``(H, P, B, T)``, the positions next to each other.

        So all that follows runs along the positions, and not along a head's two channels.
        """
        (x_BTD,) = upcast(x_BTD)
        # A transposed matrix, whose copy is faster than that of four permuted axes.
        x_DN = x_BTD.flatten(0, 1).T.contiguous()
        return x_DN.view(self.heads, HEAD_DIM, *x_BTD.shape[:2])

    def _products(self, k_BTD: Tensor, v_BTD: Tensor) -> Tensor:
        """Return all products of a head's keys and values, ``(H, P, P, B, T)``."""
        return self._by_head(k_BTD)[:, :, None] * self._by_head(v_BTD)[:, None]

    def _powers(self, n: int, like: Tensor) -> Tensor:
        """Return what is left of a state after 0, 1, ... n - 1 positions, ``(T, H, M)``."""
        _, rates_HM = self._continuous()
        powers_THM = _left(rates_HM, torch.arange(n, device=like.device)).transpose(0, 1)
        return powers_THM.to(torch.complex128 if like.dtype == torch.float64 else torch.complex64)

    def _continuous(self) -> tuple[Tensor, Tensor]:
        """Return A, and dt A: the logarithm of what is left after one position, ``(H, M)``."""
        A_HM = torch.complex(-self.A_real_log.double().exp(), self.A_imag.double())
        return A_HM, self.log_dt.double().exp()[:, None] * A_HM

    def _readout(self) -> Tensor:
        """Return 2 C Bbar, whose real part reads a state, ``(H, M)``; Bbar by zero-order hold.

        Twice, for the conjugates. ``expm1`` of complex numbers is slow, and in float64 not needed.
        """
        A_HM, rates_HM = self._continuous()
        return torch.view_as_complex(self.C.double()) * (2 * (rates_HM.exp() - 1) / A_HM)

    def _filter(self, n: int, *, skip: bool) -> Tensor:
        """Return what is read after 0, 1, ... n - 1 positions, ``(H, T)``, in float64.

        From the powers of few lags: those of the multiples of a number, and those below it.
        """
        _, rates_HM = self._continuous()
        fine = math.isqrt(n - 1) + 1
        lags_T = torch.arange(fine, device=rates_HM.device)
        coarse_HTM = _left(rates_HM, lags_T[: -(-n // fine)] * fine) * self._readout()[:, None]
        # Of a product, as a sum of real ones: Re(x y) = Re(x*) Re(y) + Im(x*) Im(y).
        parts = (coarse_HTM.conj().resolve_conj(), _left(rates_HM, lags_T))
        coarse_HTX, fine_HTX = (torch.view_as_real(part).flatten(2) for part in parts)
        filter_HT = (coarse_HTX @ fine_HTX.mT).flatten(1)[:, :n]
        if not skip:
            return filter_HT
        return filter_HT + functional.pad(self.D2[:, None], (0, n - 1))

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def _remembered(
        self, products_HPPBT: Tensor, state: State, *, skip: bool, n_last: int = 0
    ) -> Tensor:
        """Return what the state spaces read at the last positions, ``(H, P, P, B, T)``.

        At all of them where ``n_last`` is 0.
        """
        *shape, n = products_HPPBT.shape
        n_last = n_last or n
        filter_HT = self._filter(n, skip=skip).to(products_HPPBT.dtype)
        sums_HXT = rows_convolution(products_HPPBT.flatten(1, 3), filter_HT, n_last=n_last)
        sums_HPPBT = sums_HXT.view(*shape, n_last)
        if not state:
            return sums_HPPBT
        weights_THM = self._powers(n + 1, products_HPPBT)[-n_last:] * self._readout()
        state_BHXM = torch.view_as_complex(state[1])
        weights_THM = weights_THM.to(state_BHXM.dtype)
        old_HXBT = torch.einsum("thm,bhxm->hxbt", weights_THM, state_BHXM).real
        return sums_HPPBT + old_HXBT.unflatten(1, (HEAD_DIM, HEAD_DIM))

    def _answer(self, signals: Signals, sums_HPPBT: Tensor) -> Tensor:
        """Return what the queries ask for of the sums, ``(B, T, D)``."""
        q_HPBT = self._by_head(signals["q"])
        read_HPBT = (q_HPBT[:, :, None] * sums_HPPBT).sum(1)
        return read_HPBT.permute(2, 3, 0, 1).flatten(2).to(signals["q"].dtype)


def _left(rates_HM: Tensor, lags_T: Tensor) -> Tensor:
    """Return what is left of a state after some positions, ``(H, T, M)``.

    In float64, because phases grow with the position; and from real functions, which are faster.
    """
    lags_T1 = lags_T.double()[:, None]
    size_HTM = (lags_T1 * rates_HM.real[:, None]).exp()
    return torch.polar(size_HTM, lags_T1 * rates_HM.imag[:, None])


@model(
    name="h3",
    reference="Fu et al. 2022, arXiv:2212.14052",
    architecture="state-space model",
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
