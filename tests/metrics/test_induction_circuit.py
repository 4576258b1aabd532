"""Induction circuits: planted truths, weights against transformers, paths against plain hooks.

Shape suffixes: ``P`` pairs, ``T`` positions, ``H`` heads, ``X`` what all heads read side by side.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from circuit_subjects import any_answers, checkpoint, result_of, subject_of
from hf_families import is_new

from mecheval.metrics.circuit import head_circuit, head_scores, held_layers
from mecheval.metrics.circuit.attention_weights import (
    attention_weights,
    head_weights,
    uniform_attention,
)
from mecheval.metrics.circuit.held_layers import HeldLayers, Unit
from mecheval.metrics.circuit.memory_paths import memory_paths
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site
from mecheval.models.wrapped.model import WrappedModel

INDUCTION = "planted/induction"
SMALL = "transformer[width=16,layers=3,heads=2]"


@pytest.mark.parametrize("model", [INDUCTION, "planted/induction[rotated=1]"])
def test_the_planted_circuit(model: str) -> None:
    """A previous-token head, then one that matches: all of the difference takes that path."""
    result = result_of(subject_of(model), "induction_circuit")
    assert (result.verdict, result.n_scored) == ("L0H0 -> L1H0", 64)
    assert result.value == pytest.approx(1, abs=1e-3)
    assert result.uncertainty.low == pytest.approx(1, abs=1e-3)
    assert result.scalars["agreement"] == 1
    assert result.scalars["joint"] == pytest.approx(1, abs=1e-3)
    assert result.scalars["held_error"] < 1e-5
    weights = {name: np.array(result.profiles[name].series["weight"])[:, 0]
               for name in ("value_to_key", "previous_token", "induction")}  # fmt: skip
    assert weights["value_to_key"][0] == pytest.approx(1, abs=1e-3)
    assert weights["previous_token"][0] == pytest.approx(1, abs=1e-3)
    assert weights["induction"] == pytest.approx([0, 1], abs=1e-3)
    # The second head finds no match at a value and reads everything alike: nothing above uniform.
    assert result.profiles["value_to_key"].value[1][0] == pytest.approx(0, abs=1e-3)
    assert result.profiles["induction"].value[1][0] == pytest.approx(1 - 1 / 15, abs=1e-3)
    assert result.profiles["direct"].value == pytest.approx([0, 1], abs=1e-3)


@pytest.mark.parametrize(
    ("halves", "verdict", "single"),
    [
        ("none", "L2H0 -> L3H0", 1.0),
        ("previous", "L1H0 + L2H0 -> L3H0", 0.0),
        ("induction", "L1H0 -> L2H0 + L3H0", 0.5),
        ("both", "L1H0 + L2H0 -> L3H0 + L4H0", 0.0),
    ],
)
def test_circuits_whose_parts_are_split_over_layers(halves: str, verdict: str, single) -> None:
    """None of two heads that each bring half of the key carries anything by itself."""
    subject = subject_of(f"planted/induction[layers=6,halves={halves}]")
    result = result_of(subject, "induction_circuit", n_pairs=32)
    assert result.verdict == verdict
    assert result.value == pytest.approx(1, abs=1e-3)
    assert result.scalars["single"] == pytest.approx(single, abs=1e-3)
    assert result.scalars["pooled"] == pytest.approx(1, abs=1e-3)
    assert result.scalars["agreement"] == 1


def test_the_softened_circuit() -> None:
    result = result_of(subject_of("planted/induction[noise=0.2]"), "induction_circuit")
    assert result.verdict == "L0H0 -> L1H0"
    assert result.value == pytest.approx(1, abs=0.1)
    assert result.n_scored < 64


@pytest.mark.parametrize(
    ("model", "lag"),
    [
        ("planted/mamba-recall", 1),
        ("planted/mamba-recall[shift=1]", 2),
        ("planted/mamba-recall[rotated=1,shift=1]", 2),
        ("planted/mamba2-recall[shift=1]", 2),
    ],
)
def test_the_counterpart_of_planted_state_spaces(model: str, lag: int) -> None:
    result = result_of(subject_of(model), "induction_circuit", n_pairs=32)
    assert result.verdict == f"L0 conv lag {lag} -> L0 state"
    assert result.value == pytest.approx(1, abs=1e-3)
    assert np.array(result.profiles["write"].value)[0] == pytest.approx(np.eye(4)[lag], abs=1e-3)
    tap_OC = np.array(result.profiles["tap"].value)[0]
    assert tap_OC == pytest.approx(np.diag(np.eye(4)[lag]), abs=1e-3)
    assert (result.scalars["layer"], result.scalars["agreement"], result.warnings) == (0, 1, [])


FAMILIES = ["gpt2", "gpt_neox", "llama", "mistral", "qwen3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_transformers(family: str) -> None:
    """Whatever the positions, the scale, the mask and the sharing of keys; all heads."""
    changes = {"sliding_window": 5} if family == "mistral" else {}
    model = checkpoint(family, attn_implementation="eager", **changes).eval()
    tokens_BT = torch.randint(3, 61, (3, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model.module(tokens_BT, output_attentions=True).attentions
        stream_BTD = streams(model, tokens_BT)
        for layer, wanted_BHTT in enumerate(wanted):
            found_BHTT = weights_of(model, layer, stream_BTD[layer])
            torch.testing.assert_close(found_BHTT, wanted_BHTT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("arguments", ["", ",positions=none", ",positions=learned,heads=1"])
def test_weights_are_the_softmax_of_our_attention(arguments: str) -> None:
    model = subject_of(f"transformer[width=16,layers=2,heads=4{arguments}]".replace(
        "heads=4,positions=learned,", "positions=learned,")).model  # fmt: skip
    tokens_BT = torch.randint(1, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stream_BTD = streams(model, tokens_BT)[1]
        mixing = model.decomposition().layers[1].mixing
        signals = mixing.project(model.decomposition().layers[1].enter(stream_BTD), ())
        q_BHTK, k_BHTK = (signals[name].transpose(1, 2) for name in "qk")
        score_BHTT = q_BHTK @ k_BHTK.mT * q_BHTK.shape[-1] ** -0.5
        hidden_TT = torch.ones(9, 9, dtype=torch.bool).triu(1)
        wanted_BHTT = score_BHTT.masked_fill(hidden_TT, -torch.inf).softmax(-1)
        torch.testing.assert_close(attention_weights(mixing, signals), wanted_BHTT)


def test_linear_attention_has_weights_where_it_is_normalised() -> None:
    tokens_BT = torch.randint(1, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        based = subject_of("based[width=16,layers=2,heads=2]").model
        weights_BHTT = weights_of(based, 1, streams(based, tokens_BT)[1])
        assert weights_BHTT is not None
        torch.testing.assert_close(weights_BHTT.sum(-1), torch.ones(2, 2, 9))
        mixing = based.decomposition().layers[1].mixing
        signals = mixing.project(
            based.decomposition().layers[1].enter(streams(based, tokens_BT)[1]), ()
        )
        x_BHTT = torch.einsum("bthk,bshk->bhts", signals["q"], signals["k"]) * 8**-0.5
        raw_BHTT = (1 + x_BHTT + x_BHTT**2 / 2).tril()
        torch.testing.assert_close(weights_BHTT, raw_BHTT / raw_BHTT.sum(-1, keepdim=True))
        for name in ("deltanet", "gla", "mamba", "lstm", "hyena", "h3"):
            other = subject_of(f"{name}[width=16,layers=1]").model
            assert weights_of(other, 0, streams(other, tokens_BT)[0]) is None


def streams(model, tokens_BT: torch.Tensor) -> list[torch.Tensor]:
    from mecheval.interventions.activations import activations

    sites = [Site(layer, "block_in") for layer in range(model.n_layers)]
    found = activations(model, tokens_BT, sites)
    return [found[site] for site in sites]


def weights_of(model, layer: int, stream_BTD: torch.Tensor) -> torch.Tensor | None:
    part = model.decomposition().layers[layer]
    return attention_weights(part.mixing, part.mixing.project(part.enter(stream_BTD), ()))


def test_head_weights_of_a_known_pattern() -> None:
    weights_BHTT = torch.zeros(1, 2, 5, 5)
    weights_BHTT[0, 0, range(1, 5), range(4)] = torch.tensor([0.5, 0.25, 1.0, 0.75])
    weights_BHTT[0, 1, 4, 2] = 0.9
    where = {"value_B": torch.tensor([2]), "readout_B": torch.tensor([4])}
    found = head_weights(weights_BHTT, key_B=torch.tensor([1]), **where)
    assert found["value_to_key"].tolist() == [[0.25, 0.0]]
    assert found["previous_token"].tolist() == [[0.625, 0.0]]
    assert found["induction"][0].tolist() == pytest.approx([0.0, 0.9])
    uniform_BHTT = torch.ones(1, 1, 5, 5).tril() / torch.arange(1, 6)[:, None]
    uniform = head_weights(uniform_BHTT, key_B=torch.tensor([1]), **where)
    assert uniform["value_to_key"].item() == pytest.approx(1 / 3)
    assert uniform["induction"].item() == pytest.approx(1 / 5)
    assert uniform["previous_token"].item() == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4)


WINDOWED = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
WINDOWS = {
    "mistral": (lambda: checkpoint("mistral", sliding_window=4), [4, 4]),
    "phi3": (lambda: checkpoint("phi3", sliding_window=4), [4, 4]),
    "gemma2": (lambda: checkpoint("gemma2", **WINDOWED), [4, 99]),
    "gemma3": (lambda: checkpoint("gemma3_text", **WINDOWED), [4, 99]),
    "gpt_oss": (lambda: with_sinks(), [4, 99]),
    "llama": (lambda: checkpoint("llama"), [99, 99]),
    "based": (lambda: "based[width=16,layers=2,heads=2]", [None, 99]),
}


def with_sinks() -> WrappedModel:
    """Build a checkpoint in which a sink takes part of what every head reads."""
    from transformers import GptOssConfig, GptOssForCausalLM

    config = GptOssConfig(
        vocab_size=64, hidden_size=32, intermediate_size=16, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1,
        **WINDOWED, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return WrappedModel(GptOssForCausalLM(config).eval())


@pytest.mark.parametrize("name", WINDOWS)
def test_uniform_attention_leaves_out_what_a_window_hides(name: str) -> None:
    """Against a loop over the positions that every query sees."""
    build, windows = WINDOWS[name]
    subject = subject_of(build())
    pairs = subject.pairs(6, subject.length, kind="key")
    roles = [pairs.clean.roles[role].tolist() for role in ("key", "value", "readout")]
    distances = [readout - value for _, value, readout in zip(*roles, strict=True)]
    assert min(distances) < 4 < max(distances)
    with torch.no_grad():
        paths = head_circuit.paths_of(subject, subject.model.decomposition(), pairs)
    scores = head_scores.scores_of(paths)
    for layer, window in enumerate(windows):
        if window is None:  # a layer without heads
            assert paths.uniform[layer] is None
            continue
        wanted_P3 = np.array([_uniform(window, *run) for run in zip(*roles, strict=True)])
        for wanted_P, score in zip(wanted_P3.T, head_scores.SCORES, strict=True):
            found_PH = paths.uniform[layer][score].numpy()
            np.testing.assert_allclose(found_PH, wanted_P[:, None] + 0 * found_PH, atol=1e-6)
            above_LH, weight_LH = scores[score]
            np.testing.assert_allclose(
                above_LH[layer], weight_LH[layer] - wanted_P.mean(), atol=1e-6
            )


def test_a_sharp_head_sees_no_less() -> None:
    model = subject_of(SMALL).model
    tokens_BT = torch.randint(1, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        part = model.decomposition().layers[1]
        signals = part.mixing.project(part.enter(streams(model, tokens_BT)[1]), ())
        sharp = {**signals, "q": 1e6 * signals["q"]}
        assert (attention_weights(part.mixing, sharp).tril() == 0).sum() > 2 * 2 * 36 + 9
        found_1HTT = uniform_attention(part.mixing, sharp)
    wanted_TT = torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None]
    torch.testing.assert_close(found_1HTT, wanted_TT.expand(1, 2, 9, 9))


class Squared:
    """Attention by squares of products, which reads nothing with queries of zeros."""

    def output(self, signals, state, *, only=None, edit) -> torch.Tensor:
        weight_BHTT = torch.einsum("bthk,bshk->bhts", signals["q"], signals["k"]).square().tril()
        weight_BHTT = weight_BHTT / weight_BHTT.sum(-1, keepdim=True)
        read_BTHV = torch.einsum("bhts,bshv->bthv", weight_BHTT, signals["v"])
        return edit("z", read_BTHV.flatten(2))


def test_a_mixer_that_reads_nothing_with_zeros_sees_all_positions_so_far() -> None:
    signals = dict(
        zip(
            "qkv",
            torch.rand(3, 2, 5, 1, 3, generator=torch.Generator().manual_seed(0)),
            strict=True,
        )
    )
    assert attention_weights(Squared(), signals) is not None
    wanted_1HTT = torch.ones(1, 1, 5, 5).tril() / torch.arange(1, 6)[:, None]
    torch.testing.assert_close(uniform_attention(Squared(), signals), wanted_1HTT)


def _uniform(window: int, key: int, value: int, readout: int) -> tuple[float, float, float]:
    """Return value to key, previous token and induction of one run."""

    def weight(query: int, position: int) -> float:
        seen = [other for other in range(query + 1) if query - other < window]
        return 1 / len(seen) if position in seen else 0.0

    previous = [weight(query, query - 1) for query in range(1, readout + 1)]
    return weight(value, key), sum(previous) / len(previous), weight(readout, value)


@pytest.mark.parametrize("build", [
    lambda: SMALL, lambda: checkpoint("gpt_neox", num_hidden_layers=3),
    lambda: checkpoint("llama", num_hidden_layers=3),
], ids=["transformer", "gpt_neox", "llama"])  # fmt: skip
@pytest.mark.parametrize("rows", [1, 2048])
def test_paths_are_what_plain_hooks_make_of_them(
    build, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two whole forward passes with every other head held, for every pair of heads."""
    subject = subject_of(build())
    pairs = subject.pairs(4, subject.length, kind="key")
    paths = head_circuit.paths_of(subject, subject.model.decomposition(), pairs)
    hooked = Hooked(subject.model, pairs)
    scale = np.abs(hooked.readout({})).max()
    with torch.no_grad():
        np.testing.assert_allclose(paths.held(), hooked.readout({}), atol=1e-4 * scale)
        units = paths.units
        firsts = [unit for unit in units if unit.layer < 2]
        lasts = [*(unit for unit in units if unit.layer), Unit(1, None), Unit(2, None)]
        monkeypatch.setattr(held_layers, "ROWS", rows)
        made_FUP = paths.between(firsts, lasts)
        for i, j in itertools.product(range(len(firsts)), range(len(lasts))):
            if lasts[j].layer <= firsts[i].layer:
                assert made_FUP[i, j].isnan().all()
                continue
            wanted_P = hooked.path(firsts[i], lasts[j])
            np.testing.assert_allclose(made_FUP[i, j], wanted_P, atol=1e-5 * scale)
        moved_F = (made_FUP - paths.held()).abs().nan_to_num(0).amax((1, 2))
        assert (moved_F > 1e-4 * scale).all()
        for firsts, lasts in several_units(units):
            wanted_P = hooked.together(firsts, lasts)
            made_P = paths.together(firsts, lasts)
            np.testing.assert_allclose(made_P, wanted_P, atol=1e-5 * scale)
            assert float((made_P - paths.held()).abs().max()) > 1e-4 * scale
        wanted_VP = np.stack([hooked.direct(unit) for unit in units])
        np.testing.assert_allclose(paths.direct(units), wanted_VP, atol=1e-5 * scale)


