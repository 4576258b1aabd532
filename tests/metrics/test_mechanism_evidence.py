"""Which cells the rules of a mechanism are given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from retrieval_subjects import RECALL, planted

from mecheval.metrics.intervention import mechanism_evidence
from mecheval.metrics.intervention.mechanism_evidence import (
    COMPONENTS,
    KIND,
    MEMORY,
    Measured,
    ends,
    in_order,
    measured,
)
from mecheval.metrics.intervention.mechanism_rule import PLACES, Evidence
from mecheval.metrics.intervention.roles import ROLES
from mecheval.metrics.intervention.shares import DIRECTIONS, Restored, restored

if TYPE_CHECKING:
    from mecheval.metrics.intervention.shares import Direction

TREES = "atr[preset=easy]"


def numbered(task: str) -> Restored:
    """Return pairs whose share is 1 per role, in its order, and 10 per component.

    Necessity is its negative.
    """
    subject = planted("lstm[layers=2,width=16]", task, limit=None)
    pairs = subject.pairs(128, subject.length, kind=KIND)
    found = restored(subject, pairs, (), kind=KIND)
    ones_P = np.ones(len(pairs))
    value_LGP = np.arange(len(ROLES))[None, :, None] * np.ones((2, 1, len(pairs)))
    value_LGP[:, found.position_GP < 0] = np.nan
    patched = {}
    for number, component in enumerate(COMPONENTS):
        patched["denoising", component] = 10 * number + value_LGP
        patched["noising", component] = 1 + 10 * number + value_LGP
    return replace(found, clean_P=ones_P, corrupted_P=0 * ones_P, patched_LGP=patched)


def plainly(found: Measured, direction: Direction = "denoising") -> Evidence:
    """Return the evidence of every pair once."""
    return found.evidence(np.ones((1, len(found.found.pairs))), direction)


@pytest.mark.parametrize("task", [RECALL, TREES])
def test_places_are_those_of_the_roles(task: str) -> None:
    found = numbered(task)
    found = found.take(in_order(found))
    has = {place: not np.isnan(at).all() for place, at in
           zip(PLACES, plainly(Measured(found)).block_in_RLS[0, 0], strict=True)}  # fmt: skip
    for direction in DIRECTIONS:
        sign = 1 if direction == "denoising" else -1
        evidence = plainly(Measured(found), direction)
        arrays = (evidence.block_in_RLS, evidence.mixer_out_RLS, evidence.conv_out_RLS)
        for number, at_RLS in enumerate(arrays):
            for place, value in zip(PLACES, at_RLS[0, 1], strict=True):
                role = "next_key" if place == "between" else place
                if has[place]:
                    assert value == pytest.approx(sign * (10 * number + ROLES.index(role)))
        assert np.isnan(evidence.memory_RL).all()


def test_what_stands_between_is_behind_the_key_and_before_the_value() -> None:
    """In recall the next key stands behind the value, and nothing stands between."""
    found = numbered(RECALL)
    assert np.isnan(plainly(Measured(found)).block_in_RLS[..., PLACES.index("between")]).all()
    found = numbered(TREES)
    key_P, value_P, next_P = (
        found.position_GP[ROLES.index(role)] for role in ("key", "value", "next_key")
    )
    assert (next_P == key_P + 1).all()
    adjacent_P = value_P == next_P
    assert 0 < adjacent_P.sum() < len(adjacent_P) - 8
    some = found.take(adjacent_P)
    assert np.isnan(plainly(Measured(some)).block_in_RLS[..., PLACES.index("between")]).all()


@pytest.mark.parametrize("task", [RECALL, TREES])
def test_the_memory_is_that_after_the_last_position_before_the_value(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, asked = planted("lstm[layers=2,width=16]", task, limit=None), []
    exchanged_at = mechanism_evidence.exchanged_at

    def noted(subject, found, component, position_P):
        asked.append((component, position_P))
        return exchanged_at(subject, found, component, position_P)

    monkeypatch.setattr(mechanism_evidence, "exchanged_at", noted)
    pairs = subject.pairs(64, subject.length, kind=KIND)
    found = measured(subject, pairs)
    ((component, position_P),) = asked
    assert component == MEMORY
    key_P, value_P = pairs.clean.roles["key"], pairs.clean.roles["value"]
    ordered_P = key_P < value_P
    np.testing.assert_array_equal(position_P[ordered_P], value_P[ordered_P] - 1)
    assert len(found.found.pairs) == len(ends(subject, pairs).found.pairs) == ordered_P.sum()
    assert not np.isnan(plainly(found).memory_RL).any()


def test_there_is_no_profile_of_a_memory_that_was_not_exchanged() -> None:
    with pytest.raises(ValueError, match="not exchanged"):
        Measured(numbered(RECALL)).memory_profile(np.ones((1, 128)))
