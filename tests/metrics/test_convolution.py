"""What answers owe to taps: planted truths, each lag against plain hooks, weights put back.

Shape suffixes: ``P`` pairs, ``T`` positions, ``E`` channels, ``O`` offsets, ``L`` layers, ``C``
lags.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from circuit_subjects import any_answers, checkpoint, result_of, subject_of
from measured import measured
from retrieval_subjects import trained

from mecheval.metrics.circuit import taps
from mecheval.metrics.circuit.tap_ablation import TapAblation
from mecheval.metrics.circuit.taps import rewritten, tap_effects, without
from mecheval.models.short_convolutions import short_convolutions
from mecheval.models.sites import Site


def cells(values) -> dict[tuple[int, ...], float]:
    """Return the cells of a profile that are not zero."""
    values = np.asarray(values, float)
    places = np.argwhere(abs(values) > 1e-3).tolist()
    return {tuple(place): round(values[tuple(place)], 3) for place in places}


@pytest.mark.parametrize(
    ("model", "key_lag", "value_lag"),
    [
        ("planted/mamba-recall", 1, 0),
        ("planted/mamba-recall[rotated=1]", 1, 0),
        ("planted/mamba-recall[shift=1]", 2, 1),
        ("planted/mamba-recall[rotated=1,shift=1]", 2, 1),
        ("planted/mamba2-recall", 1, 0),
        ("planted/mamba2-recall[shift=1]", 2, 1),
    ],
)
def test_planted_lags(model: str, key_lag: int, value_lag: int) -> None:
    """Every token goes through one lag; without it all is lost, without an unused one nothing."""
    result = result_of(subject_of(model), "convolution", n_pairs=32)
    used = {0, key_lag, value_lag}
    accuracy_C, lost_C = np.array(result.profile.value[0]), result.profile.series["lost"][0]
    for lag in range(4):
        if lag in used:
            assert accuracy_C[lag] < 0.2
            assert lost_C[lag] > 0.9
        else:
            assert (accuracy_C[lag], lost_C[lag]) == (1.0, 0.0)
    assert cells(result.profiles["key"].value) == {(0, key_lag, key_lag): 1.0}
    assert cells(result.profiles["value"].value) == {(0, value_lag, value_lag): 1.0}
    assert result.value > 0.9
    assert result.value == pytest.approx(result.profiles["share"].value[0])
    assert (result.scalars["layer"], result.references["clean"]) == (0, 1.0)
    left = (1 - result.scalars["accuracy_without"]) / (1 - result.references["floor"])
    assert result.value == pytest.approx(left)
    assert np.mean(result.units) == pytest.approx(result.value)


def test_a_softened_model_keeps_its_lags() -> None:
    result = result_of(subject_of("planted/mamba-recall[noise=0.2]"), "convolution")
    assert 0.6 < result.references["clean"] < 0.95
    assert np.array(result.profiles["key"].value)[0, 1, 1] == pytest.approx(1, abs=0.1)
    assert np.array(result.profiles["value"].value)[0, 0, 0] == pytest.approx(1, abs=0.1)
    assert result.profile.series["lost"][0][3] == pytest.approx(0, abs=0.1)
    assert result.uncertainty.low < result.value < result.uncertainty.high


@pytest.mark.parametrize(
    "build",
    [
        lambda: "mamba[width=16,layers=2]",
        lambda: "deltanet[width=16,layers=2,d_conv=3]",
        lambda: "h3[width=16,layers=2]",
        lambda: "based[width=16,layers=3]",
        lambda: checkpoint("mamba"),
        lambda: checkpoint("lfm2"),
    ],
    ids=["mamba", "deltanet", "h3", "based", "hf-mamba", "hf-lfm2"],
)
def test_each_lag_alone_is_what_plain_hooks_make_of_it(build) -> None:
    """The convolution is run on an input that differs at one position, and read at another one."""
    subject = subject_of(build())
    model, pairs = subject.model, subject.pairs(3, subject.length, kind="key")
    weights = short_convolutions(model)
    patched_LOCP = tap_effects(subject, pairs, weights, max_offset=3)
    missing = set(range(model.n_layers)) - set(weights)
    assert np.isnan(patched_LOCP[sorted(missing)]).all()
    for layer in weights:
        wanted_OCP = np.array([
            [by_hooks(model, pairs, layer, offset, lag) for lag in range(patched_LOCP.shape[2])]
            for offset in range(4)
        ])  # fmt: skip
        moved = np.abs(wanted_OCP - wanted_OCP.mean((0, 1))).max()
        np.testing.assert_allclose(patched_LOCP[layer], wanted_OCP, atol=1e-3 * moved + 1e-6)


@torch.no_grad()
def by_hooks(model, pairs, layer: int, offset: int, lag: int) -> np.ndarray:
    """Return the readout ``(P,)``; the input of a convolution is its output with an identity."""
    from mecheval.models.hooks import visiting

    tap, weight = model.taps()[Site(layer, "conv_out")], short_convolutions(model)[layer]
    clean_PT, corrupted_PT = (
        torch.as_tensor(batch.tokens_BT) for batch in (pairs.clean, pairs.corrupted)
    )
    identity = torch.zeros_like(weight)
    identity[..., -1] = 1.0
    row_P = torch.arange(len(pairs))
    inputs, outputs = [], []
    with rewritten(weight, identity), visiting({tap: lambda x: inputs.append(x.clone())}):
        model(clean_PT)
        model(corrupted_PT)
    with visiting({tap: lambda x: outputs.append(x.clone())}):
        model(clean_PT)
    bias = getattr(tap.module, "bias", None)
    clean_PTE, corrupted_PTE = (x if bias is None else x - bias for x in inputs)
    read_P = torch.as_tensor(pairs.changed_P + offset)
    from_P = read_P - lag
    mixed_PTE = clean_PTE.clone()
    mixed_PTE[row_P, from_P] = corrupted_PTE[row_P, from_P]
    padded_PTE = torch.nn.functional.pad(mixed_PTE, (0, 0, weight.shape[-1] - 1, 0))
    convolved_PTE = torch.nn.functional.conv1d(
        padded_PTE.transpose(1, 2), weight, bias, groups=len(weight)
    ).transpose(1, 2)
    patched_PTE = outputs[0].clone()
    patched_PTE[row_P, read_P] = convolved_PTE[row_P, read_P]
    with visiting({tap: lambda _: patched_PTE}):
        logits_PC = model(clean_PT)[row_P, torch.as_tensor(pairs.readout_P)].double().numpy()
    return logits_PC[row_P, pairs.answers_P] - logits_PC[row_P, pairs.foils_P]


@pytest.mark.parametrize("kind", ["mean", "resample", "zero"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: "mamba[width=16,layers=2]",
        lambda: "based[width=16,layers=3]",
        lambda: checkpoint("mamba"),
        lambda: checkpoint("lfm2"),
    ],
    ids=["mamba", "based", "hf-mamba", "hf-lfm2"],
)
def test_what_stays_of_taps_is_what_plain_hooks_make_of_it(build, kind: str) -> None:
    subject = subject_of(build())
    model, n = subject.model, 6
    tokens_BT = subject.test(subject.length, n).tokens_BT
    others_BT = subject.examples("test", n, purpose="taps").tokens_BT
    assert not (tokens_BT[:, None] == others_BT).all(2).any()
    answers_A = torch.as_tensor(subject.answers_A)
    for layer, weight in short_convolutions(model).items():
        for lags in ([1], range(1, weight.shape[-1])):
            found = [
                TapAblation(
                    replace(subject, batch_size=size),
                    tokens_BT,
                    np.ones_like(tokens_BT, bool),
                    kind,
                ).without(layer, weight, lags)
                for size in (64, 4)
            ]
            taken_BTE = contributions(model, layer, lags, tokens_BT)
            given_BTE = contributions(model, layer, lags, others_BT)
            stays_BTE = {"mean": given_BTE.mean(0), "resample": given_BTE, "zero": 0.0}[kind]
            change = {model.taps()[Site(layer, "conv_out")]: stays_BTE - taken_BTE}
            wanted = edited(model, tokens_BT, change)[..., answers_A].numpy()
            moved = np.abs(wanted - edited(model, tokens_BT, {})[..., answers_A].numpy()).max()
            for logits in found:
                np.testing.assert_allclose(logits, wanted, atol=1e-3 * moved + 1e-6)


@torch.no_grad()
def contributions(model, layer: int, lags, tokens_BT: np.ndarray) -> torch.Tensor:
    """Return what lags add to the output of a convolution, from its input, ``(B, T, E)``."""
    from mecheval.models.hooks import visiting

    tap, weight = model.taps()[Site(layer, "conv_out")], short_convolutions(model)[layer]
    identity, inputs = torch.zeros_like(weight), []
    identity[..., -1] = 1.0
    with rewritten(weight, identity), visiting({tap: lambda x: inputs.append(x.clone())}):
        model(torch.as_tensor(tokens_BT))
    bias = getattr(tap.module, "bias", None)
    input_BTE = inputs[0] if bias is None else inputs[0] - bias
    added_BTE = torch.zeros_like(input_BTE)
    for lag in lags:
        added_BTE[:, lag:] += weight[:, 0, -1 - lag] * input_BTE[:, : input_BTE.shape[1] - lag]
    return added_BTE


@torch.no_grad()
def edited(model, tokens_BT: np.ndarray, change: dict) -> torch.Tensor:
    """Return all logits of runs in which something is added at taps."""
    from mecheval.models.hooks import visiting

    with visiting({tap: lambda x, added=added: x + added for tap, added in change.items()}):
        return model(torch.as_tensor(tokens_BT))


def test_what_sequences_have_in_common_stays() -> None:
    """A mean tells which kinds of tokens stand where, and so that an answer is a value there."""
    found = {
        kind: result_of(subject_of("planted/mamba-recall"), "convolution", ablation=kind)
        for kind in ("mean", "resample", "zero")
    }
    left = {kind: result.scalars["accuracy_without"] for kind, result in found.items()}
    # The values of the sequence are known without the taps; which of them is asked for is not.
    floor = found["mean"].references["floor"]
    assert left["mean"] == pytest.approx(floor, abs=0.05)
    assert left["zero"] == pytest.approx(found["zero"].references["chance"], abs=0.03)
    assert {result.config["ablation"] for result in found.values()} == set(found)


@pytest.mark.parametrize("build", [lambda: "mamba[width=16,layers=2]", lambda: checkpoint("mamba")])
def test_weights_are_put_back_exactly(build, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(build())
    any_answers(monkeypatch)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    result = result_of(subject, "convolution", n=16, n_pairs=8)
    assert not np.isnan(np.array(result.profile.value, float)).any()

    def same() -> bool:
        now = subject.model.state_dict()
        return all(torch.equal(before[name], now[name]) for name in before)

    assert same()
    weight = short_convolutions(subject.model)[0]

    def broken_off() -> None:
        with rewritten(weight, without(weight, [0, 1])):
            assert not same()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert same()

    def failing(*_, **__):
        assert not same()
        raise ZeroDivisionError

    monkeypatch.setattr(taps, "activations", failing)
    with pytest.raises(ZeroDivisionError):
        result_of(subject, "convolution", n=16, n_pairs=8)
    assert same()


def test_taps_are_taken_away_by_their_lag() -> None:
    weight_E1K = torch.arange(1.0, 9.0).reshape(2, 1, 4)
    assert without(weight_E1K, [0])[0, 0].tolist() == [1, 2, 3, 0]
    assert without(weight_E1K, [3, 1])[1, 0].tolist() == [0, 6, 0, 8]
    assert weight_E1K.min() == 1


def test_models_without_convolutions_are_not_applicable() -> None:
    for model in ("planted/induction", "mamba[width=16,layers=1,d_conv=0]", checkpoint("llama")):
        result = result_of(subject_of(model), "convolution")
        assert result.value is result.profile is None
        assert result.reason.startswith("not applicable: the model has no layer with one short")


def test_a_model_that_guesses_has_no_share() -> None:
    result = result_of(subject_of("mamba[width=16,layers=1]"), "convolution", n=32)
    assert result.value is None
    assert result.reason.startswith("no gap: the accuracy 0.")
    assert "what lags carry of the key is not known: no gap" in result.warnings[0]
    result = result_of(subject_of("planted/mamba-recall", learned=False), "convolution")
    assert result.reason.startswith("not learned")


def test_other_tasks_have_their_own_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    any_answers(monkeypatch)
    for task, kinds in (("induction[max_length=12]", {"key", "value"}), ("parity", {"default"})):
        subject = subject_of("mamba[width=16,layers=1]", task)
        result, *others = measured("convolution", subject, n=16, n_pairs=8)
        assert set(result.profiles) == {"share", *kinds}
        assert [one.id for one in others] == ["convolution/beyond_window"] * (task == "parity")


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("mamba2[width=32,layers=2]", "dyck[max_length=16,min_length=16]"),
        ("mamba[width=32,layers=2,d_conv=3]", "parity[max_length=8,min_length=8]"),
    ],
)
def test_what_a_window_tells_is_taken_off_where_a_state_is_asked_for(model: str, task: str) -> None:
    """Computed again by plain hooks, and by a table that shares no code with the floors."""
    subject = replace(trained(model, task, steps=120), limit=None)
    whole, beyond = measured("convolution", subject, n=48, n_pairs=8)
    assert (whole.id, beyond.id) == ("convolution", "convolution/beyond_window")
    batch, first = subject.test(subject.length, 48), max(subject.length // 4, 5)
    others_BT = subject.examples("test", 48, purpose="taps").tokens_BT
    answers_A = torch.as_tensor(subject.answers_A)

    def accuracy(change: dict) -> float:
        logits_BTA = edited(subject.model, batch.tokens_BT, change)[..., answers_A]
        answer_BT = answers_A[logits_BTA.argmax(-1)].numpy()
        return (answer_BT == batch.targets_BT)[:, first:].mean()

    right, chance = accuracy({}), 1 / len(answers_A)
    window, share_L = table_accuracy(subject.task, 4, first), []
    for layer, weight in short_convolutions(subject.model).items():
        lags = range(1, weight.shape[-1])
        taken_BTE = contributions(subject.model, layer, lags, batch.tokens_BT)
        stays_TE = contributions(subject.model, layer, lags, others_BT).mean(0)
        change = {subject.model.taps()[Site(layer, "conv_out")]: stays_TE - taken_BTE}
        share_L.append((right - accuracy(change)) / (right - chance))
    assert beyond.references["clean"] == pytest.approx(right)
    assert beyond.references["window"] == pytest.approx(window, abs=0.01)
    assert beyond.profile.series["share"] == pytest.approx(share_L, abs=0.01)
    told = (window - chance) / (right - chance)
    assert beyond.profile.value == pytest.approx(np.array(share_L) - told, abs=0.03)
    assert beyond.scalars["window_share"] == pytest.approx(told, abs=0.03)
    assert np.mean(beyond.units) == pytest.approx(beyond.value)
    assert beyond.config["first_position"] == first
    assert beyond.config["window"] == 4


def table_accuracy(task, width: int, first: int) -> float:
    """Return how often the likeliest answer behind the same last symbols is right."""
    batch = task.sample(np.random.default_rng(7), 12_000, task.max_length)
    seen: dict[tuple[int, ...], Counter[int]] = {}
    right = []
    for row, (tokens, targets) in enumerate(zip(batch.tokens_BT, batch.targets_BT, strict=True)):
        for t in range(first, len(tokens)):
            counts = seen.setdefault(tuple(tokens[t - width + 1 : t + 1]), Counter())
            if row < 6000:
                counts[int(targets[t])] += 1
            else:
                right.append(counts.most_common(1)[0][0] == targets[t] if counts else 0)
    return float(np.mean(right))


def test_a_model_that_guesses_has_nothing_beyond_the_window() -> None:
    for task in ("parity", "s3"):
        _, beyond = measured("convolution", subject_of("mamba[width=16,layers=1]", task), n=32)
        assert beyond.value is None
        assert beyond.reason.startswith("no gap: the accuracy 0.")
        assert "is not above chance" in beyond.reason
