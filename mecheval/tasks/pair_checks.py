"""What a counterfactual promises, looked at before and after the pairs are drawn from it.

Shape suffixes: ``B`` examples, ``P`` pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval.seeding import stream
from mecheval.tasks.batch import Pairs
from mecheval.tasks.checking import check_shapes, need
from mecheval.tasks.splits import draw, draw_pairs, in_split

if TYPE_CHECKING:
    from mecheval.tasks.contract import Task

N_PAIRS = 256
N_RETURNED = 2048
"""Examples that a counterfactual is asked to change: one in a hundred is met with certainty."""


def drawn_pairs(task: Task) -> dict[str, Pairs]:
    """Draw pairs of every kind, the same ones every time."""
    rng, length = stream(0, "check_pairs"), task.max_length
    return {
        kind: draw_pairs(task, rng, N_PAIRS, length=length, kind=kind)
        for kind in task.counterfactuals
    }


def check_pairs(task: Task) -> str:
    """Check what every kind of counterfactual returns, and the pairs that are kept of it.

    Raises:
        BrokenError: The contract of :meth:`mecheval.tasks.Task.counterfactual` is broken.
    """
    dropped = {kind: _returned(task, kind) for kind in task.counterfactuals}
    return "; ".join(
        f"{kind}: {_kept(task, pairs)}{dropped[kind]}" for kind, pairs in drawn_pairs(task).items()
    )


def _returned(task: Task, kind: str) -> str:
    """Look at all that a counterfactual returns; say what cannot become a pair."""
    rng = stream(0, "check_counterfactual", kind)
    clean = draw(task, rng, N_RETURNED, length=task.max_length, split="test")
    pairs = Pairs(clean, task.counterfactual_of(kind, clean, rng))
    check_shapes(task, pairs.corrupted, clean.tokens_BT.shape)
    changed_B = (clean.tokens_BT != pairs.corrupted.tokens_BT).any(1)
    stays_B = pairs.answers_P == pairs.foils_P
    broken = {
        "change and keep their answer at the readout": changed_B & stays_B,
        "come back as they are with another answer at the readout": ~changed_B & ~stays_B,
    }
    for what, broken_B in broken.items():
        need(
            not broken_B.any(),
            f"{kind}: {broken_B.sum()} of {len(clean)} examples ({broken_B.mean():.2%}) {what}. "
            "Give them another answer, or return them as they are, with their labels",
        )
    late_B = changed_B & (pairs.changed_P >= pairs.readout_P)
    shares = {"come back unchanged": ~changed_B, "change at the readout or behind it": late_B}
    said = [f"{share_B.mean():.1%} {what}" for what, share_B in shares.items() if share_B.any()]
    return f" ({' and '.join(said)}, and are dropped)" if said else ""


def _kept(task: Task, pairs: Pairs) -> str:
    """Check the pairs that are drawn; say how many tokens differ in them."""
    clean, corrupted = pairs.clean, pairs.corrupted
    check_shapes(task, corrupted, clean.tokens_BT.shape)
    for role, positions_P in clean.roles.items():
        need(np.array_equal(positions_P, corrupted.roles[role]), f"role {role} moves")
    need(np.isin(pairs.foils_P, task.answers).all(), "a foil is not an answer")
    for batch in () if task.separate else (clean, corrupted):
        seen = in_split(task.split_key(batch.tokens_BT), "train").any()
        need(not seen, "a pair is in the training split")
    changes_P = (clean.tokens_BT != corrupted.tokens_BT).sum(1)
    return (
        f"{changes_P.min()} to {changes_P.max()} tokens change, {changes_P.mean():.2f} on average"
    )
