"""How natural patched runs are: against formulas, and where activations are drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from torch import nn

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import Interchange, Mean, Subspace, Zero, naturalness, recovery_grid
from mecheval.interventions.base_runs import checked_runs
from mecheval.interventions.natural import LEAST_SHRINKAGE, Natural, shrinkage_of
from mecheval.interventions.patched_streams import PatchedStreams
from mecheval.models.contract import Tap
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import Site

WIDTH, WORDS = 6, 4000
AT = np.array([0])


def drawn(n: int, width: int, *, seed: int = 0, mean: float = 3.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width))
    return torch.as_tensor(mean + rng.normal(size=(n, width)) @ mix)


class Still(mecheval.SequenceModel):
    """Blocks that do nothing on an embedding of normal numbers around another mean than zero."""

    def __init__(self) -> None:
        super().__init__()
        self.n_layers, self.d_model, self.vocab_size = 2, WIDTH, WORDS
        self.embedding = nn.Embedding.from_pretrained(drawn(WORDS, WIDTH, mean=30.0))
        self.layers = nn.ModuleList(nn.Identity() for _ in range(2))
        self.head = nn.Linear(WIDTH, WORDS).double()

    def forward(self, tokens_BT):
        stream_BTD = self.embedding(tokens_BT)
        for layer in self.layers:
            stream_BTD = layer(stream_BTD)
        return self.head(stream_BTD)

    @property
    def blocks(self):
        return self.layers

    def taps(self):
        sides = {"block_in": "input", "block_out": "output"}
        return {
            Site(i, name): Tap(layer, side, f"layers.{i}", WIDTH)
            for i, layer in enumerate(self.layers)
            for name, side in sides.items()
        }


def still(donor, **changes):
    rng = np.random.default_rng(3)
    given = {
        "tokens_BT": rng.integers(0, WORDS, (150, 5)),
        "readout_B": np.full(150, 4),
        "positions_B": rng.integers(0, 5, 150),
        "held_out_NT": rng.integers(0, WORDS, (300, 5)),
        "components": ("block_in", "block_out"),
    }
    return naturalness(Still(), donor=donor, **(given | changes))


def test_natural_patches_are_in_the_middle_and_others_are_not() -> None:
    other = torch.as_tensor(np.random.default_rng(4).integers(0, WORDS, (150, 5)))
    found = still(Interchange(other))
    assert found.rank.shape == (2, 2, 2, 150)
    np.testing.assert_allclose(found.rank.mean(-1), 0.5, atol=0.07)
    np.testing.assert_allclose(found.unpatched_rank.mean(-1), 0.5, atol=0.07)
    np.testing.assert_allclose(found.ratio, 1.0, atol=0.1)
    assert found.own.all()  # blocks that do nothing: every stream is one of the two runs'
    zero = still(Zero())
    assert (zero.rank[:, :, 0] == 1.0).all()
    assert (zero.ratio[:, :, 0] > 5).all()
    assert not zero.own[:, :, 0].any()
    mean = still(Mean(torch.as_tensor(np.arange(WORDS - 5)[:, None] + np.arange(5))))
    assert (mean.rank[:, :, 0] < 0.01).all()  # nearer to the mean than what is natural
    bases = {Site(layer, "block_in"): np.eye(WIDTH)[:, :3] for layer in range(2)}
    part = still(Subspace(Zero(), bases), components=("block_in",))
    assert part.rank[0, :, 0].mean() > 0.95


def test_a_patch_is_seen_at_the_readout_if_it_is_there() -> None:
    found = still(Zero(), positions_B=np.arange(150) % 2 * 4)
    at_readout = np.arange(150) % 2 == 1
    assert (found.rank[..., 1, at_readout] == 1.0).all()
    np.testing.assert_array_equal(
        found.rank[..., 1, ~at_readout], found.unpatched_rank[..., 1, ~at_readout]
    )
    np.testing.assert_array_equal(found.own[0, 0, 1], ~at_readout)


def test_distances_and_ranks_are_those_of_the_formulas() -> None:
    value_NUD = torch.stack([drawn(80, 4), drawn(80, 4, seed=1, mean=-5.0)], 1)
    known = Natural.of(value_NUD, np.array([2, 7]))
    fitted, kept = value_NUD[:40].numpy(), value_NUD[40:].numpy()
    residual = ((fitted - fitted.mean(0)) * np.sqrt(40 / 39)).reshape(-1, 4)
    covariance, shrinkage = ledoit_wolf(residual, assume_centered=True)
    assert known.shrinkage == pytest.approx(shrinkage, rel=1e-9)
    asked, at = drawn(6, 4, seed=2), np.array([2, 7, 7, 2, 2, 7])
    off = asked.numpy() - fitted.mean(0)[[0, 1, 1, 0, 0, 1]]
    expected = np.sqrt(np.einsum("pd,de,pe->p", off, np.linalg.inv(covariance), off))
    distance = known.distance(asked, at)
    np.testing.assert_allclose(distance, expected, rtol=1e-4)  # but for the floor of rounding
    for p, u in enumerate([0, 1, 1, 0, 0, 1]):
        others = [
            np.sqrt(x @ np.linalg.inv(covariance) @ x) for x in kept[:, u] - fitted.mean(0)[u]
        ]
        assert known.rank(distance, at)[p] == pytest.approx(np.mean(others < expected[p]), abs=0.02)


@pytest.mark.parametrize(("n", "width"), [(200, 5), (6, 5), (5, 40), (3, 200)])
def test_the_shrinkage_is_that_of_ledoit_and_wolf(n: int, width: int) -> None:
    rows = drawn(n, width, mean=0.0)
    expected = ledoit_wolf(rows.numpy(), assume_centered=True)[1]
    assert shrinkage_of(rows) == pytest.approx(expected, abs=1e-9)


def test_few_runs_shrink_and_still_say_what_is_natural() -> None:
    many, few = drawn(400, 60, mean=60.0), drawn(40, 60, seed=1, mean=60.0)
    known = Natural.of(few[:, None], AT)
    assert known.shrinkage > 0.1
    at = np.zeros(400, int)
    assert known.rank(known.distance(many, at), at).mean() == pytest.approx(0.5, abs=0.15)
    assert (known.rank(known.distance(many * 0, at), at) == 1.0).all()


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_where_nothing_varies_only_what_moves_is_unnatural(value: float) -> None:
    known = Natural.of(torch.full((40, 1, 5), value, dtype=torch.float64), AT)
    at = np.zeros(2, int)
    same = torch.full((2, 5), value, dtype=torch.float64)
    assert known.rank(known.distance(same, at), at).tolist() == [0.5, 0.5]
    rounded = same + 1e-7 * value
    assert known.rank(known.distance(rounded, at), at).tolist() == [0.5, 0.5]
    assert known.rank(known.distance(same + 1.0, at), at).tolist() == [1.0, 1.0]


def test_leaving_a_flat_distribution_is_seen() -> None:
    flat = drawn(200, 5)
    flat[:, 4] = 1.0
    known, at = Natural.of(flat[:, None], AT), np.zeros(1, int)
    assert known.shrinkage >= LEAST_SHRINKAGE
    beside = flat[:1].clone()
    beside[0, 4] = 3.0
    assert known.rank(known.distance(beside, at), at) == 1.0


COMPONENTS = (
    "block_in",
    "mixer_in",
    "mixer_out",
    "mlp_out",
    "block_out",
    "state",
    "cache",
    "write",
)


@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2", "lstm", "deltanet", "rwkv7"])
def test_the_streams_are_those_of_which_a_grid_reads_the_end(name: str) -> None:
    model = mecheval.load_model(f"{name}[layers=3,width=32]", vocab_size=7).double()
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (5, 9))
    corrupted = clean.copy()
    corrupted[:, 1] = (clean[:, 1] + 1) % 7
    position, readout = np.array([1, 2, 4, 6, 8]), np.array([8, 8, 6, 7, 8])
    ends = np.zeros(5, int), np.ones(5, int), readout
    grid = recovery_grid(
        model, clean, corrupted, *ends, components=COMPONENTS, positions=position[:, None]
    )
    (base,) = checked_runs(model, [corrupted], *ends, kind="logit_difference")
    runs = PatchedStreams(
        base, Interchange(torch.as_tensor(clean)), torch.as_tensor(position), range(3), batch_size=2
    )
    readout_of = model.decomposition().readout
    answers = torch.tensor([[0, 1]] * 5)
    for component in COMPONENTS:
        for layer in range(3):
            stream_PSD = runs.of(component, layer)
            patched = grid.component(component)[layer, 0]
            if stream_PSD is None:
                assert np.isnan(patched).all() or component == "write"
                continue
            logits = readout_of(stream_PSD[:, 1], answers).detach().numpy()
            np.testing.assert_allclose(logits[:, 0] - logits[:, 1], patched, rtol=1e-7, atol=1e-9)
            if component == "block_out":
                donated = runs.own(component, layer)[1]
                torch.testing.assert_close(stream_PSD[:, 0], donated[:, 0])


def test_memory_is_seen_from_the_next_position_on() -> None:
    model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
    rng = np.random.default_rng(0)
    clean, held_out = rng.integers(0, 7, (6, 9)), rng.integers(0, 7, (64, 9))
    corrupted = clean.copy()
    corrupted[:, 1] = (clean[:, 1] + 1) % 7
    given = {
        "donor": Interchange(torch.as_tensor(clean)), "positions_B": np.full(6, 4),
        "held_out_NT": held_out, "components": ("state", "block_in", "conv_out"),
    }  # fmt: skip
    found = naturalness(model, corrupted, np.full(6, 8), **given)
    # The memory of layer 0 is all that its next position has of what came before.
    assert found.own[0, 0, 0].all()
    assert not found.own[0, 1, 0].all()
    assert found.axes["component"] == given["components"]
    assert np.isnan(found.component("conv_out")).all()
    assert not found.own[2].any()
    assert (found.n_fitted, found.n_compared) == (32, 32)
    model.decomposition = lambda: Refusal("its parts are not known")
    hooked = naturalness(model, corrupted, np.full(6, 8), **(given | {"components": ["block_in"]}))
    np.testing.assert_array_equal(hooked.rank[0], found.rank[1])
    with pytest.raises(UsageError, match=r"here its parts are not known\. Choose among tensors"):
        naturalness(model, corrupted, np.full(6, 8), **given)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"held_out_NT": np.zeros((15, 5), int)}, "16 at least, of 5 positions"),
        ({"held_out_NT": np.zeros((20, 4), int)}, "16 at least, of 5 positions"),
        ({"held_out_NT": np.full((20, 5), WORDS)}, "from 0 to 3999; got 4000"),
        ({"positions_B": np.zeros((150, 2), int)}, r"of shape \(150,\)"),
        ({"positions_B": np.full(150, 5)}, "last readout 4"),
        ({"components": ["block"]}, "Unknown component 'block'"),
        ({"components": ["state"]}, "can be taken apart alone"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        still(Zero(), **changes)
