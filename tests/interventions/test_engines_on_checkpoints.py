"""On models of transformers, of many families and random shapes, the engines equal plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from hf_families import ALWAYS, FAMILIES, build, is_new, known_here

from mecheval.errors import UsageError
from mecheval.interventions import recovery_grid
from mecheval.models.decomposition import Decomposition
from mecheval.models.wrapped.model import WrappedModel

EXACT = {torch.float64: 1e-9, torch.float32: 1e-5}
COARSE_INSIDE = (
    "mamba",
    "mamba2",
    "falcon_mamba",
    "bamba",
    "falcon_h1",
    "zamba",
    "zamba2",
    "nemotron_h",
    "olmo_hybrid",
)
"""Families that compute parts in float32, whatever the type of the model."""

LIKE_OTHERS = ("gpt_neox", "bloom", "jamba", "zamba2")
BY_THEIR_CACHE = ("falcon_h1", "qwen3_next")
"""Kinds that the tests of caches run in every engine that they have."""

EVERY_RUN = [family for family in ALWAYS if family not in LIKE_OTHERS + BY_THEIR_CACHE]
"""Kinds of which nothing else is alike to the engines."""

ONLY_SINGLE = {"mixtral", "jamba", "qwen3_next", "nemotron_h"}
"""Families whose experts do not run in float64."""

ONLY_SINGLE_BEFORE_5 = {"mpt"}
"""Families whose mask does not."""

SHAPES = {
    "gpt_neox": lambda rng: {
        "num_hidden_layers": int(rng.integers(1, 5)),
        "use_parallel_residual": bool(rng.integers(2)),
        "rotary_pct": float(rng.choice([0.25, 0.5, 1.0])),
        "attention_bias": bool(rng.integers(2)),
    },
    "llama": lambda rng: {
        "num_hidden_layers": int(rng.integers(1, 5)),
        "num_key_value_heads": int(rng.choice([1, 2, 4])),
        "attention_bias": bool(rng.integers(2)),
        "mlp_bias": bool(rng.integers(2)),
    },
    "mistral": lambda rng: {"sliding_window": int(rng.integers(2, 6))},
    "mamba": lambda rng: {
        "num_hidden_layers": int(rng.integers(1, 5)),
        "state_size": int(rng.choice([4, 8, 16])),
        "conv_kernel": int(rng.integers(2, 6)),
        "use_conv_bias": bool(rng.integers(2)),
        "initializer_range": 0.02,
    },
}


def pairs(n: int = 3, length: int = 9, *, early: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(3, 61, (n, length))
    corrupted = clean.copy()
    changed = rng.integers(0, length - 2, n)
    corrupted[np.arange(n), changed] = 3 + (clean[np.arange(n), changed] - 2) % 58
    return {
        "clean_BT": clean,
        "corrupted_BT": corrupted,
        "answers_B": np.array([3, 4, 5]),
        "foils_B": np.array([6, 7, 8]),
        "readout_B": np.array([length - 1, length - 1, length - 1 - early]),
    }


def agree(module: torch.nn.Module, tolerance: float) -> str:
    """Hold the engine that is chosen against plain hooks at every site; return its name.

    With runs that are read at different positions, and with runs that are all read at the end.
    """
    model = WrappedModel(module)
    names = {agrees(model, pairs(early=early), tolerance) for early in (0, 1)}
    assert len(names) == 1
    return names.pop()


def agrees(model: WrappedModel, asked: dict[str, np.ndarray], tolerance: float) -> str:
    components = tuple(dict.fromkeys(site.component for site in model.taps()))
    fast = recovery_grid(model, **asked, components=components, engine="fastest")
    plain = recovery_grid(model, **asked, components=components, engine="hooks")
    scale = np.nanmax(np.abs(plain.clean))
    np.testing.assert_allclose(fast.patched / scale, plain.patched / scale, rtol=0, atol=tolerance)
    assert np.nanmax(np.abs(plain.patched - plain.corrupted)) > 1e-6 * scale
    assert (fast.execution.reason is None) == (fast.execution.engine == "tails")
    return fast.execution.engine


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("family", mostly_slow(FAMILIES, always=EVERY_RUN))
def test_every_family(family: str) -> None:
    known_here(family)
    single = ONLY_SINGLE if is_new() else ONLY_SINGLE | ONLY_SINGLE_BEFORE_5
    module = build(family) if family in single else build(family).double()
    exact = EXACT[next(module.parameters()).dtype]
    agree(module, 1e-6 if family in COARSE_INSIDE else exact)


@pytest.mark.parametrize("seed", mostly_slow(range(3), always=[0]))
@pytest.mark.parametrize("family", SHAPES)
def test_random_shapes_run_in_tails(family: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(family)])
    module = build(family, seed=seed, **SHAPES[family](rng)).double()
    assert agree(module, 1e-6 if family in COARSE_INSIDE else EXACT[torch.float64]) == "tails"


@pytest.mark.parametrize("parallel", [False, True])
def test_a_feed_forward_part_beside_the_mixer_runs_in_tails(parallel: bool) -> None:
    module = build("gpt_neox", num_hidden_layers=3, use_parallel_residual=parallel).double()
    assert agree(module, EXACT[torch.float64]) == "tails"


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "mamba", "mamba2"])
def test_memory_of_checkpoints(family: str) -> None:
    """What a position writes, and all memory after it, move the answer; nothing before does."""
    model = WrappedModel(build(family).double())
    grid = recovery_grid(model, **pairs(), components=("block_in", "write", "state", "cache"))
    changed = (pairs()["clean_BT"] != pairs()["corrupted_BT"]).argmax(1)
    for component in ("write", "state", "cache"):
        for b in range(3):
            patched = grid.component(component)[0, :, b]
            assert (patched[: changed[b]] == grid.corrupted[b]).all()
            assert patched[changed[b]] != grid.corrupted[b]
    last = grid.component("cache")[0, pairs()["readout_B"], np.arange(3)]
    np.testing.assert_array_equal(last, grid.corrupted)


@pytest.mark.parametrize("family", ["recurrent_gemma", "rwkv", "xlstm", "openai-gpt"])
def test_mixers_that_show_nothing_run_in_tails(family: str) -> None:
    """Run from the start, or by a cache for several tokens at once: to the last bits of float64."""
    if not is_new():
        pytest.skip("written in another way before transformers 5")
    assert agree(build(family, initializer_range=0.2).double(), 1e-12) == "tails"


def test_a_stream_that_is_scaled_between_blocks_runs_in_tails() -> None:
    """RWKV halves its stream behind every few layers."""
    if not is_new():
        pytest.skip("written in another way before transformers 5")
    module = build("rwkv", num_hidden_layers=4, rescale_every=2, initializer_range=0.2).double()
    model = WrappedModel(module)
    assert agree(module, 1e-12) == "tails"
    found = model.decomposition()
    assert isinstance(found, Decomposition)
    # What follows the last block is the readout's.
    assert [layer.factor for layer in found.layers] == [1, 0.5, 1, 1]


CACHED = ["gpt_neo", "bloom", "falcon_h1", "qwen3_next", "zamba2"]
"""Families whose mixers or blocks go on from the model's own cache."""


