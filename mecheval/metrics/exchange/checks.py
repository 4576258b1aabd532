"""What must come out of an exchange at the first layer and behind the last one, in any model.

Shape suffixes: ``L`` layers 0 to n, ``B`` sequences, ``T`` positions, ``N`` scored answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mecheval.metrics.exchange.exchange_sweep import Outcome, Sweep

CLOSE = 0.05
"""How far an accuracy may be from what it must be, beyond three standard errors."""

_IDENTITY = 5e-3  # of answers: rounding turns some round that are a toss-up anyway


def checked(sweep: Sweep, outcome: Outcome) -> tuple[dict[str, float | None], list[str]]:
    """Return numbers of both checks, and what to know of them and of where donors are missing."""
    curves = outcome.curves
    assert curves is not None  # noqa: S101 - it was measured
    ends = (curves.free_L[0], curves.kept_L[0])
    identity = max(abs(float(end) - curves.accuracy) for end in ends)
    numbers: dict[str, float | None] = {"identity_error": identity}
    notes = []
    if identity > _IDENTITY:
        notes.append(
            "at layer 0 an exchange changes answers, where it should not: what enters the first "
            "block is not decided by the token and its position"
        )
    if sweep.of_stream:
        expected, problem = _last(sweep, outcome)
        numbers["expected_free"] = expected
        notes += [problem] if problem else []
    undefined = np.flatnonzero(~curves.loses_L[1:]) + 1
    if len(undefined):
        notes.append(
            f"sufficiency is null at layers {undefined.tolist()}: donors of any state cost less "
            f"than {curves.min_loss:g} there, because nothing of the state is used or because it "
            "is computed again from the tokens"
        )
    if outcome.missing > 0:
        notes.append(
            f"{outcome.missing:.2%} of the positions have no donor of the same state, and keep "
            "what is their own"
        )
    return numbers, notes


def _last(sweep: Sweep, outcome: Outcome) -> tuple[float, str | None]:
    """Return the accuracy that free donors must have behind the last block, and what is off."""
    curves, runs = outcome.curves, sweep.runs
    assert curves is not None  # noqa: S101 - it was measured
    labels = runs.pool.targets_BT, runs.batch.targets_BT
    scored_BT = runs.scored_BT
    of_any_N, of_same_N = (
        donors.agreeing(*labels)[scored_BT] for donors in (sweep.free, outcome.kept)
    )
    known_N = ~np.isnan(of_any_N) & ~np.isnan(of_same_N)
    if not known_N.any():
        return float("nan"), None  # nothing was exchanged there
    expected = float(of_any_N[known_N].mean())
    if of_same_N[known_N].min() < 1:
        return expected, None  # the variables do not decide the answer
    kept, free = (
        (share_LB[-1].mean(), 3 * share_LB[-1].std() / np.sqrt(share_LB.shape[1]))
        for share_LB in (curves.kept_LB, curves.free_LB)
    )
    err = 1 - curves.accuracy
    if kept[0] < curves.accuracy - CLOSE - kept[1]:
        return expected, (
            f"behind the last block donors of the same state have accuracy {kept[0]:.3f}, and the "
            f"model has {curves.accuracy:.3f}: it answers training sequences worse, or the readout "
            "does not read every position alone"
        )
    if abs(free[0] - expected) > CLOSE + err + free[1]:
        return expected, (
            f"behind the last block donors of any state have accuracy {free[0]:.3f}, and the "
            f"answers of donors are the same in {expected:.3f}: the readout does not read every "
            "position alone"
        )
    return expected, None
