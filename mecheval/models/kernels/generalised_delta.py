"""The generalised delta rule of RWKV-7 (arXiv:2503.14456): decays and removals per channel.

    S_t = diag(w_t) S_{t-1} - c_t^T (p_t S_{t-1}) + k_t^T v_t          y_t = q_t S_t

What the direction p_t holds is taken out along c_t, and each channel of the keys decays on its own.
In the paper p is the removal key and c = a p with the rate a of every channel; DeltaNet has
p = k, c = beta k and writes beta v. ``reference`` is the definition, one position at a time;
``torch`` works in chunks. Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from mecheval.models.kernels.chunks import CHUNK, chunk_length, in_chunks, joined, no_state, upcast

if TYPE_CHECKING:
    from torch import Tensor


class Writes(NamedTuple):
    """What positions write, ``(B, T, H, K)`` each but for the values ``(B, T, H, V)``.

    Attributes:
        log_decay: The logarithms of the decays w, from -1 to 0: the chunks divide by decays.
        direction: What is read to be removed, p; as a rule of length 1.
        removal: Where it is removed, c.
        k: Keys.
        v: Values.
    """

    log_decay: Tensor
    direction: Tensor
    removal: Tensor
    k: Tensor
    v: Tensor


def generalised_delta_rule(
    q_BTHK: Tensor,
    writes: Writes,
    *,
    state_BHKV: Tensor | None = None,
    implementation: Literal["reference", "torch"],
) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        q_BTHK: Queries, scaled as wanted.
        writes: What positions write.
        state_BHKV: The state before the first position; zeros without one.
        implementation: The definition, or chunks.

    Returns:
        The outputs ``(B, T, H, V)`` in the type of the values, and the last state
        ``(B, H, K, V)`` in float32 or float64.
    """
    run = {"reference": _reference, "torch": _chunked}[implementation]
    with torch.autocast(writes.v.device.type, enabled=False):
        v_BTHV, q_BTHK, state_BHKV, *others = upcast(writes.v, q_BTHK, state_BHKV, *writes[:-1])
        if state_BHKV is None:
            state_BHKV = no_state(q_BTHK, v_BTHV)
        y_BTHV, last_BHKV = run(q_BTHK, Writes._make([*others, v_BTHV]), state_BHKV)
    return y_BTHV.to(writes.v.dtype), last_BHKV


def _reference(q_BTHK: Tensor, writes: Writes, last_BHKV: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    columns = (value.unbind(1) for value in (q_BTHK, *writes))
    for q_BHK, log_decay_BHK, p_BHK, c_BHK, k_BHK, v_BHV in zip(*columns, strict=True):
        held_BHV = (p_BHK[..., None, :] @ last_BHKV)[..., 0, :]
        last_BHKV = (
            log_decay_BHK.exp()[..., None] * last_BHKV
            - c_BHK[..., None] * held_BHV[..., None, :]
            + k_BHK[..., None] * v_BHV[..., None, :]
        )
        outputs.append((q_BHK[..., None, :] @ last_BHKV)[..., 0, :])
    return torch.stack(outputs, 1), last_BHKV


def _chunked(q_BTHK: Tensor, writes: Writes, last_BHKV: Tensor) -> tuple[Tensor, Tensor]:
    """Find what each position removes, u_t = p_t S_{t-1}, for a chunk at a time.

    With g_t, the product of the decays of a chunk up to t, these solve for a chunk that starts
    from S ``u_t + sum_{s<t} (p_t g_{t-1} / g_s . c_s) u_s = (p_t g_{t-1}) S + sum_{s<t}
    (p_t g_{t-1} / g_s . k_s) v_s``. The solution is linear in S, so all chunks are solved at once.
    The quotients are products of two factors, which neither vanish nor overflow in a chunk, since
    no decay is below 1 / e.
    """
    n_positions = q_BTHK.shape[1]
    length = chunk_length(n_positions, CHUNK)
    q, log_decay, p, c, k, v = (in_chunks(value, length) for value in (q_BTHK, *writes))
    to_BCHLK = log_decay.cumsum(-2)
    total_BCHK = to_BCHLK[..., -1, :]
    read_BCHLK, held_BCHLK = q * to_BCHLK.exp(), p * (to_BCHLK - log_decay).exp()
    # What is removed counts as another write, along -c; both are decayed back to the chunk's start.
    keys_BCHSK = torch.cat([k, -c], -2) * (-torch.cat([to_BCHLK, to_BCHLK], -2)).exp()
    held_k_BCHLL, held_c_BCHLL = _scores(held_BCHLK, keys_BCHSK, diagonal=-1)
    from_zero_BCHLV, from_state_BCHLK = torch.linalg.solve_triangular(
        -held_c_BCHLL, torch.cat([held_k_BCHLL @ v, held_BCHLK], -1),
        upper=False, unitriangular=True,
    ).split([v.shape[-1], q.shape[-1]], -1)  # fmt: skip
    scores_BCHLS = torch.cat(_scores(read_BCHLK, keys_BCHSK, diagonal=0), -1)
    left_BCHKS = (keys_BCHSK * total_BCHK.exp()[..., None, :]).transpose(-1, -2)
    starts, added = [], []
    columns = (value.unbind(1) for value in (v, from_zero_BCHLV, from_state_BCHLK, left_BCHKS))
    totals = total_BCHK.exp()[..., None].unbind(1)
    for total_BHK1, v_BHLV, zero_BHLV, state_BHLK, left_BHKS in zip(totals, *columns, strict=True):
        starts.append(last_BHKV)
        added.append(torch.cat([v_BHLV, zero_BHLV + state_BHLK @ last_BHKV], -2))
        last_BHKV = total_BHK1 * last_BHKV + left_BHKS @ added[-1]
    sum_BCHLV = scores_BCHLS @ torch.stack(added, 1) + read_BCHLK @ torch.stack(starts, 1)
    return joined(sum_BCHLV, n_positions), last_BHKV


def _scores(read_BCHLK: Tensor, keys_BCHSK: Tensor, *, diagonal: int) -> tuple[Tensor, Tensor]:
    """Return products with the first and the second half of the keys, 0 for later positions."""
    first_BCHLL, second_BCHLL = (read_BCHLK @ keys_BCHSK.transpose(-1, -2)).chunk(2, -1)
    return first_BCHLL.tril(diagonal), second_BCHLL.tril(diagonal)