@pytest.mark.parametrize("family", mostly_slow(CACHED, always=CACHED[:3]))
def test_models_that_go_on_from_their_cache_run_in_tails(family: str) -> None:
    known_here(family)
    if family in ("falcon_h1", "qwen3_next", "zamba2") and not is_new():
        pytest.skip("its recurrence starts again from zeros before transformers 5")
    assert agree(build(family), EXACT[torch.float32]) == "tails"


@pytest.mark.parametrize("family", mostly_slow(CACHED, always=CACHED[3:4]))
def test_memory_of_a_cache_is_what_steps_exchange(family: str) -> None:
    known_here(family)
    if family in ("falcon_h1", "qwen3_next", "zamba2") and not is_new():
        pytest.skip("its recurrence starts again from zeros before transformers 5")
    model = WrappedModel(build(family))
    found = [
        recovery_grid(model, **pairs(), components=("state", "cache"), engine=engine)
        for engine in ("auto", "steps")
    ]
    assert found[0].execution.engine == "tails"
    scale = np.nanmax(np.abs(found[0].clean))
    np.testing.assert_allclose(
        found[0].patched / scale, found[1].patched / scale, rtol=0, atol=EXACT[torch.float32]
    )
    assert (found[0].patched != found[0].corrupted[None, None, None]).any((1, 2, 3)).all()


def test_what_a_mixer_does_not_say_is_asked_of_none() -> None:
    model = WrappedModel(build("gpt_neo"))
    with pytest.raises(UsageError, match="layer 0 does not say"):
        recovery_grid(model, **pairs(), components=("write",))
    with pytest.raises(UsageError, match="frozen=True needs to know"):
        recovery_grid(model, **pairs(), frozen=True)


def test_what_a_mixer_does_not_say_is_no_site_of_its_layer() -> None:
    """The second layer attends; the first one goes on from its cache."""
    if not is_new():
        pytest.skip("its recurrence starts again from zeros before transformers 5")
    known_here("olmo_hybrid")
    model = WrappedModel(build("olmo_hybrid"))
    grid = recovery_grid(model, **pairs(), components=("write",)).component("write")
    found = model.decomposition()
    assert isinstance(found, Decomposition)
    said = [layer.mixing.writes is not None for layer in found.layers]
    assert [not np.isnan(layer_JP).any() for layer_JP in grid] == said == [False, True]


def test_blocks_without_a_mixer_write_nothing() -> None:
    known_here("nemotron_h")
    model = WrappedModel(build("nemotron_h"))
    found = model.decomposition()
    assert isinstance(found, Decomposition)
    assert [layer.mixing.writes for layer in found.layers[1::2]] == [(), ()]
    grid = recovery_grid(model, **pairs(), components=("write", "cache"))
    assert (grid.patched[:, 1::2] == grid.corrupted).all()
    assert (grid.patched[:, ::2] != grid.corrupted).any((2, 3)).all()
    assert recovery_grid(model, **pairs(), frozen=True).execution.engine == "tails"
