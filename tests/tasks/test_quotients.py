"""Which variables of a task on a group are its state, and which are quotients."""

from __future__ import annotations

import numpy as np
import pytest

import mecheval
from mecheval.tasks.quotients import quotients_of, state_variable


@pytest.mark.parametrize(
    ("task", "state", "quotients"),
    [
        ("s3", "element", {"sign": 2}),  # coset is kept by no product
        ("z6", "element", {"mod2": 2, "mod3": 3}),
        ("parity", "parity", {}),
        ("group[name=a5]", "element", {}),
        ("group[name=a4]", "element", {"coset3": 3}),
        ("group[name=s4]", "element", {"sign": 2, "coset6": 6}),
        ("group[name=z2xs3]", "element", {"z2": 2, "s3": 6, "s3_sign": 2}),
        ("group[name=z5]", "element", {}),
    ],
)
def test_state_and_quotients(task: str, state: str, quotients: dict[str, int]) -> None:
    loaded = mecheval.load_task(task)
    assert state_variable(loaded) == state  # type: ignore[arg-type]
    found = quotients_of(loaded)  # type: ignore[arg-type]
    assert {name: len(set(value_G.tolist())) for name, value_G in found.items()} == quotients


def test_the_values_of_products_follow_from_those_of_factors() -> None:
    task = mecheval.load_task("group[name=s4]")
    table_GG = task.product  # type: ignore[attr-defined]
    for value_G in quotients_of(task).values():  # type: ignore[arg-type]
        of_product: dict[tuple[int, int], int] = {}
        for (a, b), product in np.ndenumerate(table_GG):
            pair = (int(value_G[a]), int(value_G[b]))
            assert of_product.setdefault(pair, int(value_G[product])) == value_G[product]


def test_another_element_in_the_place_of_one_changes_all_that_follows() -> None:
    task = mecheval.load_task("s3")
    batch = task.sample(np.random.default_rng(0), 8, 6)
    place_B, element_B = np.arange(8) % 6, np.arange(8) % 5 + 1
    changed = task.replaced(batch, place_B, element_B)  # type: ignore[attr-defined]
    for row in range(8):
        word, state = batch.tokens_BT[row, 1:] - 1, 0
        word[place_B[row]] = element_B[row]
        assert changed.tokens_BT[row].tolist() == [0, *(word + 1)]
        for position, letter in enumerate(word, start=1):
            state = int(task.product[state, letter])  # type: ignore[attr-defined]
            assert changed.targets_BT[row, position] == task.answers[state]
