"""Mamba's selective scan (Gu and Dao 2023, arXiv:2312.00752, section 3), in four implementations.

``reference`` is the definition, one position at a time; ``torch`` runs anywhere; ``c`` is for
float32 on the CPU; ``mamba_ssm`` is the authors' CUDA kernel, which starts from zeros only.
Suffixes: see :mod:`.scan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mecheval.errors import require
from mecheval.models.kernels import chunks
from mecheval.models.kernels.c.functions import SelectiveScan
from mecheval.models.kernels.scan import Scan, needs_gradient, skip_and_gate
from mecheval.models.kernels.vmap_rules import folded, is_lifted, one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.models.kernels.scan import Implementation


def selective_scan(
    scan: Scan,
    *,
    implementation: Implementation,
    state_BEN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the scan.

    Args:
        scan: Its inputs.
        implementation: What :func:`mecheval.models.kernels.scan.choose` chose. ``torch`` takes its
            place where it cannot do what is asked: ``mamba_ssm`` knows no initial state, and ``c``
            no gradient of one.
        state_BEN: The state before the first position; zeros without one.

    Returns:
        The output ``(B, T, E)`` in the type of the input, and the last state ``(B, E, N)`` in
        float32 or float64, which carries no gradient in ``c`` and ``mamba_ssm``. What is not
        wanted of the two is left empty by ``c``, and made all the same by others.

    Raises:
        UsageError: ``c`` was asked for float64, or the shapes do not fit.
    """
    if implementation == "mamba_ssm" and state_BEN is None:
        return _fused(scan)
    if implementation == "mamba_ssm" or (implementation == "c" and needs_gradient(state_BEN)):
        implementation = "torch"
    return in_full(
        {"reference": _reference, "torch": _portable, "c": _native}[implementation], scan, state_BEN
    )


