"""Exchange: known values, a slow second computation, verdicts, and why there is no number.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width, ``L`` layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hand_built import (
    DISTRACTION,
    ONE,
    STATE,
    WIDTH,
    HandBuilt,
    Mixer,
    always,
    load_task,
    never,
    results_of,
    spread_over_blocks,
    subject_of,
    written,
)

import mecheval
from mecheval.errors import UsageError
from mecheval.harness import selftest
from mecheval.metrics.exchange import tracking
from mecheval.metrics.exchange.exchange_sweep import sweep_of
from mecheval.metrics.exchange.exchanged_runs import exchanged_runs
from mecheval.models.contract import Encoding
from mecheval.models.wrapped.model import WrappedModel
from mecheval.tasks.floors import first_position
from tests.hf_families import build

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult

SMALL = {"n_pool": 800, "n_sequences": 100, "n_draws": 2}
COUNT = DISTRACTION  # a feature that is put to use
NOISE = 0.05  # of an accuracy of 1/2 over 100 sequences and two draws of donors, four times


def exchanged(model: str, task: str = "parity", part: str = "parity", **params: Any) -> Any:
    subject = selftest.subject_of(model, task)
    return results_of(subject, "exchange", **{**SMALL, **params})[f"exchange/{part}"]


def series(result: MetricResult, name: str) -> np.ndarray:
    assert result.profile is not None
    return np.array(result.profile.series[name], float)  # None becomes NaN


def untrained(name: str, task: str, **fields: Any) -> Subject:
    loaded = mecheval.load_task(task)
    model = mecheval.load_model(name, task=loaded).eval()
    n = len(loaded.symbols)
    return subject_of(model, loaded, encoding=Encoding(np.arange(n), n), **fields)


@pytest.mark.parametrize(
    ("model", "free_L"),
    [
        ("parity-at-block", [1, 1, 0.5, 0.5, 0.5]),
        ("parity-at-block[block=1,rotated=7]", [1, 0.5, 0.5, 0.5, 0.5]),
        ("parity-at-block[noise=0.2]", [1, 1, 0.5, 0.5, 0.5]),
        ("parity-spread", [1, 0.875, 0.75, 0.625, 0.5]),
        ("parity-spread[rotated=5]", [1, 0.875, 0.75, 0.625, 0.5]),
        ("parity-spread[blocks=3]", [1, 2 / 3 + 1 / 6, 1 / 3 + 1 / 3, 0.5]),
        ("parity-distractor", [1, 1, 1, 0.5]),
        ("parity-distractor[reads=memory]", [1, 0.5, 0.5, 0.5]),
        ("parity-twice", [1, 1, 0.5, 0.5]),
        ("parity-twice[first=0.75]", [1, 0.5, 0.5, 0.5]),
        ("parity-twice[first=0.75,rotated=2]", [1, 0.5, 0.5, 0.5]),
        ("lstm-parity", [1, 0.5, 0.5]),
        ("lstm-votes", [1, 0.5, 0.5]),
    ],
)
def test_accuracy_of_planted_parity_with_other_donors(model: str, free_L: list[float]) -> None:
    result = exchanged(f"planted/{model}")
    np.testing.assert_allclose(series(result, "free"), free_L, atol=NOISE)
    assert (series(result, "free")[np.equal(free_L, 1)] == 1).all()
    assert (series(result, "kept") == 1).all()
    used_L = 2 * (1 - np.array(free_L))
    np.testing.assert_allclose(series(result, "use"), used_L, atol=2 * NOISE)
    sufficiency_L = np.where(used_L > 0, 1.0, np.nan)
    np.testing.assert_array_equal(series(result, "sufficiency"), sufficiency_L)
    assert result.value == pytest.approx(np.argmax(used_L > 0) / (len(free_L) - 1))
    assert result.scalars["identity_error"] == 0


def test_the_share_of_spread_parity_is_exact_in_all_donors() -> None:
    """What the draws of donors scatter around, without scatter: each of them as often as it is."""
    subject = selftest.subject_of("planted/parity-spread", "parity")
    sweep = sweep_of(subject, [("parity",)], params_of(n_draws=1))
    labels = sweep.runs.pool.targets_BT, sweep.runs.batch.targets_BT
    alike_BT = sweep.free.agreeing(*labels)
    first, n_blocks = first_position(16), 4
    phase_T = np.arange(first, 17) % n_blocks
    for layer in range(n_blocks + 1):
        lost = (1 - alike_BT[:, first:].mean(0)) * (phase_T < layer)
        assert 2 * lost.mean() == pytest.approx(layer / n_blocks, abs=0.01)


def test_a_blurred_network_errs_and_its_state_suffices_all_the_same() -> None:
    result = exchanged("planted/lstm-parity[sharpness=4.5]")
    accuracy = result.scalars["accuracy"]
    assert 0.9 < accuracy < 0.98
    np.testing.assert_allclose(series(result, "kept")[1:], accuracy, atol=NOISE)
    np.testing.assert_allclose(series(result, "free")[1:], 0.5, atol=NOISE)
    np.testing.assert_allclose(series(result, "sufficiency")[1:], 1.0, atol=0.1)


def test_a_state_of_two_variables_needs_both() -> None:
    task = "dyck[longer=[],max_length=16,min_length=16]"
    subject = selftest.subject_of("planted/transformer-dyck", task)
    found = results_of(subject, "exchange", **SMALL)
    assert list(found) == ["exchange/depth", "exchange/top", "exchange/depth+top"]
    both = found["exchange/depth+top"]
    assert (series(both, "kept") == 1).all()
    np.testing.assert_allclose(series(both, "free"), [1, 0.64, 0.54, 0.54], atol=NOISE)
    assert series(found["exchange/depth"], "kept")[1] == 1  # all that layer 1 knows
    assert series(found["exchange/depth"], "kept")[2] < 0.8
    assert series(found["exchange/top"], "kept")[1] < 0.95
    assert (series(found["exchange/top"], "kept")[2:] == 1).all()
    for one in found.values():
        np.testing.assert_array_equal(series(one, "free"), series(both, "free"))
    assert both.verdict == tracking.PREDICTED
    assert found["exchange/top"].verdict is None
    assert why_no_verdict(found["exchange/top"]) == "top is not the whole state"


def why_no_verdict(result: MetricResult) -> str:
    return next(line.otherwise for line in result.headline if line.at == "verdict")


def test_no_verdict_from_longer_words() -> None:
    result = exchanged("planted/lstm-parity", length=4)
    assert result.value is not None
    assert result.verdict is result.scalars["agrees"] is None
    said = "tracking is predicted from words of the training length alone"
    assert why_no_verdict(result) == said


def params_of(**params: Any) -> dict[str, Any]:
    from measured import metric_of

    return metric_of("exchange", **{**SMALL, **params}).params


@pytest.mark.parametrize("name", ["transformer", "mamba2", "gru"])
@torch.no_grad()
def test_a_loop_over_sequences_blocks_and_donors_finds_the_same(name: str) -> None:
    """Written anew: donors by a loop over the pool, streams sequence by sequence, then answers."""
    subject = untrained(f"{name}[layers=2,width=16]", "parity", limit=60)
    params = params_of(n_pool=60, n_sequences=10, n_draws=1)
    sweep = sweep_of(subject, [("parity",)], params)
    batch, pool, model = sweep.runs.batch, sweep.runs.pool, subject.model
    rng = np.random.default_rng(0)
    donor_BT = np.full(batch.tokens_BT.shape, -1)
    for b, t in np.ndindex(*donor_BT.shape):
        same = [
            s
            for s in range(len(pool))
            if pool.tokens_BT[s, t] == batch.tokens_BT[b, t]
            and pool.variables["parity"][s, t] == batch.variables["parity"][b, t]
        ]
        if same:
            donor_BT[b, t] = rng.choice(same)
    for layer in range(3):
        (made_JB,) = sweep.runs.answered(sweep.exchanging, layer, [donor_BT[None]])
        for b in range(len(batch)):
            stream_TD = stream_of(model, batch.tokens_BT[b], layer)
            for t, donor in enumerate(donor_BT[b]):
                if donor >= 0:
                    stream_TD[t] = stream_of(model, pool.tokens_BT[donor], layer)[t]
            after_1TD = stream_TD[None]
            for block in model.blocks[layer:]:
                after_1TD = block(after_1TD)
            logits_TC = model.readout(after_1TD)[0]  # type: ignore[operator]
            said_T = np.array(subject.task.answers)[logits_TC[:, 1:].numpy().argmax(1)]
            right_T = said_T == batch.targets_BT[b]
            assert made_JB[0, b] == pytest.approx(right_T[first_position(16) :].mean())


def stream_of(model: mecheval.SequenceModel, tokens_T: np.ndarray, layer: int) -> torch.Tensor:
    stream_1TD = model.embed(torch.as_tensor(tokens_T)[None])  # type: ignore[operator]
    for block in model.blocks[:layer]:
        stream_1TD = block(stream_1TD)
    return stream_1TD[0]


def test_numbers_are_the_formulas_of_the_accuracies() -> None:
    result = exchanged("planted/lstm-parity[sharpness=4.5]")
    accuracy, free, kept = (
        result.scalars["accuracy"],
        series(result, "free"),
        series(result, "kept"),
    )
    np.testing.assert_allclose(series(result, "use"), (accuracy - free) / (accuracy - 0.5))
    with np.errstate(invalid="ignore"):
        wanted_L = np.where(accuracy - free >= 0.05, (kept - free) / (accuracy - free), np.nan)
    np.testing.assert_allclose(series(result, "sufficiency"), wanted_L)
    inner = wanted_L[1:-1]
    assert result.scalars["mean_sufficiency"] == pytest.approx(np.nanmean(inner))
    shares = (kept[1:-1] - 0.5) / (accuracy - 0.5)
    assert result.scalars["mean_kept"] == pytest.approx(shares.mean())
    for name in ("use", "kept", "free"):
        low, high = series(result, f"{name}_low"), series(result, f"{name}_high")
        assert (low <= series(result, name)).all()
        assert (series(result, name) <= high).all()


def test_models_that_do_not_come_apart_are_exchanged_in_by_hooks() -> None:
    subject = subject_of(spread_over_blocks(4), load_task("parity"))
    (result,) = results_of(subject, "exchange", **SMALL).values()
    np.testing.assert_allclose(series(result, "use"), np.arange(5) / 4, atol=2 * NOISE)
    assert (series(result, "kept") == 1).all()
    (result,) = results_of(subject, "exchange", component="state", **SMALL).values()
    assert result.value is None
    assert str(result.reason).startswith("what a layer remembers cannot be told from the rest")


@pytest.mark.parametrize("name", ["gpt_neox", "mamba"])
def test_checkpoints_are_measured(name: str) -> None:
    task = load_task("dyck")
    n = len(task.symbols)
    model = WrappedModel(build(name).eval())
    subject = subject_of(model, task, encoding=Encoding(np.arange(n), n))
    found = results_of(subject, "exchange", n_pool=600, n_sequences=20, n_draws=1, max_missing=1.0)
    result = found["exchange/depth+top"]
    assert result.scalars["identity_error"] == 0
    assert len(series(result, "free")) == model.n_layers + 1


class Plain(HandBuilt):
    """As it is, without the features that hold nothing of interest."""

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        stream_BTD = self.before(tokens_BT)
        for block in self.stack:
            stream_BTD = block(stream_BTD)
        logits_BTC = torch.zeros(*tokens_BT.shape, 3)
        logits_BTC[..., 1:] = self.gain * self.behind(stream_BTD)[..., STATE : STATE + 2]
        return logits_BTC

    def before(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        stream_BTD = torch.zeros(*tokens_BT.shape, WIDTH)
        stream_BTD[..., :3] = torch.nn.functional.one_hot(tokens_BT, 3).float()
        return stream_BTD

    def behind(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        return stream_BTD


class Early(Plain):
    """Knows the parity before its first block."""

    def before(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        parity_BT = (tokens_BT == ONE).long().cumsum(1) % 2
        return written(parity_BT, torch.ones(parity_BT.shape[1]))


def test_what_knows_the_state_before_the_first_block_is_pointed_out() -> None:
    model = Early([Mixer(never), Mixer(never)])
    (result,) = results_of(subject_of(model, load_task("parity")), "exchange", **SMALL).values()
    assert (result.scalars["identity_error"] or 0) > 0.3
    assert "at layer 0 an exchange changes answers" in result.warnings[0]


class Counting(Mixer):
    """Writes how many ones there were, beside their parity."""

    def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        out_BTD = super().forward(stream_BTD)
        out_BTD[..., COUNT] = (stream_BTD[..., ONE] > 0.5).float().cumsum(1)
        return out_BTD


class Suspicious(torch.nn.Module):
    """Turns the parity round where the count is not that of the position before, or one more."""

    def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        count_BT = stream_BTD[..., COUNT]
        step_BT = count_BT - torch.cat([count_BT[:, :1], count_BT[:, :-1]], 1)
        odd_BT1 = ((step_BT != 0) & (step_BT != 1))[..., None]
        state_BT2 = stream_BTD[..., STATE : STATE + 2]
        out_BTD = torch.zeros_like(stream_BTD)
        out_BTD[..., STATE : STATE + 2] = torch.where(odd_BT1, state_BT2.flip(-1) - state_BT2, 0.0)
        return out_BTD


def test_what_compares_positions_fails_with_donors_of_the_same_state() -> None:
    """A limit that the documentation names; it is not predicted to track, though it does."""
    model = Plain([Counting(always), Suspicious()])
    (result,) = results_of(subject_of(model, load_task("parity")), "exchange", **SMALL).values()
    assert result.scalars["accuracy"] == 1
    assert series(result, "kept")[1] < 0.6
    assert (series(result, "kept")[[0, 2]] == 1).all()
    assert result.verdict == tracking.NOT_PREDICTED
    assert result.scalars["agrees"] == 0


def test_a_readout_that_looks_at_other_positions_is_pointed_out() -> None:
    class Reading(Plain):
        def behind(self, stream_BTD: torch.Tensor) -> torch.Tensor:
            return stream_BTD + Suspicious()(stream_BTD)

    model = Reading([Counting(always), Mixer(never)])
    (result,) = results_of(subject_of(model, load_task("parity")), "exchange", **SMALL).values()
    assert result.scalars["accuracy"] == 1
    assert "behind the last block donors of the same state have accuracy" in result.warnings[0]


def test_the_verdict_is_held_against_longer_words() -> None:
    result = exchanged("planted/lstm-parity")
    assert (result.verdict, result.scalars["agrees"]) == (tracking.PREDICTED, 1)
    leaky = exchanged("planted/lstm-parity[sharpness=4.5]")
    assert (leaky.verdict, leaky.scalars["agrees"]) == (tracking.PREDICTED, 0)
    short = exchanged("planted/lstm-parity", "parity[longer=[2]]")
    assert short.scalars["agrees"] is short.scalars["last_accuracy_4x"] is None
    assert "has no test at 4 times its length" in " ".join(short.warnings)


def test_no_verdict_where_nothing_is_lost_inside() -> None:
    result = exchanged("planted/parity-distractor")
    assert result.verdict is result.scalars["mean_sufficiency"] is None
    assert "nothing is lost by donors of any state" in why_no_verdict(result)
    result = exchanged("planted/parity-at-block[block=1,layers=1]")
    assert result.verdict is None
    assert why_no_verdict(result) == "there is no layer between the first and the last one"


def test_cells_without_donors_are_counted_and_too_many_leave_no_value() -> None:
    task = "ar[keys=12,values=12,pairs=6]"
    few = {"n_pool": 40, "n_pool_most": 40}
    result = exchanged("planted/mamba-recall", task, "bound+key", **few)
    assert result.value is result.profile is None
    share = result.scalars["without_donor"]
    assert share > 0.3
    said = f"{share:.1%} of the positions have no donor among 40 sequences: n_pool and "
    assert result.reason.startswith(said)
    some = exchanged("planted/mamba-recall", task, "bound+key", n_pool=600)
    assert 0 < some.scalars["without_donor"] < 0.05
    assert "have no donor of the same state, and keep what is their own" in some.warnings[0]
    assert exchanged("planted/mamba-recall", task, "bound+key", **few, max_missing=1.0).value


def test_the_pool_grows_where_states_are_many() -> None:
    subject = untrained("lstm[layers=1,width=8]", "s3")
    few = {"n_sequences": 30, "n_draws": 1, "variables": ["element"]}
    sizes = {}
    for n_pool, most in ((60, 60), (60, 10_000), (60, 120), (3000, 10_000)):
        params = {**few, "n_pool": n_pool, "n_pool_most": most}
        (result,) = results_of(subject, "exchange", **params).values()
        sizes[n_pool, most] = result.config["n_giving"]
        lacking = (result.scalars["without_donor"] or 0) > 0.05
        assert lacking == (most <= 120)  # what does not help is not done
    assert sizes[60, 60] == sizes[60, 120] == 60
    assert sizes[60, 10_000] in (240, 480, 960, 1920)
    assert sizes[3000, 10_000] == 750  # which are enough


def test_draws_are_held_against_each_other_where_there_are_several() -> None:
    model = "planted/lstm-parity[sharpness=4.5]"
    assert exchanged(model, n_sequences=50, n_draws=1).scalars["draws_apart"] is None
    assert (exchanged(model, n_sequences=50).scalars["draws_apart"] or 0) > 0


def test_what_is_remembered_is_exchanged_block_by_block() -> None:
    result = exchanged("planted/parity-at-block", component="state")
    np.testing.assert_allclose(series(result, "free"), [1, 1, 0.5, 1, 1], atol=NOISE)
    assert (series(result, "kept") == 1).all()
    assert result.value == 0.5
    assert result.verdict is None
    assert why_no_verdict(result) == "what mixers hold is exchanged, and not the stream"
    assert result.profile is not None
    assert result.profile.marks["trivial"] == [True, False, False, False, False]


def test_what_no_one_could_tell_apart_has_no_value() -> None:
    (result,) = results_of(
        subject_of(HandBuilt([Mixer(never), Mixer(never)]), load_task("parity")),
        "exchange",
        **SMALL,
    ).values()
    assert result.value is None
    assert "is not above chance" in str(result.reason)


def test_named_tuples_are_measured_and_others_refused() -> None:
    subject = untrained("lstm[layers=1,width=8]", "s3")
    few = {"n_pool": 300, "n_sequences": 20, "n_draws": 1}
    assert list(results_of(subject, "exchange", **few)) == [
        "exchange/element", "exchange/sign", "exchange/coset",
    ]  # fmt: skip
    found = results_of(subject, "exchange", variables=["element", "sign+coset"], **few)
    assert list(found) == ["exchange/element", "exchange/sign+coset"]
    one, other = found.values()
    assert one.profile == other.profile  # the same states by another name
    with pytest.raises(UsageError, match="Did you mean 'coset'"):
        results_of(subject, "exchange", variables=["sign+cosets"], **few)
    with pytest.raises(UsageError, match=r"Unknown variable 'sign.coset' of s3"):
        results_of(subject, "readability", variables=["sign+coset"])


def test_longer_words_are_exchanged_at_their_length() -> None:
    result = exchanged("planted/lstm-parity", length=2)
    assert result.config["first_position"] == first_position(32)
    assert series(result, "free")[1] == pytest.approx(0.5, abs=NOISE)


def test_batches_of_any_size_give_the_same() -> None:
    subject = untrained("transformer[layers=2,width=16]", "parity")
    one, other = (
        results_of(replace(subject, memo={}, batch_size=size), "exchange", **SMALL)
        for size in (7, 128)
    )
    np.testing.assert_allclose(
        series(one["exchange/parity"], "kept"), series(other["exchange/parity"], "kept"), atol=1e-3
    )


def test_a_limit_on_examples_is_named_where_it_leaves_too_few_donors() -> None:
    for limit, more in ((16, "a higher limit on examples gives"), (None, "n_pool_most gives")):
        subject = untrained("gru[layers=1,width=16]", "s3", limit=limit)
        runs = exchanged_runs(subject, [("element",)], params_of(n_sequences=10))
        said = runs.too_few(0.8, n_pool_most=24_000)
        assert said.startswith("80.0% of the positions have no donor")
        assert said.endswith(f"{more} more")
