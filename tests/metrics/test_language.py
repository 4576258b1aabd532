"""What a text costs a model: against a plain computation, and a small model that is trained."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hf_families import build
from hf_tokenizers import byte_tokenizer

import mecheval
from mecheval.errors import UsageError
from mecheval.harness.gate import judged
from mecheval.harness.selftest import subject_of
from mecheval.metrics import configured_metric, measure
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.reports.labels import gate_in_words
from mecheval.seeding import stream
from mecheval.spec import Spec
from mecheval.tasks import UNSCORED
from mecheval.tasks.tokenized import FIRST

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["red", "green", "blue", "cyan", "black", "white", "amber", "rust"]
LENGTHS = "min_length=32,max_length=32,vocabulary=256"


def write_lines(folder: Path, n_files: int = 24) -> Path:
    """Write files of lines that say a word twice: what comes second is not known from two bytes."""
    folder.mkdir()
    for index in range(n_files):
        rng = stream(0, "lines", index)
        chosen = [WORDS[i] for i in rng.integers(len(WORDS), size=60)]
        text = "".join(f"{word} is {word}\n" for word in chosen)
        (folder / f"{index}.py").write_text(text)
    return folder


def measured(subject, **params) -> dict:
    metric = configured_metric(Spec("language"), Registry(), params)
    return {result.id: result for result in measure(metric, subject)}


@pytest.fixture(scope="module")
def bigram(tmp_path_factory: pytest.TempPathFactory):
    folder = write_lines(tmp_path_factory.mktemp("text") / "lines")
    return subject_of("planted/bigram", f"text[folder={folder},{LENGTHS}]")


def test_a_table_of_bigrams_is_at_its_floor(bigram) -> None:
    found = measured(bigram, n=64, early=4, late=20)
    for factor in ("1x", "2x"):
        loss, bits = found[f"loss/{factor}"], found[f"bits_per_byte/{factor}"]
        assert loss.value == pytest.approx(loss.references["bigram"], abs=1e-6)
        assert bits.value == pytest.approx(loss.value / math.log(2), abs=1e-9)  # bytes
        assert loss.references["floor"] == loss.references["trigram"] < loss.value
        assert loss.references["chance"] == pytest.approx(math.log(256))
        assert loss.scalars["below_trigram"] < 0 < loss.scalars["below_unigram"]
        assert loss.uncertainty is not None
        assert loss.uncertainty.low < loss.value < loss.uncertainty.high
        assert loss.uncertainty.resampled_unit == "document"
        assert np.mean(loss.units) == pytest.approx(loss.value, abs=1e-4)
        assert len(loss.units) == loss.n_expected == loss.n_scored
    gain = found["in_context_gain/1x"]
    assert gain.scalars["beyond_bigram"] == pytest.approx(0.0, abs=1e-6)


def test_the_loss_is_that_of_torch(bigram) -> None:
    task, encoding = bigram.task, bigram.encoding
    batch = task.text.windows("test", task.text.spread("test", 8, 32), 32)
    model = mecheval.load_model("gru[layers=1,width=16]", vocab_size=encoding.vocab_size)
    with torch.no_grad():
        logits = model(torch.as_tensor(batch.tokens_BT))[..., FIRST:].flatten(0, 1)
        targets = torch.as_tensor(batch.targets_BT).flatten()
        asked = targets != UNSCORED
        expected = torch.nn.functional.cross_entropy(logits[asked], targets[asked] - FIRST)
    subject = dataclasses.replace(bigram, model=model, memo={}, batch_size=3, limit=8)
    loss = measured(subject)["loss/1x"]
    assert loss.value == pytest.approx(float(expected), abs=1e-5)
    assert loss.profile is not None
    assert loss.profile.index["position"] == list(range(1, 33))
    assert set(loss.profile.series) == {"unigram", "bigram", "trigram"}


def test_without_late_tokens_there_is_no_gain(bigram) -> None:
    gain = measured(bigram, n=8, early=4, late=33)["in_context_gain/1x"]
    assert gain.value is None
    assert gain.reason == "no token is asked for within the first 4, or none from 33 on"
    assert gain.references == gain.scalars == {}


@pytest.mark.parametrize(
    ("margin", "gate", "learned", "missed"),
    [
        (0.02, 0.99, False, "not 0.02 nats below its floor"),
        (0.0, 0.5, False, "not 0 nats below its floor"),
        (0.02, 0.0, True, ""),
    ],
)
def test_a_loss_above_its_floor_is_not_learned(
    bigram, margin: float, gate: float, learned: bool, missed: str
) -> None:
    found = list(measured(bigram, n=32).values())
    subject = judged(bigram, found, Recipe(margin=margin, gate=gate))
    assert subject.learned is learned
    assert subject.missed.startswith(missed)
    assert ("(trigram)" in subject.missed) is not learned
    loss = found[0]
    lower = loss.model_copy(update={"value": loss.references["floor"] - margin - 1e-9})
    assert judged(bigram, [lower], Recipe(margin=margin, gate=gate)).learned


def test_a_small_model_learns_what_no_table_knows(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "lines")
    reports = {
        steps: mecheval.evaluate(
            "gru[layers=1,width=64]", f"text[folder={folder},{LENGTHS}]",
            recipe={"steps": steps, "lr": 0.01}, device="cpu", output=tmp_path / str(steps),
            metrics=["language[n=64,early=4,late=20]", "recovery"],
        )[0]
        for steps in (2, 250)
    }  # fmt: skip
    few, many = reports[2], reports[250]
    assert (few.learned, many.learned) == (False, True)
    assert few.data is not None
    assert few.data.disjoint
    by_id = {re.sub(r"\[.*\]", "", result.id): result for result in many.metrics}
    below = by_id["loss/1x"].scalars["below_trigram"]
    assert below is not None
    assert below > 0.02
    assert by_id["recovery/block_in"].n_scored > 0, "what was learned is measured"
    reason = few.metrics[-1].reason
    assert reason is not None
    assert reason.startswith("not learned: held-out loss ")
    assert "is not 0.02 nats below its floor" in reason
    assert many.identity.recipe["gate_on"] == "loss"
    assert gate_in_words(many.identity) == "gate 0.02 nats below the floor"


@pytest.mark.parametrize("family", ["gpt_neox", "mamba"])
def test_a_checkpoint_reads_text_in_its_own_tokens(family: str, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "lines")
    tokenizer = byte_tokenizer([path.read_text() for path in sorted(source.iterdir())[:4]])
    module: Any = build(family, vocab_size=len(tokenizer) + 8, num_hidden_layers=2)
    for part in (module, tokenizer):
        part.save_pretrained(tmp_path / "model")
    name = f"text[folder={source},tokenizer={tmp_path / 'model'},min_length=16,max_length=16]"
    report = mecheval.evaluate(
        f"hf:{tmp_path / 'model'}", name, recipe={"steps": 0}, limit=8, device="cpu",
        metrics=["language"], output=tmp_path / "out",
    )[0]  # fmt: skip
    task: Any = mecheval.load_task(name)
    text = task.text
    batch = text.windows("test", text.spread("test", 8, 16), 16)
    ids_C = np.array([tokenizer.bos_token_id] * FIRST + list(text.ids))
    with torch.no_grad():
        logits = module.eval()(torch.as_tensor(ids_C[batch.tokens_BT])).logits[..., ids_C[FIRST:]]
    targets = torch.as_tensor(batch.targets_BT)
    asked = targets != UNSCORED
    expected = torch.nn.functional.cross_entropy(logits[asked], targets[asked] - FIRST)
    assert report.metrics[0].value == pytest.approx(float(expected), abs=1e-4)
    assert report.learned is False
    with pytest.raises(UsageError, match="is not in the tokens of"):
        mecheval.evaluate(
            f"hf:{tmp_path / 'model'}", f"text[folder={source},{LENGTHS}]", recipe={"steps": 0},
            device="cpu", output=tmp_path / "out",
        )  # fmt: skip
