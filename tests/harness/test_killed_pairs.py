"""A pair that is killed behind every artefact in turn ends with the numbers of one that was not."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.harness import artefacts, kept_dictionaries
from mecheval.harness.execute_pairs import planned_pairs
from mecheval.harness.pair_cell import run_pair
from mecheval.harness.pair_plan import Asked
from mecheval.harness.request import Request, Settings
from mecheval.reports.canonical import digest_of
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("gru[layers=1,width=8]", "lstm[layers=1,width=8]")
TASK = "parity[max_length=12,min_length=12]"
METRICS = [
    "feature_similarity[n=64,n_train=64,per_sequence=8,n_rows=512,width=2,k=2,depths=1]",
    "representation_similarity[n=24,per_sequence=4,depths=1]",
]
RECIPE = {"steps": 2, "gate": 0.0}


@pytest.fixture
def pair(tmp_path: Path):
    """Return a pair whose cells are measured."""
    settings = Settings(cache=tmp_path / "cache")
    request = Request(
        models=tuple(map(parse_spec, MODELS)), tasks=(parse_spec(TASK),), recipe=RECIPE, limit=64,
        settings=settings,
    )  # fmt: skip
    reports = mecheval.evaluate(
        list(MODELS), TASK, recipe=RECIPE, limit=64, cache=tmp_path / "cache"
    )
    by_key = {report.key: report for report in reports}
    _, _, (planned,) = planned_pairs([request], Asked([*map(parse_spec, METRICS)]))
    return replace(planned, reports=tuple(by_key[cell.key] for cell in planned.cells))


def at(pair, cache: Path):
    """Return the pair with a cache that has its weights alone."""
    import shutil

    shutil.copytree(pair.settings.cache / "checkpoints", cache / "checkpoints")
    settings = replace(pair.settings, cache=cache)
    a, b = (replace(cell, settings=settings) for cell in pair.cells)
    return replace(pair, a=a, b=b, settings=settings)


def n_files(cache: Path) -> int:
    return sum(path.is_file() and path.suffix != ".lock" for path in cache.rglob("*"))


def test_killed_behind_every_artefact(pair, tmp_path: Path, monkeypatch) -> None:
    whole = run_pair(at(pair, tmp_path / "whole"), lambda _: None)
    assert whole.status == "success", whole.error
    assert whole.artefacts is not None
    write, cut = artefacts.write_cached, at(pair, tmp_path / "cut")

    def killed(path: Path, content: bytes) -> None:
        write(path, content)
        raise KeyboardInterrupt

    handler = signal.default_int_handler  # a shell starts what runs beside it without one
    monkeypatch.setattr(signal, "getsignal", lambda number: handler)
    for room in (artefacts, kept_dictionaries):
        monkeypatch.setattr(room, "write_cached", killed)
    n_kept, resumed = n_files(tmp_path / "cut"), None
    while resumed is None:
        with suppress(KeyboardInterrupt):
            resumed = run_pair(cut, lambda _: None)
        n_before, n_kept = n_kept, n_files(tmp_path / "cut")
        assert resumed is not None or n_kept == n_before + 1, "every artefact is kept at once"
    n_used = len(whole.artefacts.a) + len(whole.artefacts.b)
    assert n_kept == n_files(tmp_path / "whole") > n_used > 8
    contents = [report.model_dump(mode="json", by_alias=True) for report in (whole, resumed)]
    assert digest_of(contents[0]) == digest_of(contents[1])
    assert resumed.artefacts == whole.artefacts
