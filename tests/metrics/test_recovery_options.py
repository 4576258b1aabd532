"""Recovery in its other directions, and the reasons for which it has no value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from measured import measured

import mecheval
from mecheval.errors import UsageError
from mecheval.metrics import Subject
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec


def subject_of(spec: str = "lstm[layers=2,width=16]", **fields) -> Subject:
    task = mecheval.load_task("parity")
    source = resolve(parse_spec(spec), Registry())
    encoding = source.encode(task)
    model = source.build(encoding, seed=0).eval()
    return Subject(
        model=model, task=task, encoding=encoding, seed=0, learned=True, limit=32, batch_size=32,
        untrained=lambda: model, **fields,
    )  # fmt: skip


def recovery(subject: Subject, **params):
    return measured("recovery", subject, components=["block_in"], min_gap=0.0, **params)[0]


def test_noising_is_what_is_lost_and_denoising_what_comes_back() -> None:
    subject = subject_of()
    back, lost = (recovery(subject, direction=way) for way in ("denoising", "noising"))
    for result in (back, lost):
        grid = np.array(result.profile.value, float)
        np.testing.assert_allclose(grid[0, 0], 1, atol=1e-4)
        assert result.scalars["trivial_error"] < 1e-3
    assert back.profile.value != lost.profile.value
    assert back.config["engine"] == "tails"


def test_logits_that_are_not_finite_are_a_reason() -> None:
    subject = subject_of()
    with torch.no_grad():
        subject.model.head.weight.fill_(torch.nan)
    result = recovery(subject)
    assert result.value is None
    assert result.reason.startswith("the logits of 32 pairs are not finite, and no gap")


def test_attribution_says_how_good_it_is() -> None:
    result = recovery(subject_of(), method="attribution")
    assert result.config["engine"] == "gradients"
    assert "correlation with" in result.warnings[0]
    with pytest.raises(UsageError, match="Leave direction and frozen"):
        recovery(subject_of(), method="attribution", direction="noising")


def test_frozen_memory_leaves_less() -> None:
    free, frozen = (recovery(subject_of(), frozen=frozen) for frozen in (False, True))
    assert free.profile.value != frozen.profile.value


def test_every_component_has_a_grid_or_is_not_there(tmp_path) -> None:
    subject = subject_of("transformer[layers=2,width=16]", scratch=tmp_path)
    names = ["write", "state", "cache", "q", "k", "v", "attn_out", "conv_out"]
    found = measured("recovery", subject, components=names, min_gap=0.0)
    results = {result.id: result for result in found}
    assert results.pop("recovery/conv_out").reason == "the model has no such component"
    for result in results.values():
        assert result.scalars["trivial_error"] < 1e-3, result.id
    assert list(tmp_path.iterdir()) == []
