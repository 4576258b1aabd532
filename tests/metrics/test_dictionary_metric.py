"""The metric of dictionaries: known ends of the loss, what is left out, and sites of memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hand_built import HandBuilt, Mixer, load_task, never, results_of, subject_of, written_at_block

import mecheval
from mecheval.dictionaries import Dictionary
from mecheval.metrics.pairs.network import Loaded
from mecheval.metrics.pairs.recording import numbers_of, record

TASK = load_task("parity", max_length=8, min_length=8)
SMALL = {"n": 32, "n_train": 64, "n_rows": 2000, "width": 2, "k": 4, "n_loss": 24}


def exact(width: int, **fields) -> Dictionary:
    """Return a dictionary that makes of every row the row: one latent for either sign."""
    both_MD = torch.cat([torch.eye(width), -torch.eye(width)])
    return Dictionary(both_MD, torch.zeros(2 * width), both_MD, torch.zeros(width), **fields)


def mean_only(mean_X: torch.Tensor, **fields) -> Dictionary:
    """Return a dictionary none of whose latents fires, so that every row becomes the mean."""
    zeros_MD = torch.zeros(4, len(mean_X))
    return Dictionary(zeros_MD, -torch.ones(4), zeros_MD, mean_X, k=1, **fields)


@dataclass(frozen=True)
class Given(Loaded):
    """A network whose dictionaries are given: kind, and limit of norms."""

    kind: str = "exact"
    norm_limit: float = float("inf")

    def dictionaries(self, codings, layers, *, seed=0):
        rows = record(
            self.model, self.code_C, codings[0].training, layers, batch_size=64,
            component=codings[0].component,
        )  # fmt: skip
        made = []
        for coding in codings:
            of = []
            for row_NX in rows:
                mean_X = torch.from_numpy(row_NX.mean(0))
                means_GX = mean_X.expand(4, -1).clone()
                fields = {"norm_limit": self.norm_limit}
                if coding.of == "context":
                    fields["means_GD"] = means_GX
                if self.kind == "exact":
                    of.append(exact(len(mean_X), **fields))
                else:
                    centre_X = mean_X if coding.of == "stream" else torch.zeros_like(mean_X)
                    of.append(mean_only(centre_X, **fields))
            made.append(of)
        return made


def given(model, kind: str = "exact", task=TASK, **fields):
    return subject_of(
        model, task,
        kept=lambda at: Given(at.model, at.untrained, at.encoding.code_C, 64, kind, **fields),
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "known"), [("exact", 1.0), ("mean", 0.0)])
@pytest.mark.parametrize("of", ["stream", "context"])
def test_the_ends_of_the_loss_are_known(kind: str, known: float, of: str) -> None:
    result = results_of(given(written_at_block(1, 2), kind), "dictionary", **SMALL)[
        f"dictionary/{of}"
    ]
    # The mean of training rows explains a little less than none of test rows.
    assert result.value == pytest.approx(known, abs=1e-5 if known else 0.02)
    for name in ("", "_low", "_high"):
        assert result.scalars[f"loss_recovered{name}"] == pytest.approx(known, abs=1e-4)
    series = result.profile.series
    assert np.array(series["loss_mean"]).min() > np.array(series["loss_clean"]).max()
    assert series["loss_recovered"] == pytest.approx([known] * 2, abs=1e-4)


def test_means_of_symbols_recover_what_a_table_knows() -> None:
    result = results_of(given(written_at_block(1, 2)), "dictionary", **SMALL)["dictionary/stream"]
    # All symbols have the mean of all rows here.
    assert result.scalars["loss_recovered_by_symbols"] == pytest.approx(0, abs=1e-6)


def test_rows_of_too_large_a_norm_stay_and_are_counted() -> None:
    model = written_at_block(1, 2)
    result = results_of(given(model, "mean", norm_limit=1e-3), "dictionary", **SMALL)[
        "dictionary/stream"
    ]
    assert result.scalars["left_out"] == result.scalars["stayed"] == 1
    assert result.value is None
    assert result.scalars["loss_recovered"] is None  # nothing was replaced: no gap


def test_without_a_gap_nothing_is_recovered() -> None:
    model = HandBuilt([Mixer(never), Mixer(never)])
    result = results_of(given(model), "dictionary", **SMALL)["dictionary/stream"]
    assert result.value == pytest.approx(1)
    assert result.scalars["loss_recovered"] is None
    (column,) = (line for line in result.headline if line.at == "loss_recovered")
    assert column.otherwise.startswith("no gap: an answer costs 0.693 nats, and 0.693 with")


def test_a_trained_dictionary_lies_between_the_ends() -> None:
    found = results_of(subject_of(written_at_block(1, 2), TASK), "dictionary", **SMALL)
    assert list(found) == ["dictionary/stream", "dictionary/context"]
    for result in found.values():
        assert 0.2 < result.value < 1
        assert result.scalars["l0"] <= 4
        assert result.n_scored == result.n_expected == 2
    assert found["dictionary/stream"].references["symbol"] == pytest.approx(
        found["dictionary/stream"].scalars["symbol_share"]
    )


@pytest.mark.parametrize("component", ["write", "state"])
def test_memory_is_replaced(component: str) -> None:
    model = mecheval.load_model("lstm[layers=1,width=8]", vocab_size=3)
    result = results_of(given(model), "dictionary", component=component, **SMALL)[
        "dictionary/stream"
    ]
    assert result.value == pytest.approx(1)
    series = result.profile.series
    assert series["loss_stream"] == pytest.approx(series["loss_clean"], abs=1e-5)
    assert series["loss_zero"] != pytest.approx(series["loss_clean"], abs=1e-5)


def test_memory_that_grows_has_no_dictionary() -> None:
    model = mecheval.load_model("attention[layers=1,width=8,heads=2]", vocab_size=3)
    for result in results_of(
        subject_of(model, TASK), "dictionary", component="state", **SMALL
    ).values():
        assert result.value is None
        assert "grows with every position" in result.reason


def test_a_wide_row_is_recorded_in_part() -> None:
    from mecheval.metrics.pairs.places import draw_places

    model, places = (
        mecheval.load_model("mamba[layers=1,width=8]", vocab_size=3),
        draw_places(TASK, 6, 4),
    )
    whole, part = (
        record(model, np.arange(3), places, [1], batch_size=4, component="state", n_numbers=n)[0]
        for n in (None, 40)
    )
    kept_X = numbers_of(whole.shape[1], 40)
    assert part.shape == (24, 40)
    assert len(set(kept_X.tolist())) == 40
    np.testing.assert_array_equal(part, whole[:, kept_X])


def test_a_site_that_holds_the_symbol_alone_has_no_dictionary_of_context() -> None:
    model = mecheval.load_model(
        "transformer[layers=1,width=8,heads=2,positions=none]", vocab_size=3
    )
    for result in results_of(
        subject_of(model, TASK), "dictionary", component="write", **SMALL
    ).values():  # keys and values of the first layer
        assert result.value is None
        assert result.reason == "at some depth the site holds the current symbol and nothing else"
