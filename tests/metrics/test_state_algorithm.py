"""The state algorithm: verdicts on planted networks, a slow second computation, and no number.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width, ``G`` elements.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from measured import measured

import mecheval
from mecheval.harness.selftest import subject_of
from mecheval.metrics import Subject
from mecheval.metrics.state_algorithm.arrivals import arrivals
from mecheval.metrics.state_algorithm.distant_pairs import distant_pairs
from mecheval.metrics.state_algorithm.kept_states import kept_states
from mecheval.models.contract import Encoding
from mecheval.tasks.quotients import quotients_of
from mecheval.tasks.splits import in_split

if TYPE_CHECKING:
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Batch

SMALL = {"n_pairs": 64, "n_pool": 1000, "n_sequences": 64}
S3 = "s3[longer=[]]"


def judged(model: str, task: str = S3, **params: Any) -> MetricResult:
    (result,) = measured("state_algorithm", subject_of(f"planted/{model}", task), **SMALL, **params)
    return result


@pytest.mark.parametrize(
    ("model", "task", "verdict"),
    [
        ("lstm-group[sharpness=8]", "z6", "sequential"),
        ("lstm-group", "group[name=a4,alphabet=generators]", "sequential"),
        ("parity-at-block[rotated=3]", "parity", "sequential"),
        ("group-scan[noise=0.02]", S3, "associative scan"),
        ("group-scan[weight_noise=0.01]", S3, "associative scan"),
        ("group-scan", "z6[longer=[]]", "associative scan"),
        ("group-scan", "parity[longer=[]]", "associative scan"),
        ("sign-scan[noise=0.02]", S3, "parity first, then scan"),
        ("sign-scan", "z6[longer=[]]", "parity first, then scan"),
        ("transformer-count", "z6[longer=[]]", None),
    ],
)
def test_the_verdict_on_planted_networks(model: str, task: str, verdict: str | None) -> None:
    """Those of ``known.toml`` apart: other groups, and networks that err."""
    result = judged(model, task)
    assert result.verdict == verdict
    assert result.reason is None
    assert result.value == pytest.approx(float("scan" in str(verdict)), abs=0.05)
    assert result.scalars["agreement"] >= 0.95
    quotient = {"s": "sign", "z": "mod2"}
    first = quotient[task[0]] if str(verdict).startswith("parity") else None
    assert result.config["first_quotient"] == first
    if verdict is None:
        assert "all at once" in " ".join(result.warnings)


def test_words_of_four_times_the_length_have_two_octaves_more() -> None:
    result = judged("group-scan", "s3", length=4)
    assert result.verdict == "associative scan"
    assert result.value == pytest.approx(1.0)
    assert result.profile.index["distance"] == [1, 2, 4, 8, 16, 32]
    assert result.scalars["arrives_far_within_sign"] == pytest.approx(6.0)


def test_the_profile_says_when_a_letter_arrives_from_where() -> None:
    profile = judged("sign-scan").profile
    assert profile.index["curve"] == ["sign", "within sign"]
    layers, distances = np.arange(6), np.arange(4)
    within = np.array(profile.value[1])
    np.testing.assert_array_equal(within, layers[:, None] >= 2 + distances)
    sign = np.array(profile.value[0])
    np.testing.assert_array_equal(sign, np.repeat(layers[:, None] >= 1, 4, 1))
    assert np.array(profile.marks["trivial"])[0, [0, -1]].all()


def test_pairs_differ_in_one_letter_at_distances_of_every_octave_alike() -> None:
    subject = subject_of("planted/lstm-group", "s3")
    sign_G = quotients_of(subject.task)["sign"]  # type: ignore[arg-type]
    drawn = distant_pairs(subject, sign_G[:, None] == sign_G, 40, purpose="test")
    assert drawn is not None
    assert np.bincount(drawn.octave_P).tolist() == [10, 10, 10, 10]
    clean_BT, corrupted_BT = drawn.pairs.clean.tokens_BT, drawn.pairs.corrupted.tokens_BT
    rows = zip(clean_BT, corrupted_BT, drawn.distance_P, strict=True)
    for clean_T, corrupted_T, distance in rows:
        (place,) = np.flatnonzero(clean_T != corrupted_T)
        assert place == 16 - distance
        assert sign_G[clean_T[place] - 1] == sign_G[corrupted_T[place] - 1]
    assert in_split(clean_BT, "test").all()
    assert not in_split(corrupted_BT, "train").any()
    assert distant_pairs(subject, np.eye(6, dtype=bool), 8, purpose="test") is None


@torch.no_grad()
def streams(subject: Subject, tokens_T: np.ndarray) -> list[torch.Tensor]:
    """Return the stream of one run at every layer, block by block."""
    found = [subject.model.embed(torch.as_tensor(tokens_T)[None])]
    for block in subject.model.blocks:
        found.append(block(found[-1]))
    return found


@torch.no_grad()
def answer(subject: Subject, layer: int, stream_1TD: torch.Tensor) -> np.ndarray:
    """Return the elements that are answered, going on from a stream."""
    for block in subject.model.blocks[layer:]:
        stream_1TD = block(stream_1TD)
    logits_TC = subject.model.readout(stream_1TD)[0]
    return logits_TC[:, subject.answers_A].argmax(-1).numpy()


@pytest.mark.parametrize("model", ["sign-scan[noise=0.02]", "group-scan[rotated=2]", "lstm-group"])
def test_a_loop_over_pairs_layers_and_blocks_finds_the_same_arrivals(model: str) -> None:
    subject = subject_of(f"planted/{model}", S3)
    sign_G = quotients_of(subject.task)["sign"]  # type: ignore[arg-type]
    drawn = distant_pairs(subject, sign_G[:, None] != sign_G, 16, purpose="test")
    assert drawn is not None
    found = arrivals(subject, drawn, sign_G)
    here, between = [], []
    for clean_T, corrupted_T, distance in zip(
        drawn.pairs.clean.tokens_BT, drawn.pairs.corrupted.tokens_BT, drawn.distance_P, strict=True
    ):
        given, own = streams(subject, clean_T), streams(subject, corrupted_T)
        last = len(clean_T) - 1
        wanted = product(clean_T)
        if (answer(subject, 0, given[0])[-1], answer(subject, 0, own[0])[-1]) != (
            wanted, product(corrupted_T)
        ):  # fmt: skip
            continue
        for rows, places in ((here, [last]), (between, range(last - distance + 1, last))):
            row = []
            for layer in range(1, subject.model.n_layers):
                mixed_1TD = own[layer].clone()
                for place in places:
                    mixed_1TD[0, place] = given[layer][0, place]
                row.append(sign_G[answer(subject, layer, mixed_1TD)[-1]] == sign_G[wanted])
            rows.append(row)
    np.testing.assert_array_equal(found.here_LP, np.array(here).T)
    np.testing.assert_array_equal(found.between_LP, np.array(between).T)
    assert found.n_drawn == 16


def product(tokens_T: np.ndarray) -> int:
    task, state = mecheval.load_task("s3"), 0
    for token in tokens_T[1:]:
        state = int(task.product[state, token - 1])  # type: ignore[attr-defined]
    return state


def test_donors_of_the_same_sign_keep_the_sign_and_a_loop_finds_the_same() -> None:
    """Written anew: the donors of every position by a loop over the pool, sequence by sequence."""
    subject = subject_of("planted/sign-scan", S3)
    sign_G = quotients_of(subject.task)["sign"]  # type: ignore[arg-type]
    values = {"element": np.arange(6), "sign": sign_G}
    params = {"n_pool": 300, "n_pool_most": 300, "n_sequences": 100}
    params |= {"max_missing": 1.0, "min_loss": 0.1}
    found = kept_states(subject, values, params)
    assert not isinstance(found, str)
    assert found["sign"].chance == 0.5
    pool, batch = subject.examples("train", 300, purpose="exchange"), subject.test(16, 20)
    layer = 2
    given_STD = torch.cat([streams(subject, tokens_T)[layer] for tokens_T in pool.tokens_BT])
    kinds = {"free": np.zeros(6, int), **values}
    looped = {
        name: told_by_loop(subject, pool, batch, layer, given_STD, value_G)
        for name, value_G in kinds.items()
    }
    for asked, value_G in values.items():
        curves = found[asked]
        for ours_L, name in ((curves.kept_L, asked), (curves.free_L, "free")):
            right = [(value_G[got] == value_G[state]).mean() for got, state in looped[name]]
            assert ours_L[layer - 1] == pytest.approx(np.mean(right), abs=0.12)
    assert all((sign_G[got] == sign_G[state]).all() for got, state in looped["sign"])
    assert (found["sign"].kept_L == 1).all()


def told_by_loop(
    subject: Subject,
    pool: Batch,
    batch: Batch,
    layer: int,
    given_STD: torch.Tensor,
    value_G: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what is answered and the state, of sequences that get others' streams, one by one."""
    rng, first, found = np.random.default_rng(layer), 9, []
    for tokens_T, state_T in zip(batch.tokens_BT, batch.variables["element"], strict=True):
        mixed_1TD = streams(subject, tokens_T)[layer].clone()
        for place in range(1, len(tokens_T)):
            same_S = pool.tokens_BT[:, place] == tokens_T[place]
            same_S &= value_G[pool.variables["element"][:, place]] == value_G[state_T[place]]
            if same_S.any():
                mixed_1TD[0, place] = given_STD[rng.choice(np.flatnonzero(same_S)), place]
        found.append((answer(subject, layer, mixed_1TD)[first:], state_T[first:]))
    return found


