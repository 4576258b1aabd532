"""Activations in the cache: recorded once, made again where lost, apart where anything differs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mecheval
from mecheval.errors import StorageError, UsageError
from mecheval.harness import recordings
from mecheval.harness.artefacts import FOLDERS
from mecheval.harness.execute import planned_cells
from mecheval.harness.kept_dictionaries import FOLDER as DICTIONARIES
from mecheval.harness.recordings import Recordings
from mecheval.harness.request import Request, Settings
from mecheval.metrics.pairs.coding import Coding
from mecheval.metrics.pairs.places import draw_places
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

TASK = mecheval.load_task("parity[max_length=12,min_length=12]")


def network(cache: Path, *, model: str = "lstm[layers=2,width=8]", **fields) -> Recordings:
    request = Request(
        models=(parse_spec(model),), tasks=(parse_spec("parity[max_length=12,min_length=12]"),),
        recipe={"steps": 2}, settings=Settings(cache=cache), **fields,
    )  # fmt: skip
    (cell,) = planned_cells([request])
    return Recordings(cell, 2)


def files(cache: Path) -> list[Path]:
    return sorted((cache / FOLDERS["activations"]).rglob("*.npz"))


@pytest.fixture
def places():
    return draw_places(TASK, 8, 3)


def test_a_network_is_run_once(tmp_path, places, monkeypatch) -> None:
    first = network(tmp_path).streams(places, [1, 2])
    assert len(files(tmp_path)) == 2
    assert first[0].shape == (24, 8)
    monkeypatch.setattr(recordings, "record", None)  # is not called any more
    again = network(tmp_path).streams(places, [2, 1])
    np.testing.assert_array_equal(again[::-1], first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
    ],
)
def test_what_is_lost_is_made_again(tmp_path, places, damage) -> None:
    first = network(tmp_path).streams(places, [1, 2])
    before = files(tmp_path)
    damage(before[0])
    np.testing.assert_array_equal(network(tmp_path).streams(places, [1, 2]), first)
    assert files(tmp_path) == before


def test_artefacts_are_noted_with_their_hashes(tmp_path, places) -> None:
    first, again = network(tmp_path), network(tmp_path)
    first.streams(places, [1, 2])
    coded(first, places)
    assert {used.kind for used in first.used.values()} == {"activations", "codes"}
    for key, used in first.used.items():
        path = tmp_path / FOLDERS[used.kind] / key[:2] / f"{key}.npz"
        assert used.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (used.key, used.evaluation_sha256) == (key, places.sha256)
    again.streams(places, [2, 1])
    coded(again, places)
    assert again.used == first.used


def test_what_is_made_again_is_what_it_was_or_refused(tmp_path, places, monkeypatch) -> None:
    first = network(tmp_path)
    stream_ND, *_ = first.streams(places, [1])
    known = {key: used.sha256 for key, used in first.used.items()}
    (path,) = files(tmp_path)
    content = path.read_bytes()
    other = recordings.record

    def otherwise(*given, **settings):
        return [stream_ND + 1e-6 for stream_ND in other(*given, **settings)]

    with np.load(path) as held:  # readable, and not what the reports are of
        parts = dict(held)
    np.savez(path, **{**parts, "stream": stream_ND + 1e-6})
    np.testing.assert_array_equal(replace(first, known=known).streams(places, [1])[0], stream_ND)
    assert path.read_bytes() == content
    path.unlink()
    monkeypatch.setattr(recordings, "record", otherwise)
    with pytest.raises(StorageError, match=r"activations behind block 1, of lstm.* --overwrite"):
        replace(first, known=known).streams(places, [1])
    assert not files(tmp_path)
    replace(first, known={}).streams(places, [1])


def test_artefacts_of_other_tokens_are_refused(tmp_path, places) -> None:
    of, elsewhere = network(tmp_path), draw_places(TASK, 8, 4)
    of.streams(places, [1])
    (path,) = files(tmp_path)
    of.streams(elsewhere, [1])
    (other,) = set(files(tmp_path)) - {path}
    other.replace(path)
    with pytest.raises(UsageError, match="at other tokens than those at which the two"):
        network(tmp_path).streams(places, [1])


def test_whatever_decides_them_is_in_the_key(tmp_path, places) -> None:
    asked = [
        (network(tmp_path), places, 1, True),
        (network(tmp_path), places, 2, True),
        (network(tmp_path), places, 1, False),
        (network(tmp_path), draw_places(TASK, 8, 4), 1, True),
        (network(tmp_path, seeds=(1,)), places, 1, True),
        (network(tmp_path, model="gru[layers=2,width=8]"), places, 1, True),
        (network(tmp_path, dtype="float64"), places, 1, True),
    ]
    for n, (of, where, layer, trained) in enumerate(asked, 1):
        of.streams(where, [layer], trained=trained)
        assert len(files(tmp_path)) == n


def test_metrics_and_limits_have_no_say(tmp_path, places) -> None:
    network(tmp_path).streams(places, [1])
    cell = network(tmp_path, metrics=(parse_spec("recovery"),), limit=16).cell
    Recordings(replace(cell, metrics=(parse_spec("recovery"),)), 2).streams(places, [1])
    assert len(files(tmp_path)) == 1


def coded(
    network_: Recordings, places, *, layer: int = 1, trained: bool = True, seed: int = 0, **fields
):
    given = {"of": "context", "training": draw_places(TASK, 64, 12, "train"), "width": 2, "k": 2,
             "n_rows": 2000}  # fmt: skip
    coding = Coding(**{**given, **fields})
    ((found,),) = network_.coded(coding, places, [layer], trained=trained, seeds=[seed])
    return found


def codes_there(cache: Path) -> list[Path]:
    return sorted((cache / FOLDERS["codes"]).rglob("*.npz"))


def test_a_dictionary_is_trained_once_and_made_again_where_its_codes_are_lost(
    tmp_path, places, monkeypatch
) -> None:
    first = coded(network(tmp_path), places)
    assert first.codes.shape == (24, 16)
    (path,) = codes_there(tmp_path)
    path.write_bytes(b"spoilt")
    again = coded(network(tmp_path), places)
    monkeypatch.setattr(recordings, "encoded", None)  # is not called any more
    kept = coded(network(tmp_path), places)
    for other in (again, kept):
        assert (other.codes.csr != first.codes.csr).nnz == 0
        assert other[1:] == first[1:]


def test_whatever_decides_codes_is_in_their_key(tmp_path, places) -> None:
    of = network(tmp_path)
    asked = [
        {}, {"layer": 2}, {"trained": False}, {"seed": 1}, {"of": "stream"}, {"width": 3}, {"k": 3},
        {"n_rows": 3000}, {"training": draw_places(TASK, 65, 12, "train")},
    ]  # fmt: skip
    for n, fields in enumerate(asked, 1):
        coded(of, places, **fields)
        assert len(codes_there(tmp_path)) == n
    coded(of, draw_places(TASK, 9, 3))
    coded(network(tmp_path, seeds=(1,)), places)
    assert len(codes_there(tmp_path)) == len(asked) + 2


def test_training_places_are_of_other_sequences_than_test_places() -> None:
    train, test = (draw_places(TASK, 64, 12, split) for split in ("train", "test"))
    assert not {*map(bytes, train.symbols_BT)} & {*map(bytes, test.symbols_BT)}


def test_all_dictionaries_of_a_network_share_its_passes(tmp_path, places, monkeypatch) -> None:
    passes = []
    record = Recordings._record

    def counting(self, where, layers, **how):
        passes.append(list(layers))
        return record(self, where, layers, **how)

    monkeypatch.setattr(Recordings, "_record", counting)
    coding = Coding("context", draw_places(TASK, 64, 12, "train"), 2, 2, 2000)
    first = network(tmp_path).coded(coding, places, [1, 2], seeds=[0, 1])
    assert passes == [[1, 2], [1, 2]]  # where they are trained, and what is encoded
    assert len({coded.codes.csr.data.tobytes() for of in first for coded in of}) == 4
    codes_there(tmp_path)[0].unlink()
    again = network(tmp_path).coded(coding, places, [1, 2], seeds=[0, 1])
    assert len(passes) == 3  # the dictionary of the codes that were lost is still there
    assert len(passes[2]) == 1
    for ours, theirs in zip(chain(*first), chain(*again), strict=True):
        assert (ours.codes.csr != theirs.codes.csr).nnz == 0


def test_dictionaries_are_trained_on_the_same_rows_and_are_those_of_the_codes(
    tmp_path, places, monkeypatch
) -> None:
    of, training = network(tmp_path), draw_places(TASK, 64, 12, "train")
    codings = [Coding(kind, training, 2, 2, 2000) for kind in ("stream", "context")]
    (stream,), (context,) = of.dictionaries(codings, [1])
    assert stream.means_GD is None
    assert context.means_GD is not None
    monkeypatch.setattr(recordings, "trained_on", None)  # is not called any more
    (row_ND,) = of.streams(places, [1])
    for made, kind in ((stream, "stream"), (context, "context")):
        known = made.encode(row_ND, places.symbol_N)
        assert (coded(of, places, of=kind).codes.csr != known.csr).nnz == 0
    ((again,),) = of.dictionaries(codings[1:], [1])
    assert again.about == context.about
    assert again.norm_limit == context.norm_limit


def test_memory_is_recorded_apart_from_the_stream(tmp_path, places) -> None:
    of = network(tmp_path)
    widths = [of.row_widths(component, [1]) for component in ("write", "state")]
    assert widths == [[16], [16]]  # gate and what is added; output and cell
    shapes = [coded(of, places, component=c).codes.shape for c in ("block_out", "write", "state")]
    assert shapes == [(24, 16), (24, 32), (24, 32)]
    assert len(codes_there(tmp_path)) == 3


def test_a_cell_goes_on_from_the_dictionaries_that_are_there(tmp_path) -> None:
    def measured():
        (report,) = mecheval.evaluate(
            "lstm[layers=1,width=8]", "parity[max_length=8,min_length=8]", seeds=[0], limit=24,
            recipe={"steps": 0, "gate": 0}, cache=tmp_path / "cache", progress=False,
            metrics=["dictionary[n_rows=200000,width=2,k=2]"],
        )  # fmt: skip
        return [result for result in report.metrics if result.name == "dictionary"]

    first = measured()
    assert all(result.value is not None for result in first)
    kept, lost = sorted((tmp_path / "cache" / DICTIONARIES).rglob("*.npz"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    qualities = [*(tmp_path / "cache" / DICTIONARIES).rglob("*.json")]
    assert len(qualities) == 2
    for path in qualities:
        path.write_bytes(b"spoilt")
    assert measured() == first
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()
