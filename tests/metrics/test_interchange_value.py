"""Before which layer interchange looks, and what it says where no layer retrieves.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles.
"""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_subjects import RECALL, planted, results
from test_interchange import pairs_of

from mecheval.metrics.intervention import interchange
from mecheval.metrics.intervention.roles import ROLES, first_named, positions_of
from mecheval.metrics.intervention.shares import DIRECTIONS, Restored

KEY, VALUE, QUERY = (ROLES.index(role) for role in ("key", "value", "query"))


@pytest.mark.parametrize(
    ("query", "layer"),
    [
        ([0, 0.9, 1.0], 0),
        ([0, 0.2, 0.6], 1),
        ([0, 0.2, 0.3], 2),  # nothing is enough before the last layer: it has to retrieve
        ([0, np.nan, 0.6], 1),
        ([0, np.nan, np.nan], None),
    ],
)
def test_the_first_layer_behind_which_the_query_is_enough(query, layer) -> None:
    assert interchange.retrieving_layer(np.array(query), 0.5) == layer


def shown(by_layer: list[dict[str, float]], **roles: list[int]) -> Restored:
    """Return 12 pairs whose clean probability is 1, with shares at some roles of block_in."""
    pairs = pairs_of(**{name: positions * 12 for name, positions in roles.items()})
    patched_LGP = np.zeros((len(by_layer), len(ROLES), 12))
    for layer, shares in enumerate(by_layer):
        for role, share in shares.items():
            patched_LGP[layer, ROLES.index(role)] = share
    ones_P, cells = np.ones(12), {(way, "block_in"): patched_LGP for way in DIRECTIONS}
    found = Restored(pairs, positions_of(pairs), ones_P, 0 * ones_P, cells)
    return found.only(first_named(found.position_GP))


def test_the_value_is_before_the_layer_that_retrieves() -> None:
    layers = [{"key": 1}, {"key": 0.8, "value": 0.3}, {"value": 0.7, "query": 0.1}]
    found = shown(layers, key=[1], value=[2], query=[8])
    estimate, scalars = interchange._headline(found, np.ones((3, 12)), 0.5)
    assert estimate.value == pytest.approx(0.7)
    assert (scalars["retrieving_layer"], scalars["layer"]) == (2, 2)
    assert (scalars["at_key"], scalars["at_query"]) == (0, pytest.approx(0.1))


def test_a_query_that_is_something_else_before_it_leaves_no_layer_that_retrieves() -> None:
    """It reported layer 0, as if the first layer were the one."""
    found = shown([{"key": 1}, {"value": 0.7}], key=[1], value=[2], divider=[8], query=[8])
    estimate, scalars = interchange._headline(found, np.ones((3, 12)), 0.5)
    assert (estimate.value, scalars) == (None, {})
    assert estimate.reason == "no layer that retrieves: fewer than 8 pairs have a query of its own"


def test_a_pair_without_a_value_of_its_own_has_no_share_there() -> None:
    found = shown([{"key": 1}, {"query": 0.9}], key=[2], value=[2], query=[8])
    estimate, scalars = interchange._headline(found, np.ones((3, 12)), 0.5)
    assert estimate.reason == "fewer than 8 pairs have a value of its own"
    assert scalars["retrieving_layer"] == 0


def test_columns_are_what_a_newcomer_can_read() -> None:
    found = results(planted("planted/induction", RECALL), "interchange")
    for kind in ("key", "value"):
        assert [line.title for line in found[f"interchange/{kind}"].headline] == [
            f"{kind}: brought back at the value", f"{kind}: before layer",
        ]  # fmt: skip
