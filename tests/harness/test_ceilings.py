"""Ceilings: estimated once per task and parameters, and absent where they are not exact."""

from __future__ import annotations

import pytest

from mecheval.api import load_task
from mecheval.harness import ceilings


def test_a_ceiling_is_estimated_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ceilings, "N_SEQUENCES", 4)
    task = load_task("atr[max_length=24]")
    found = ceilings.ceiling_of(task, tmp_path)
    assert found is not None
    accuracy, low, high = found
    assert 0.5 < low <= accuracy <= high <= 1.0
    monkeypatch.setattr(ceilings, "_estimated", lambda task: pytest.fail("estimated again"))
    assert ceilings.ceiling_of(task, tmp_path) == found


def test_a_spoilt_entry_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ceilings, "N_SEQUENCES", 4)
    task = load_task("atr[max_length=24]")
    found = ceilings.ceiling_of(task, tmp_path)
    (path,) = tmp_path.glob("ceilings/*.json")
    path.write_text("[0.5")
    assert ceilings.ceiling_of(task, tmp_path) == found


@pytest.mark.parametrize("name", ["parity", "atr[gen]", "atr[relation=sibling]"])
def test_tasks_without_an_exact_ceiling_have_none(name, tmp_path):
    assert ceilings.ceiling_of(load_task(name), tmp_path) is None
    assert not list(tmp_path.iterdir())
