"""Random automata as a control of probes: what their states are, and which will not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_built import SMALL_PROBES, load_task, results_of, subject_of, written_at_block
from retrieval_subjects import planted, trained

from mecheval.metrics.probe import controls
from mecheval.metrics.probe.controls import automata_states
from mecheval.metrics.probe.probe_data import Examples, ProbeData


def words_of(
    n_tokens: int, n_classes: int, *, values=None, n: int = 600, positions=(5, 12)
) -> ProbeData:
    """Return random words, and values that a function of words and positions gives."""
    rng = np.random.default_rng(0)
    splits = {}
    for split in ("train", "validation", "test"):
        words_NT, position_N = rng.integers(0, n_tokens, (n, 13)), rng.integers(*positions, n)
        values_N = rng.integers(0, n_classes, n)
        if values is not None:
            values_N = values(words_NT, position_N)
        splits[split] = Examples(np.zeros((1, n, 2), np.float32), values_N, words_NT, position_N)
    return ProbeData(splits, tuple(range(n_classes)))


def count_of(token: int):
    def parity(words_NT: np.ndarray, position_N: np.ndarray) -> np.ndarray:
        until_NT = np.arange(words_NT.shape[1]) <= position_N[:, None]
        return ((words_NT == token) & until_NT).sum(1) % 2

    return parity


def test_states_are_those_of_an_automaton_run_token_by_token() -> None:
    rng = np.random.default_rng(1)
    table_JXS = rng.permuted(np.tile(np.arange(3), (4, 5, 1)), axis=2)
    words_NT, position_N = rng.integers(0, 5, (20, 9)), rng.integers(0, 9, 20)
    for table_XS, states_N in zip(
        table_JXS, controls._run(table_JXS, words_NT, position_N), strict=True
    ):
        for word, position, found in zip(words_NT, position_N, states_N, strict=True):
            state = 0
            for token in word[: position + 1]:
                state = table_XS[token, state]
            assert found == state


def test_over_bits_the_parity_of_zeros_is_the_only_other_state_of_two_values() -> None:
    """The parity of ones is the variable, and what both bits flip is that of the position."""
    data = words_of(2, 2, values=count_of(1))
    states = automata_states(data, 6, np.random.default_rng(0))
    for split, states_JN in zip(("train", "test"), states, strict=True):
        zeros_N = count_of(0)(*data.words(split))
        assert states_JN.shape == (6, 600)
        assert all(((state_N ^ zeros_N) == state_N[0] ^ zeros_N[0]).all() for state_N in states_JN)


def test_states_are_told_neither_by_the_variable_nor_by_the_last_symbols() -> None:
    data = words_of(4, 5, values=lambda words_NT, position_N: position_N % 5, n=3000)
    of_train, of_test = automata_states(data, 10, np.random.default_rng(0))
    assert len(of_train) == len(of_test) == 10
    words_NT, position_N = data.words("train")
    row_N = np.arange(len(words_NT))
    last_two_N = words_NT[row_N, position_N] * 4 + words_NT[row_N, position_N - 1]
    for context_N in (position_N, last_two_N, data.labels("train")):
        assert controls._told(of_train, context_N) == pytest.approx(np.full(10, 0.2), abs=0.1)
    assert all(len(np.unique(state_N)) == 5 for state_N in of_test)


def test_words_of_one_token_leave_no_automaton() -> None:
    data = words_of(1, 2)
    assert [len(states) for states in automata_states(data, 5, np.random.default_rng(0))] == [0, 0]


def test_no_automaton_leaves_no_selectivity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "_TOLD", -1.0)
    subject = subject_of(written_at_block(2), load_task("parity"))
    result = results_of(subject, "readability", **SMALL_PROBES)["readability/parity"]
    assert result.scalars["selectivity"] is None
    assert result.profile.series["selectivity"] == [None] * 5
    assert result.profile.series["control"] == [None] * 5
    assert result.warnings[-1].startswith("selectivity is null: the state of no random automaton")
    assert result.value == 1.0


def test_a_network_that_holds_parity_alone_is_selective() -> None:
    subject = subject_of(written_at_block(2), load_task("parity"))
    result = results_of(subject, "readability", **SMALL_PROBES)["readability/parity"]
    # Over bits there is one automaton, so that the noise of 300 sequences is in all draws.
    assert result.scalars["selectivity"] > 0.8
    assert result.profile.series["selectivity"][:2] == pytest.approx([0, 0], abs=0.2)
    assert not result.warnings


def test_a_trained_lstm_is_selective_on_parity() -> None:
    drawn = planted("lstm[layers=2,width=32]", "parity").model
    subject = trained("lstm[layers=2,width=32]", "parity", steps=150)
    subject = replace(subject, limit=None, untrained=lambda: drawn)
    (result,) = results_of(subject, "readability", **SMALL_PROBES).values()
    assert result.value is not None
    assert result.value > 0.9
    assert result.scalars["selectivity"] > 0.7


def test_a_network_that_keeps_every_word_is_not() -> None:
    """A probe of the zeros reads as much of them as one of the ones of these."""
    from hand_built import HandBuilt, Mixer, always

    class Both(Mixer):
        def forward(self, stream_BTD):
            out_BTD = super().forward(stream_BTD)
            zero_BT = (stream_BTD[..., 1] > 0.5).long().cumsum(1) % 2
            out_BTD[..., 3] = zero_BT
            return out_BTD

    subject = subject_of(HandBuilt([Both(always)]), load_task("parity"))
    result = results_of(subject, "readability", **SMALL_PROBES)["readability/parity"]
    assert result.value == 1.0
    assert result.scalars["selectivity"] == pytest.approx(0.0, abs=0.05)
    assert result.profile.series["control"][1] == pytest.approx(1.0, abs=0.02)