def test_where_there_is_nothing_to_judge_the_reason_is_said() -> None:
    short = judged("lstm-group", "s3[longer=[],max_length=4,min_length=4]")
    assert short.reason == "words of 4 symbols have 2 octaves of distances, and 3 are needed"
    one = judged("parity-at-block[block=1,layers=1]", "parity")
    assert one.reason == "there is a single block, and what happens inside of it is not seen"
    (dyck,) = measured("state_algorithm", subject_of("planted/lstm-counter", "dyck[k=1]"))
    assert dyck.reason == "not applicable: the state of task 'dyck' is no product in a group"
    few = judged("lstm-group", "group[name=a4]", max_missing=0.001, n_pool_most=1000)
    assert "have no donor among" in str(few.reason)


def of_model(name: str, task: str) -> Subject:
    loaded = mecheval.load_task(task)
    model = mecheval.load_model(name, task=loaded).eval()
    n = len(loaded.symbols)
    return Subject(
        model=model, task=loaded, encoding=Encoding(np.arange(n), n), seed=0, learned=None,
        limit=None, batch_size=128, untrained=lambda: model,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["lstm", "transformer", "mamba2"])
def test_an_untrained_network_has_no_algorithm(name: str) -> None:
    subject = of_model(f"{name}[layers=3,width=32]", "s3")
    (result,) = measured("state_algorithm", subject, **SMALL)
    assert result.value is None
    assert result.verdict is None
    assert "are answered rightly" in str(result.reason)
    (gated,) = measured("state_algorithm", replace(subject, learned=False, accuracy=0.2), **SMALL)
    assert gated.value is None


def test_states_that_are_shown_have_no_algorithm() -> None:
    subject = of_model("lstm[layers=2,width=16]", "s3[reveal_rate=0.2]")
    (result,) = measured("state_algorithm", subject)
    assert str(result.reason).startswith("not applicable: task 's3' shows states")


def test_letters_that_never_differ_within_a_quotient_are_not_asked() -> None:
    """Of z6 with the letters 0 and 1, two always differ modulo 2 and modulo 3."""
    result = judged("group-scan", "group[alphabet=generators,longer=[],name=z6]")
    assert result.verdict == "associative scan"
    assert result.profile.index["curve"] == ["mod2", "mod3"]
    assert "within mod2 or within mod3" in " ".join(result.warnings)
    assert result.scalars["per_doubling_within_mod2"] is None
