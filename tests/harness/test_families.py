"""What is measured of a family: the engine, the difference, what raises, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from hf_families import is_new, reads_long_texts
from torch import nn

from mecheval.errors import UsageError
from mecheval.harness import families
from mecheval.harness.families import DTYPES, Family, Measured, survey
from mecheval.models.families.building import build, names
from mecheval.models.families.by_hand import UNFIT, VARIANTS
from mecheval.models.wrapped.model import WrappedModel

if TYPE_CHECKING:
    from collections.abc import Callable


def only(name: str) -> Family:
    (found,) = survey([name])
    return found


def replacing(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], *, family: str = "gpt2"
) -> Family:
    """Measure a family whose model is changed after it is built."""
    monkeypatch.setattr(families, "build", lambda name, dtype: change(build(name, dtype)))
    return only(family)


@pytest.mark.parametrize("name", mostly_slow(["llama", "mamba"], always=["mamba"]))
def test_what_comes_apart(name: str) -> None:
    family = only(name)
    assert family.layers == 2
    assert {"block_in", "mixer_out", "block_out"} <= set(family.sites)
    assert not list(family.faults())
    for dtype, largest in (("float32", 1e-5), ("float64", 1e-6)):
        found = family.measured[dtype]
        assert found.engine == "tails"
        assert found.reason is None
        assert (found.difference or 0) < largest < (found.moved or 0)
        assert found.memory == dict.fromkeys(("write", "state", "cache"), "tails")
        # Before transformers 5 the cache of a Mamba is not driven token by token.
        assert (found.memory_difference is not None) == (is_new() or name != "mamba")
        assert found.keeps is False


def test_experts_are_measured_in_float64() -> None:
    found = only("mixtral").measured["float64"]
    assert found.engine is not None
    assert (found.difference or 0) < 1e-9


def test_every_causal_family_is_listed() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) >= set(names()) - set(VARIANTS)
    assert {"llama", "mamba", "bert", *VARIANTS} <= set(names())
    assert len(names()) > 100


def test_an_unknown_family_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"Unknown family 'lama'\. Did you mean 'llama'"):
        survey(["lama"])


def test_what_cannot_be_built_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, dtype: torch.dtype) -> None:
        raise ImportError("no timm")

    monkeypatch.setattr(families, "build", fail)
    assert only("llama").measured["float32"].reason == "ImportError: no timm"
    unfit = next(name for name in UNFIT if name in names())
    assert only(unfit).measured["float64"].reason == f"{UNFIT[unfit]} (ImportError: no timm)"


def test_a_fault_of_ours_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, engine: str, **kwargs: Any) -> None:
        raise ZeroDivisionError(engine)

    monkeypatch.setattr(families, "recovery_grid", fail)
    family = only("gpt2")
    found = family.measured["float32"]
    assert found.engine is None
    assert found.reason == "ZeroDivisionError: fastest"
    assert set(found.raised) == {
        f"all sites with engine={engine}" for engine in ("fastest", "hooks")
    }
    said = "gpt2 in float64: all sites with engine=hooks raises ZeroDivisionError: hooks"
    assert said in list(family.faults())


def test_an_engine_that_is_off_is_a_fault() -> None:
    for off in (1e-3, float("inf"), float("nan")):
        measured = {dtype: Measured("tails", difference=off) for dtype in DTYPES}
        faults = list(Family("x", "X", measured=measured).faults())
        assert len(faults) == 2
        assert "tails has a difference of" in faults[0]


class Growing(WrappedModel):
    """Multiplies its logits by the most positions that it has ever read."""

    seen = 0

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        self.seen = max(self.seen, tokens_BT.shape[1])
        return super().forward(tokens_BT) * self.seen


def test_a_state_that_outlives_a_pass_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    family = replacing(monkeypatch, lambda model: Growing(model.module))
    assert family.measured["float32"].keeps is True


class Looking(nn.Module):
    """Adds the length of the input to it."""

    def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        return stream_BTD * (1 + stream_BTD.shape[1] / 100)


def test_logits_that_depend_on_the_length_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(model: WrappedModel) -> WrappedModel:
        module: Any = model.module
        module.transformer.drop = Looking()
        return WrappedModel(module)

    assert (only("gpt2").measured["float64"].cut or 0) < 1e-12
    assert (replacing(monkeypatch, change).measured["float64"].cut or 0) > 1e-3


def test_pairs_differ_before_their_readouts() -> None:
    pairs = families._pairs(61)
    differ_BT = pairs["clean_BT"] != pairs["corrupted_BT"]
    assert set(differ_BT.sum(1)) == {2, 3}
    assert len(set(pairs["readout_B"])) > 1
    assert differ_BT.nonzero()[1].max() < pairs["readout_B"].min()
    assert np.isin(pairs["corrupted_BT"], np.arange(4, 55)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names())
def test_every_family(name: str) -> None:
    """No engine is off, nothing raises but sentences, and patches move the answer."""
    family = only(name)
    known = () if reads_long_texts(name) else ("float32", "float64")
    faults = list(family.faults())
    assert len(faults) == len(known), faults
    for dtype, fault in zip(known, faults, strict=True):
        assert fault.startswith(f"{name} in {dtype}: a longer text raises RuntimeError")
    assert all(found.engine is not None or found.reason for found in family.measured.values())