def in_full(
    run: Callable[[Scan, Tensor | None], tuple[Tensor, Tensor]],
    scan: Scan,
    state_BEN: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run a scan in float32 or float64; its output is in the type of its input."""

    def run_wide(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return run(Scan._make((*tensors[:8], *scan[8:])), tensors[8])

    return chunks.in_full(run_wide, *scan.columns, *scan.parameters, state_BEN)


def scan_step(scan: Scan, state_BEN: Tensor) -> tuple[Tensor, Tensor]:
    """Take one step of the definition; the inputs have no position axis."""
    delta_BE = functional.softplus(scan.delta_BTE + scan.bias_E)
    a_BEN = torch.exp(delta_BE[..., None] * scan.A_EN)
    if scan.signed:
        a_BEN = 2 * a_BEN - 1
    state_BEN = a_BEN * state_BEN + (delta_BE * scan.x_BTE)[..., None] * scan.B_BTN[:, None]
    sum_BE = (state_BEN @ scan.C_BTN[..., None])[..., 0]
    return skip_and_gate(sum_BE, scan.x_BTE, scan.D_E, scan.z_BTE), state_BEN


def _reference(scan: Scan, state_BEN: Tensor | None) -> tuple[Tensor, Tensor]:
    # unbind, never an index: the backward of x[:, t] fills a whole tensor of zeros at every t.
    columns = zip(*(value.unbind(1) for value in scan.columns), strict=True)
    if state_BEN is None:
        n_examples, _, width = scan.x_BTE.shape
        state_BEN = scan.x_BTE.new_zeros(n_examples, width, scan.B_BTN.shape[2])
    outputs = []
    for column in columns:
        y_BE, state_BEN = scan_step(Scan._make((*column, *scan[5:])), state_BEN)
        outputs.append(y_BE)
    return torch.stack(outputs, 1), state_BEN


def _native(scan: Scan, state_BEN: Tensor | None) -> tuple[Tensor, Tensor]:
    start_BNE = None if state_BEN is None else state_BEN.transpose(1, 2)
    A_EN, D_E, bias_E = scan.parameters
    tensors = (*scan.columns, A_EN.T, D_E, bias_E)
    if not torch.is_grad_enabled():
        # The function cannot see that, and would keep states for the backward of the parameters.
        tensors = tuple(value.detach() for value in tensors)
    y_BTE, last_BNE = one_by_one(
        SelectiveScan.apply, scan.signed, scan.going_on, scan.reading, start_BNE, *tensors
    )
    return y_BTE, last_BNE.transpose(1, 2)


def _portable(scan: Scan, state_BEN: Tensor | None) -> tuple[Tensor, Tensor]:
    start_BNE = None if state_BEN is None else state_BEN.transpose(1, 2)
    delta_BTE = functional.softplus(scan.delta_BTE + scan.bias_E)
    A_XNE = scan.A_EN.T[None]
    if is_lifted():  # members become examples, each with the decays of its own model
        A_XNE = A_XNE.expand(len(delta_BTE), -1, -1)
    sum_BTE, last_BNE = folded(
        _TimeFirstScan.apply, scan.signed, start_BNE, delta_BTE, delta_BTE * scan.x_BTE,
        scan.B_BTN, scan.C_BTN, A_XNE,
    )  # fmt: skip
    y_BTE = skip_and_gate(sum_BTE, scan.x_BTE, scan.D_E, scan.z_BTE)
    return y_BTE, last_BNE.transpose(1, 2)


class _TimeFirstScan(torch.autograd.Function):
    """The recurrence with time first: one in-place operation per position, forth and back.

    Channels come last, because an operation over a short last axis is slow. What autograd would
    record, three operations a position, takes longer than the sums themselves; so the gradient is
    written out. With g_t the gradient of h_t:

        g_t     = dy_t C_t + a_{t+1} g_{t+1}         backwards, as h_t forwards
        dA, dDelta from  da_t = g_t h_{t-1}          the state before, which is kept for that
    """

    @staticmethod
    def forward(
        ctx: Any, signed: bool, start_BNE: Tensor | None, *inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        columns = (value.transpose(0, 1).contiguous() for value in inputs[:4])
        delta_TBE, input_TBE, B_TBN, C_TBN = columns
        A_XNE = inputs[4].contiguous()
        a_TBNE = torch.exp_(delta_TBE[:, :, None] * A_XNE)
        if signed:
            a_TBNE.mul_(2).sub_(1)
        h_TBNE = input_TBE[:, :, None] * B_TBN[..., None]
        states, decays = h_TBNE.unbind(0), a_TBNE.unbind(0)
        if start_BNE is not None:
            states[0].addcmul_(decays[0], start_BNE)
        for before, after, decay in zip(states, states[1:], decays[1:], strict=False):
            after.addcmul_(decay, before)
        ctx.save_for_backward(delta_TBE, input_TBE, B_TBN, C_TBN, A_XNE, a_TBNE, h_TBNE, start_BNE)
        ctx.signed = signed
        ctx.set_materialize_grads(False)
        return _product(C_TBN, h_TBNE).transpose(0, 1), states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dsum_BTE: Tensor | None, dlast_BNE: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        delta_TBE, input_TBE, B_TBN, C_TBN, A_XNE, a_TBNE, h_TBNE, start_BNE = ctx.saved_tensors
        dsum_TBE = torch.zeros_like(input_TBE)
        if dsum_BTE is not None:
            dsum_TBE = dsum_BTE.transpose(0, 1).contiguous()
        g_TBNE = dsum_TBE[:, :, None] * C_TBN[..., None]
        gradients, decays = g_TBNE.unbind(0), a_TBNE.unbind(0)
        if dlast_BNE is not None:
            gradients[-1].add_(dlast_BNE)
        for t in range(len(gradients) - 2, -1, -1):
            gradients[t].addcmul_(decays[t + 1], gradients[t + 1])
        dC_TBN = _product(dsum_TBE, h_TBNE.transpose(2, 3))
        dB_TBN = _product(input_TBE, g_TBNE.transpose(2, 3))
        dinput_TBE = _product(B_TBN, g_TBNE)
        dstart_BNE = gradients[0] * decays[0] if ctx.needs_input_grad[1] else None
        # From here on g is the gradient of delta A: of a, times the state before, times exp.
        if start_BNE is None:
            gradients[0].zero_()
        else:
            gradients[0].mul_(start_BNE)
        g_TBNE[1:].mul_(h_TBNE[:-1])
        # a = exp(e) has da/de = a, and a = 2 exp(e) - 1 has da/de = 2 exp(e) = a + 1.
        g_TBNE.mul_(a_TBNE + 1 if ctx.signed else a_TBNE)
        dA_BNE = (g_TBNE * delta_TBE[:, :, None]).sum(0)
        dA_XNE = dA_BNE if len(A_XNE) == len(dA_BNE) else dA_BNE.sum(0, keepdim=True)
        by_column = (g_TBNE.mul_(A_XNE).sum(2), dinput_TBE, dB_TBN, dC_TBN)
        return None, dstart_BNE, *(value.transpose(0, 1) for value in by_column), dA_XNE


def _product(row_TBX: Tensor, matrix_TBXY: Tensor) -> Tensor:
    """Multiply rows by matrices; ``@`` would first copy a matrix that is transposed."""
    product_1Y = torch.bmm(row_TBX.flatten(0, 1)[:, None], matrix_TBXY.flatten(0, 1))
    return product_1Y[:, 0].unflatten(0, row_TBX.shape[:2])


def _fused(scan: Scan) -> tuple[Tensor, Tensor]:
    """Call the authors' kernel, which has time last."""
    interface = require("mamba_ssm.ops.selective_scan_interface", extra="cuda")
    x_BET, delta_BET, z_BET, B_BNT, C_BNT = (value.transpose(1, 2) for value in scan.columns)
    y_BET, last_BEN = interface.selective_scan_fn(
        x_BET, delta_BET, scan.A_EN.float(), B_BNT.contiguous(), C_BNT.contiguous(),
        scan.D_E.float(), z=z_BET, delta_bias=scan.bias_E.float(), delta_softplus=True,
        return_last_state=True,
    )  # fmt: skip
    return y_BET.transpose(1, 2), last_BEN
