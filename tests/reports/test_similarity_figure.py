"""The picture of pairs of models: the numbers, the null and the seeds of one model beside them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.text import Text
from synthetic_pairs import CAPTION, synthetic_pair
from synthetic_reports import synthetic

from mecheval.errors import UsageError
from mecheval.reports import figures
from mecheval.reports.pair_matrix import matrices_of

MODELS = ("gru", "lstm", "mamba")
ALIKE = {("gru", "lstm"): 0.4, ("gru", "mamba"): -0.3}


def pairs(null: float | None = None):
    cells = {(m, s): synthetic(m, seed=s) for m in MODELS for s in range(2)}
    found = [synthetic_pair(cells[m, 0], cells[m, 1], 0.9) for m in MODELS[:2]]
    found += [synthetic_pair(cells[a, 0], cells[b, 1], v) for (a, b), v in ALIKE.items()]
    if null is None:
        return found
    references = {"references": {"null": null}}
    return [
        pair.model_copy(update={"metrics": [pair.metrics[0].model_copy(update=references)]})
        for pair in found
    ]


def drawn(reports):
    matrix = matrices_of(reports, by_name=True)[0]
    (picture,) = figures.draw([], ["similarity"], pairs=[matrix])
    return picture


def colours(picture) -> list[np.ndarray]:
    return [
        np.ma.filled(np.asarray(mesh.get_array(), float), np.nan)
        if not np.ma.isMaskedArray(mesh.get_array()) else mesh.get_array().filled(np.nan)
        for mesh in picture.drawing.figure.findobj(QuadMesh)
    ]  # fmt: skip


def words(picture) -> str:
    found = [" ".join(t.get_text().split()) for t in picture.drawing.figure.findobj(Text)]
    return " | ".join(filter(None, found))


def test_a_square_with_the_null_and_the_seeds_beside_it() -> None:
    picture = drawn(pairs(null=0.15))
    square, null, seeds = colours(picture)
    n = np.nan
    assert square == pytest.approx(
        np.array([[0.9, 0.4, -0.3], [0.4, 0.9, n], [-0.3, n, n]]), nan_ok=True
    )
    assert null.ravel() == pytest.approx(np.full(3, 0.15))
    assert seeds.ravel() == pytest.approx(np.array([0.9, 0.9, n]), nan_ok=True)
    said = words(picture)
    assert "parity: how alike" in said
    for number in ("0.90", "0.40", "-0.30", "0.15"):
        assert number in said
    assert "null | seeds of one model" in said
    assert CAPTION[1:].rstrip(".") in said
    assert "1. gru" in said
    assert picture.task == "parity"


def test_without_a_null_the_picture_says_so() -> None:
    picture = drawn(pairs())
    assert len(colours(picture)) == 2
    assert "the metric has no null for this number" in words(picture)
    assert " null |" not in words(picture)


def test_numbers_that_have_no_end_are_coloured_up_to_the_greatest() -> None:
    apart = matrices_of(pairs(), by_name=True)[1]
    (picture,) = figures.draw([], pairs=[apart])
    (mesh, *_) = picture.drawing.figure.findobj(QuadMesh)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-1, 1)
    assert picture.drawing.name == "positions-apart"


def test_many_models_fit_without_numbers() -> None:
    names = [f"model{i}" for i in range(40)]
    cells = {m: synthetic(m) for m in names}
    picture = drawn([synthetic_pair(cells[a], cells[b], 0.5) for a, b in combinations(names, 2)])
    width, height = picture.drawing.figure.get_size_inches()
    assert (width, height < 8) == (7, True)
    assert "0.50" not in words(picture)
    assert "40. model9" in words(picture)


def test_what_has_no_number_is_not_drawn() -> None:
    lost = synthetic_pair(synthetic("gru", learned=False), synthetic("lstm"))
    with pytest.raises(UsageError, match="None of these figures can be drawn"):
        figures.draw([], ["similarity"], pairs=matrices_of([lost]))


def test_it_is_the_same_file_every_time() -> None:
    first, second = (drawn(pairs(null=0.1)).drawing.encoded("png") for _ in range(2))
    assert first == second
