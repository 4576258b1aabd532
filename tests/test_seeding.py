"""Streams: independent of each other, the same everywhere, and no global state."""

import hashlib
import random

import numpy as np
import pytest
from scipy import stats

from mecheval.seeding import STREAMS, Draws, derive, listed, stream


def test_derived_seeds_never_change() -> None:
    # Written down once: every published report lists these numbers.
    assert derive(0, "init") == 1519069808562059438
    assert derive(1, "train_data", 3) == 4255151501195396888


def test_purposes_and_seeds_have_different_streams() -> None:
    seeds = [derive(seed, name) for seed in range(50) for name in STREAMS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "2") != derive(12)


def test_a_stream_repeats() -> None:
    assert np.array_equal(stream(5, "pairs").random(8), stream(5, "pairs").random(8))
    first, second = (Draws(5, "init").normal((8,)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        (
            [0, 0, 0, 0], [0, 0],
            "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        ),
        (
            [2**64 - 1] * 4, [2**64 - 1] * 2,
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
            [0x452821E638D01377, 0xBE5466CF34E90C6C],
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)  # fmt: skip
def test_the_bits_are_those_of_philox(counter: list[int], key: list[int], words: str) -> None:
    """The known answers that come with its authors' implementation, Random123."""
    number, secret = (sum(w << (64 * i) for i, w in enumerate(words)) for words in (counter, key))
    # NumPy counts before it draws.
    bits = np.random.Philox(counter=(number - 1) % 2**256, key=secret)
    assert [f"{word:016x}" for word in bits.random_raw(4).tolist()] == words.split()


def test_drawn_numbers_never_change() -> None:
    """Written down once: every checkpoint begins with such numbers."""
    draws = Draws(0, "init")
    parts = [
        draws.normal((40000,)), draws.normal((3, 5), 1.0, 0.02, np.float32),
        draws.uniform((40000,)), draws.uniform((7,), -2, 3, np.float32),
    ]  # fmt: skip
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    assert digest[:16] == "3dddadcf349e42b3"


def test_drawn_numbers_are_distributed_as_they_should() -> None:
    """By the Kolmogorov-Smirnov test; the seed is fixed, so chance has no part in it."""
    for dtype in (np.float32, np.float64):
        draws = Draws(1, "init")
        normal = draws.normal((200_000,), 3.0, 0.5, dtype)
        uniform = draws.uniform((200_000,), -1.0, 3.0, dtype)
        assert normal.dtype == uniform.dtype == dtype
        assert stats.kstest(normal, "norm", (3.0, 0.5)).pvalue > 0.01
        assert stats.kstest(uniform, "uniform", (-1.0, 4.0)).pvalue > 0.01
        assert abs(np.corrcoef(normal[1:], normal[:-1])[0, 1]) < 0.01


def test_uniform_numbers_stay_below_their_bound() -> None:
    """Also where rounding to float32 would take them there."""
    for low, high in ((0.0, 1.0), (1.0, 1.0 + 2**-23), (-1.0, 0.0), (0.5, 0.5)):
        drawn = Draws(0, "init").uniform((100_000,), low, high, np.float32)
        assert low <= drawn.min()
        assert drawn.max() < high or low == high


def test_global_random_state_is_left_alone() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is looked at
    before = random.getstate(), _numpy_state()
    stream(1, "init").random(4)
    Draws(1, "init").normal((4,))
    assert random.getstate() == before[0]
    assert _numpy_state() == before[1]


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False))  # noqa: NPY002


def test_reports_list_every_stream() -> None:
    assert listed(7) == {name: derive(7, name) for name in STREAMS}