def test_paths_go_through_the_layers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, each layer is run once at the readout and once at the value."""
    subject = subject_of(SMALL)
    pairs = subject.pairs(4, subject.length, kind="key")
    paths = head_circuit.paths_of(subject, subject.model.decomposition(), pairs)
    after, run = HeldLayers._after, []

    def counted(self, index: int, *how) -> torch.Tensor:
        run.append(index)
        return after(self, index, *how)

    monkeypatch.setattr(HeldLayers, "_after", counted)
    with torch.no_grad():
        assert paths.direct(paths.units).shape == (6, 4)
        assert run == [0, 1, 2]
        run.clear()
        paths.between(paths.units[:4], paths.units[2:])
    assert sorted(run) == [0, 1, 1, 2]


def several_units(units: list[Unit]) -> list[tuple[list[Unit], list[Unit]]]:
    """Choose first and last units: of one layer, of several, and first ones above a last one."""
    by_layer = [[unit for unit in units if unit.layer == layer] for layer in range(3)]
    return [
        (by_layer[0], by_layer[1]),
        ([by_layer[0][0], by_layer[1][1]], by_layer[2]),
        ([*by_layer[0][1:], by_layer[1][0]], [by_layer[1][1], by_layer[2][0]]),
    ]


class Hooked:
    """Path patching with plain hooks on what the heads of every layer read."""

    def __init__(self, model, pairs) -> None:
        self.model, self.pairs = model, pairs
        taps = model.taps()
        self.taps = [taps[Site(layer, "z")] for layer in range(model.n_layers)]
        self.row_P = torch.arange(len(pairs))
        self.value_P, self.readout_P = (
            torch.as_tensor(pairs.clean.roles[name]) for name in ("value", "readout")
        )
        self.own, self.other = (self._heads(b.tokens_BT) for b in (pairs.clean, pairs.corrupted))

    def _heads(self, tokens_PT: np.ndarray) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        with (
            torch.no_grad(),
            visiting({tap: lambda x: found.append(x.clone()) for tap in self.taps}),
        ):
            self.model(torch.as_tensor(tokens_PT))
        return found

    def _columns(self, unit: Unit) -> slice:
        width = self.own[0].shape[-1] // (2 if self.model.d_model == 16 else 4)
        if unit.head is None:
            return slice(None)
        return slice(unit.head * width, (unit.head + 1) * width)

    def _put(self, unit: Unit, read_P: torch.Tensor, other_PTX: torch.Tensor) -> torch.Tensor:
        return self._placed(self.own[unit.layer], unit, read_P, other_PTX)

    def _placed(self, base_PTX, unit: Unit, read_P: torch.Tensor, other_PTX) -> torch.Tensor:
        made_PTX, columns = base_PTX.clone(), self._columns(unit)
        made_PTX[self.row_P, read_P, columns] = other_PTX[self.row_P, read_P, columns]
        return made_PTX

    @torch.no_grad()
    def readout(self, puts: dict[int, torch.Tensor], see: int | None = None):
        """Run the clean tokens with the heads of layers replaced, and look at those of another."""
        seen: list[torch.Tensor] = []
        visits = {self.taps[layer]: lambda x, put=put: put for layer, put in puts.items()}
        if see is not None:
            visits[self.taps[see]] = lambda x: seen.append(x.clone())
        with visiting(visits):
            logits_PTC = self.model(torch.as_tensor(self.pairs.clean.tokens_BT))
        if see is not None:
            return seen[0]
        logits_PC = logits_PTC[self.row_P, self.readout_P].double().numpy()
        row_P = self.row_P.numpy()
        return logits_PC[row_P, self.pairs.answers_P] - logits_PC[row_P, self.pairs.foils_P]

    def _rest(self, unit: Unit, put_PTX: torch.Tensor) -> dict[int, torch.Tensor]:
        """Hold all other layers at what they were."""
        return {layer: self.own[layer] for layer in range(len(self.taps))} | {unit.layer: put_PTX}

    def path(self, first: Unit, last: Unit) -> np.ndarray:
        puts = self._rest(first, self._put(first, self.value_P, self.other[first.layer]))
        del puts[last.layer]
        read_PTX = self.readout(puts, see=last.layer)
        return self.readout(self._rest(last, self._put(last, self.readout_P, read_PTX)))

    def together(self, first: list[Unit], last: list[Unit]) -> np.ndarray:
        """Exchange all first units below each layer of last ones, and then all last ones."""
        reads = {}
        for layer in sorted({unit.layer for unit in last}):
            puts = dict(enumerate(self.own))
            for unit in (unit for unit in first if unit.layer < layer):
                puts[unit.layer] = self._placed(
                    puts[unit.layer], unit, self.value_P, self.other[unit.layer]
                )
            del puts[layer]
            reads[layer] = self.readout(puts, see=layer)
        puts = dict(enumerate(self.own))
        for unit in last:
            puts[unit.layer] = self._placed(
                puts[unit.layer], unit, self.readout_P, reads[unit.layer]
            )
        return self.readout(puts)

    def direct(self, unit: Unit) -> np.ndarray:
        put_PTX = self._put(unit, self.readout_P, self.other[unit.layer])
        return self.readout(self._rest(unit, put_PTX))


OWN = ("transformer", "based", "base_conv", "deltanet", "deltaproduct", "gated_deltanet", "gla",
       "gru", "h3", "hyena", "lstm", "mamba", "mamba2")  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_every_architecture_has_one_or_the_other(name: str, monkeypatch) -> None:
    """A random model, whatever it answers: numbers are there and no warning is raised."""
    any_answers(monkeypatch)
    subject = subject_of(f"{name}[width=16,layers=2]")
    result = result_of(subject, "induction_circuit", n_pairs=12)
    attends = name in ("transformer", "based")
    assert ("direct" in result.profiles, "write" in result.profiles) == (attends, not attends)
    assert result.value is not None
    assert result.warnings == []
    assert ("tap" in result.profiles) == (name not in ("transformer", "based", "gru", "lstm"))
    if attends:
        assert result.scalars["held_error"] < 1e-2


@pytest.mark.parametrize("family", ["mamba", "jamba"])
def test_checkpoints_without_attention_and_with_some(family: str, monkeypatch) -> None:
    any_answers(monkeypatch)
    model = checkpoint(family)
    result = result_of(subject_of(model), "induction_circuit", n_pairs=8)
    found = model.decomposition()
    assert isinstance(found, Decomposition)
    if any(layer.mixing.writes is None for layer in found.layers):  # Jamba before transformers 5
        assert not is_new()
        assert result.value is None
        assert "layer 1: its mixer is called as a whole" in str(result.reason)
    elif family == "mamba":
        assert {"write", "tap"} == set(result.profiles)
    else:  # layers 1 and 3 attend; a Mamba is a unit of its own
        assert result.profile.index["from"] == ["L0", "L1H0", "L1H1", "L1H2", "L1H3", "L2"]
        assert result.profile.index["to"] == [f"L{i}H{h}" for i in (1, 3) for h in range(4)]
        assert result.profile.value[-1][0] is None


def test_large_models_ask_for_the_best_heads_alone(monkeypatch) -> None:
    any_answers(monkeypatch)
    subject = subject_of("transformer[width=16,layers=3,heads=4]")
    whole = result_of(subject, "induction_circuit", n_pairs=12)
    some = result_of(subject, "induction_circuit", n_pairs=12, max_heads=2)
    assert np.shape(whole.profile.value) == (8, 8)
    names = [[f"L{i}H{h}" for h in range(4)] for i in range(3)]

    def best(score: str, layers: range) -> list[str]:
        weight = whole.profiles[score].value
        ranked = sorted((-weight[i][h], names[i][h]) for i in layers for h in range(4))
        return sorted(name for _, name in ranked[:2])

    assert some.profile.index["to"] == best("induction", range(1, 3))
    below = int(some.profile.index["to"][-1][1])
    assert some.profile.index["from"] == best("value_to_key", range(below))
    for i, first in enumerate(some.profile.index["from"]):
        for j, last in enumerate(some.profile.index["to"]):
            row = whole.profile.value[whole.profile.index["from"].index(first)]
            wanted = row[whole.profile.index["to"].index(last)]
            wanted = None if wanted is None else pytest.approx(wanted, rel=1e-4)
            assert some.profile.value[i][j] == wanted


def test_where_it_means_nothing_there_is_a_reason(monkeypatch) -> None:
    def reason(model: str, task: str, **fields) -> str | None:
        result = result_of(subject_of(model, task, **fields), "induction_circuit", n_pairs=16)
        assert result.value is result.verdict is result.profile is None
        return result.reason

    recall, small = "ar[keys=12,values=12,pairs=6]", "lstm[width=16,layers=1]"
    assert reason(small, "parity") == "not applicable: task 'parity' has no counterfactual key"
    by_value = "ar[keys=12,values=12,pairs=6,query=value]"
    assert "does not stand behind what the query repeats" in (reason(small, by_value) or "")
    assert (reason(small, recall) or "").startswith("no gap: ")
    assert (reason(small, recall, learned=False) or "").startswith("not learned")
    from mecheval.models.stack.residual import ResidualStack

    monkeypatch.setattr(ResidualStack, "decomposition", lambda self: Refusal("it is one piece"))
    assert reason(small, recall) == "not applicable: it is one piece"


def test_mixers_that_are_called_as_a_whole_have_no_circuit(monkeypatch) -> None:
    """Their heads would be taken for none, and attention for a recurrence."""
    from mecheval.builtin.model_registry.transformer import Attention

    monkeypatch.setattr(Attention, "opaque", True)
    result = result_of(subject_of(SMALL), "induction_circuit", n_pairs=12)
    assert result.reason.startswith("not applicable: layer 0: its mixer is called as a whole")


def test_a_path_that_carries_little_is_not_named(monkeypatch) -> None:
    any_answers(monkeypatch)
    result = result_of(subject_of(SMALL), "induction_circuit", n_pairs=12)
    assert result.value < 0.5
    assert result.verdict == "none"


@pytest.mark.parametrize("name", ["mamba", "deltanet", "lstm"])
def test_the_state_of_the_last_layer_is_that_of_the_recurrence(name: str) -> None:
    """Steps up to the query in both runs, an exchange of one layer's state, and one more step."""
    subject = subject_of(f"{name}[width=16,layers=2]")
    model, pairs = subject.model, subject.pairs(4, subject.length, kind="key")
    found = memory_paths(subject, model.decomposition(), pairs, max_offset=1)
    last = int(pairs.readout_P[0])
    clean_PT, corrupted_PT = (
        torch.as_tensor(batch.tokens_BT) for batch in (pairs.clean, pairs.corrupted)
    )
    with torch.no_grad():
        (n, own), (_, other) = (
            model.run(tokens_PT[:, :last], model.start(len(pairs)))[1]
            for tokens_PT in (clean_PT, corrupted_PT)
        )
        recent = model.decomposition().layers[1].mixing.n_recent
        mixed = (own[0], (*own[1][:recent], *other[1][recent:]))
        logits_PC, _ = model.step(clean_PT[:, last], (n, mixed))
        plain_PC, _ = model.step(clean_PT[:, last], (n, own))
    row_P = np.arange(len(pairs))
    wanted_P, plain_P = (
        logits[row_P, pairs.answers_P] - logits[row_P, pairs.foils_P]
        for logits in (logits_PC.double().numpy(), plain_PC.double().numpy())
    )
    scale = float(plain_PC.abs().max())
    np.testing.assert_allclose(found.state_LP[1], wanted_P, atol=1e-5 * scale)
    assert np.abs(wanted_P - plain_P).max() > 1e-4 * scale
    assert found.frozen
