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

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.kernels import chunks
from mecheval.models.kernels.decays import head_decays, no_decay
from mecheval.models.kernels.fla import LinearImplementation, fused
from mecheval.models.kernels.triangular_solve import substituted, unit_inverse

if TYPE_CHECKING:
    from collections.abc import Sequence


def delta_rule(
    q_BTHK: Tensor | None,
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
        q_BTHK: Queries, scaled as wanted; None where nobody reads. Then only the last state is
            computed, and what is returned in the place of outputs means nothing.
        k_BTHK: Keys, as a rule of length 1: ``beta |k|^2`` beyond 2 lets states grow.
        v_BTHV: Values.
        beta_BTH: The part of the old value that is replaced.
        log_decay_BTH: The logarithms of the decays, finite and at most 0. None is no decay.
        state_BHKV: The state before the first position; zeros without one.
        implementation: What :func:`mecheval.models.kernels.fla.choose_linear` chose.

    Returns:
        The outputs ``(B, T, H, V)`` in the type of the values, and the last state
        ``(B, H, K, V)`` in float32 or float64.
    """
    any_BTHK = k_BTHK if q_BTHK is None else q_BTHK
    if implementation == "fla":
        name = "delta_rule" if log_decay_BTH is None else "gated_delta_rule"
        return fused(name, any_BTHK, k_BTHK, v_BTHV, state_BHKV, beta=beta_BTH, g=log_decay_BTH)
    given = (k_BTHK, beta_BTH, log_decay_BTH, state_BHKV)
    if implementation == "reference":
        return chunks.in_full(_reference, v_BTHV, any_BTHK, *given)
    return chunks.in_full(_chunked, v_BTHV, q_BTHK, *given)


def _reference(
    v_BTHV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    beta_BTH: Tensor,
    log_decay_BTH: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    a_BTH = torch.ones_like(beta_BTH) if log_decay_BTH is None else log_decay_BTH.exp()
    last_BHKV = chunks.started(state_BHKV, k_BTHK, v_BTHV)
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
    q_BTHK: Tensor | None,
    k_BTHK: Tensor,
    beta_BTH: Tensor,
    log_decay_BTH: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Find what each position adds, u_t = beta_t (v_t - a_t k_t S_{t-1}), for a chunk at a time.

    With the decays g from one position to another these solve, for a chunk that starts from S,
    ``u_l + beta_l sum_{s<l} g_ls (k_l . k_s) u_s = beta_l (v_l - g_l k_l S)``; that is the WY form
    (arXiv:2406.06484, section 3.2). The matrices of all chunks are inverted at once.
    """
    n_positions = v_BTHV.shape[1]
    length = chunks.chunk_length(n_positions, chunks.chunk_for(k_BTHK.shape[3]))
    k_BCHLK, v_BCHLV = (chunks.in_chunks(value, length) for value in (k_BTHK, v_BTHV))
    q_BCHLK = None if q_BTHK is None else chunks.in_chunks(q_BTHK, length)
    beta_BCHL1 = chunks.in_chunks(beta_BTH, length)[..., None]
    factors_BCHLS = beta_BCHL1 * chunks.overlaps(k_BCHLK, k_BCHLK)
    scores_BCHLS = factors_BCHLS
    if q_BCHLK is not None:
        scores_BCHLS = chunks.overlaps(q_BCHLK, k_BCHLK, diagonal=0)
    if log_decay_BTH is None:
        decays = no_decay(v_BCHLV)
    else:
        between_BCHLS, decays = head_decays(chunks.in_chunks(log_decay_BTH, length))
        factors_BCHLS, scores_BCHLS = factors_BCHLS * between_BCHLS, scores_BCHLS * between_BCHLS
    right_BCHLV, inverse_BCHLS = beta_BCHL1 * v_BCHLV, unit_inverse(factors_BCHLS)
    kept_BCHKL = (k_BCHLK * decays.after_BCHLK).transpose(-1, -2)
    # A single chunk from zeros has no state to subtract, and none to read: half of the products.
    starts: list[Tensor] = []
    if state_BHKV is None and v_BCHLV.shape[1] == 1:
        added_BCHLV = substituted(factors_BCHLS, inverse_BCHLS, right_BCHLV)
        last_BHKV = (kept_BCHKL @ added_BCHLV)[:, 0]
    else:
        held_BCHLK = beta_BCHL1 * k_BCHLK * decays.before_BCHLK
        columns = (factors_BCHLS, inverse_BCHLS, right_BCHLV, held_BCHLK, kept_BCHKL)
        starts, added_BCHLV, last_BHKV = _one_after_the_other(
            columns, decays.total_BCHK[..., None], chunks.started(state_BHKV, k_BTHK, v_BTHV)
        )
    if q_BCHLK is None:
        return v_BTHV, last_BHKV
    sum_BCHLV = scores_BCHLS @ added_BCHLV
    if starts:
        sum_BCHLV = sum_BCHLV + (q_BCHLK * decays.before_BCHLK) @ torch.stack(starts, 1)
    return chunks.joined(sum_BCHLV, n_positions), last_BHKV


def _one_after_the_other(
    columns: Sequence[Tensor], totals_BCH11: Tensor, last_BHKV: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the states before the chunks, what each adds, and the state after them.

    What is added depends on the state that the chunk starts from: only this runs one chunk after
    the other, and what queries read of the states waits until all of them are there.
    """
    starts, added = [], []
    for total_BH11, factors_BHLS, inverse_BHLS, right_BHLV, held_BHLK, kept_BHKL in zip(
        totals_BCH11.unbind(1), *(value.unbind(1) for value in columns), strict=True
    ):
        starts.append(last_BHKV)
        right_BHLV = right_BHLV - held_BHLK @ last_BHKV
        added.append(substituted(factors_BHLS, inverse_BHLS, right_BHLV))
        last_BHKV = total_BH11 * last_BHKV + kept_BHKL @ added[-1]
    return starts, torch.stack(added, 1), last_BHKV
