"""Which circuit is named, on made-up effects: one path, several units, or none.

Shape suffixes: ``P`` pairs, ``F`` first units, ``U`` last units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.metrics import resampling
from mecheval.metrics.circuit.gap import Gap
from mecheval.metrics.circuit.held_layers import Unit
from mecheval.metrics.circuit.named_circuit import Named, named_circuit

if TYPE_CHECKING:
    from collections.abc import Sequence

Effect = Callable[[set[str], set[str]], float]

N_PAIRS = 40
FIRST = [Unit(0, 0), Unit(0, 1), Unit(1, 0), Unit(1, 1), Unit(2, None)]
LAST = [Unit(3, 0), Unit(3, 1), Unit(4, 0)]


def named(effect: Effect, *, noise: float = 0.0) -> Named:
    """Name a circuit, given the share of the gap that is lost through units by their names."""
    rng, asked = np.random.default_rng(0), []
    noise_P = noise * rng.normal(size=N_PAIRS)
    gap = Gap(np.ones(N_PAIRS), np.zeros(N_PAIRS), np.ones(N_PAIRS, bool))

    def together(first: Sequence[Unit], last: Sequence[Unit]) -> np.ndarray:
        asked.append((first, last))
        return 1 - effect({str(unit) for unit in first}, {str(unit) for unit in last}) + noise_P

    patched_FUP = np.stack([np.stack([together([f], [u]) for u in LAST]) for f in FIRST])
    weight_RP = resampling.weights(N_PAIRS, rng)
    asked.clear()
    found = named_circuit(gap, weight_RP, (FIRST, LAST), patched_FUP, (FIRST, LAST), together)
    assert len(asked) <= 2 + len(FIRST) + len(LAST)
    return found


@pytest.mark.parametrize(
    ("effect", "verdict", "value", "single", "pooled"),
    [
        # One path, whatever else is there.
        (lambda f, u: 0.8 * ("L0H1" in f and "L3H0" in u), "L0H1 -> L3H0", 0.8, 0.8, 0.8),
        # Each of two brings half of the key: none has an effect by itself.
        (lambda f, u: float({"L0H1", "L1H0"} <= f and "L3H0" in u),
         "L0H1 + L1H0 -> L3H0", 1.0, 0.0, 1.0),
        # Two heads share what is fetched.
        (lambda f, u: 0.5 * ("L0H1" in f) * len(u & {"L3H1", "L4H0"}),
         "L0H1 -> L3H1 + L4H0", 1.0, 0.5, 1.0),
        # Both at once, one of them a whole mixer.
        (lambda f, u: 0.5 * ({"L0H0", "L2"} <= f) * len(u & {"L3H0", "L3H1"}),
         "L0H0 + L2 -> L3H0 + L3H1", 1.0, 0.0, 1.0),
        # Little, and by no more together.
        (lambda f, u: 0.4 * ("L0H1" in f and "L3H0" in u), "none", 0.4, 0.4, 0.4),
        # One carries more than all, because another counteracts it.
        (lambda f, u: 0.7 * ("L0H1" in f) - 0.4 * ("L1H1" in f),
         "L0H1 -> L3H0", 0.7, 0.7, 0.3),
        # Too many to be written out.
        (lambda f, u: 0.2 * len(f) * ("L4H0" in u),
         "5 units of layers 0 to 2 -> L4H0", 1.0, 0.2, 1.0),
    ],
    ids=["one", "halves of a key", "split", "both", "little", "counteracted", "many"],
)  # fmt: skip
def test_what_is_named(effect: Effect, verdict: str, value: float, single, pooled) -> None:
    found = named(effect)
    assert found.verdict == verdict
    assert found.estimate.value == pytest.approx(value)
    assert found.estimate.interval is not None
    assert found.estimate.interval.low == pytest.approx(value)
    assert (found.single, found.pooled) == (pytest.approx(single), pytest.approx(pooled))
    assert found.agreement == 1
    written_out = "units" not in verdict
    assert found.unwritten == ({} if written_out else {"from": [*map(str, FIRST)], "to": ["L4H0"]})


def test_what_hardly_adds_anything_is_left_out() -> None:
    """Nine tenths of what all carry are enough."""
    found = named(
        lambda f, u: ("L3H0" in u) * (0.95 * ({"L0H0", "L1H0"} <= f) + 0.05 * ("L0H1" in f))
    )
    assert found.verdict == "L0H0 + L1H0 -> L3H0"
    assert found.estimate.value == pytest.approx(0.95)
    assert found.pooled == pytest.approx(1)


def test_a_near_tie_shows_in_the_agreement() -> None:
    found = named(lambda f, u: 0.52 * ("L0H1" in f and "L3H0" in u), noise=0.15)
    assert found.verdict == "L0H1 -> L3H0"
    assert 0.5 < found.agreement < 0.95
    assert found.estimate.interval is not None
    assert found.estimate.interval.low < 0.5 < found.estimate.interval.high
