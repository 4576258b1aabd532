"""The delta rule: a write replaces what its key held before, by the part beta.

    S_t = a_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T          y_t = q_t S_t

DeltaNet (arXiv:2406.06484) has a = 1; the decay a_t is that of gated DeltaNet (arXiv:2412.06464).
It is one number per head, so decaying before or after the rule is the same; what is written at t
is not decayed at t. With unit keys and beta in (0, 1) eigenvalues lie in (0, 1), with beta in
(0, 2) in (-1, 1) (arXiv:2411.12537).

``reference`` is the definition, one position at a time; ``torch`` works in chunks; ``fla`` is the
package flash-linear-attention. Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mecheval.models.kernels.chunks import CHUNK, chunk_length, in_chunks, joined, no_state, upcast
from mecheval.models.kernels.decays import head_decays, no_decay
from mecheval.models.kernels.flash import LinearImplementation, fused_delta_rule


def delta_rule(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    beta_BTH: Tensor,
    *,
    log_decay_BTH: Tensor | None = None,
    state_BHKV: Tensor | None = None,
    implementation: LinearImplementation,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        q_BTHK: Queries, scaled as wanted.
        k_BTHK: Keys, as a rule of length 1: ``beta |k|^2`` beyond 2 lets states grow.
        v_BTHV: Values.
        beta_BTH: The part of the old value that is replaced.
        log_decay_BTH: The logarithms of the decays, finite and at most 0. None is no decay.
        state_BHKV: The state before the first position; zeros without one.
        implementation: What :func:`mecheval.models.kernels.flash.choose_linear` chose.

    Returns:
        The outputs ``(B, T, H, V)`` in the type of the values, and the last state
        ``(B, H, K, V)`` in float32 or float64.
    """
    if implementation == "fla":
        return fused_delta_rule(q_BTHK, k_BTHK, v_BTHV, beta_BTH, log_decay_BTH, state_BHKV)
    run = {"reference": _reference, "torch": _chunked}[implementation]
    with torch.autocast(v_BTHV.device.type, enabled=False):
        given = upcast(v_BTHV, q_BTHK, k_BTHK, beta_BTH, log_decay_BTH, state_BHKV)
        y_BTHV, last_BHKV = run(*given)
    return y_BTHV.to(v_BTHV.dtype), last_BHKV


def _reference(
    v_BTHV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    beta_BTH: Tensor,
    log_decay_BTH: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    a_BTH = torch.ones_like(beta_BTH) if log_decay_BTH is None else log_decay_BTH.exp()
    last_BHKV = no_state(k_BTHK, v_BTHV) if state_BHKV is None else state_BHKV
    outputs = []
    columns = (value.unbind(1) for value in (q_BTHK, k_BTHK, v_BTHV, beta_BTH, a_BTH))
    for q_BHK, k_BHK, v_BHV, beta_BH, a_BH in zip(*columns, strict=True):
        kept_BHKV = a_BH[..., None, None] * last_BHKV
        held_BHV = (k_BHK[..., None, :] @ kept_BHKV)[..., 0, :]
        new_BHV = beta_BH[..., None] * (v_BHV - held_BHV)
        last_BHKV = kept_BHKV + k_BHK[..., None] * new_BHV[..., None, :]
        outputs.append((q_BHK[..., None, :] @ last_BHKV)[..., 0, :])
    return torch.stack(outputs, 1), last_BHKV


def _chunked(
    v_BTHV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    beta_BTH: Tensor,
    log_decay_BTH: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Find what each position adds, u_t = beta_t (v_t - a_t k_t S_{t-1}), for a chunk at a time.

    With the decays g from one position to another these solve, for a chunk that starts from S,
    ``u_l + beta_l sum_{s<l} g_ls (k_l . k_s) u_s = beta_l (v_l - g_l k_l S)``; that is the WY form
    (arXiv:2406.06484, section 3.2). The solution is linear in S, so all chunks are solved at once.
    Substitution is safe for keys that are nearly equal, where powers of the matrix are not.
    """
    n_positions = v_BTHV.shape[1]
    length = chunk_length(n_positions, CHUNK)
    q_BCHLK, k_BCHLK, v_BCHLV = (in_chunks(value, length) for value in (q_BTHK, k_BTHK, v_BTHV))
    beta_BCHL1 = in_chunks(beta_BTH, length)[..., None]
    if log_decay_BTH is None:
        between_BCHLS, decays = no_decay(v_BCHLV)
    else:
        between_BCHLS, decays = head_decays(in_chunks(log_decay_BTH, length))
    # The solver takes the diagonal to be 1 and looks at nothing above it.
    from_zero_BCHLV, from_state_BCHLK = torch.linalg.solve_triangular(
        beta_BCHL1 * (k_BCHLK @ k_BCHLK.transpose(-1, -2)) * between_BCHLS,
        beta_BCHL1 * torch.cat([v_BCHLV, k_BCHLK * decays.before_BCHLK], -1),
        upper=False,
        unitriangular=True,
    ).split([v_BTHV.shape[3], k_BTHK.shape[3]], -1)
    scores_BCHLS = (q_BCHLK @ k_BCHLK.transpose(-1, -2)) * between_BCHLS
    kept_BCHKL = (k_BCHLK * decays.after_BCHLK).transpose(-1, -2)
    written = (kept_BCHKL @ from_zero_BCHLV).unbind(1)
    if state_BHKV is None and len(written) == 1:
        return joined(scores_BCHLS @ from_zero_BCHLV, n_positions), written[0]
    last_BHKV = no_state(k_BTHK, v_BTHV) if state_BHKV is None else state_BHKV
    replaced = (kept_BCHKL @ from_state_BCHLK).unbind(1)
    totals = decays.total_BCHK[..., None].unbind(1)
    starts = []
    for total_BH11, written_BHKV, replaced_BHKK in zip(totals, written, replaced, strict=True):
        starts.append(last_BHKV)
        last_BHKV = total_BH11 * last_BHKV + written_BHKV - replaced_BHKK @ last_BHKV
    starts_BCHKV = torch.stack(starts, 1)
    added_BCHLV = from_zero_BCHLV - from_state_BCHLK @ starts_BCHKV
    read_BCHLV = (q_BCHLK * decays.before_BCHLK) @ starts_BCHKV
    return joined(scores_BCHLS @ added_BCHLV + read_BCHLV, n_positions), last_BHKV
