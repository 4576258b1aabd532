"""Pictures of pairs of networks: how features are matched, depth against depth, along training."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from crossings import mostly_slow
from matplotlib.collections import QuadMesh
from matplotlib.patches import StepPatch
from picture_places import check_places
from synthetic_pairs import synthetic_pair
from synthetic_reports import synthetic

from mecheval.errors import UsageError
from mecheval.reports import figures
from mecheval.reports.collection import load_pairs
from mecheval.reports.files import pair_key
from mecheval.reports.results import Profile

if TYPE_CHECKING:
    from mecheval.reports.pair import PairReport

PUBLISHED = Path(__file__).parents[2] / "leaderboards" / "results" / "pairs" / "text@1"
LONG = ["transformer[width=128]", "x" * 90, "hf:/a/" + "long/" * 20]
MODELS = ("lstm", "mamba")
CELLS = {(model, seed): synthetic(model, seed=seed) for model in MODELS for seed in range(2)}
SPREAD = {"lstm": [0.0, 0.25, 0.75], "mamba": [0.5, 0.5, 0.0], "both": [0.2, 0.3, 0.5]}


def two(a: tuple[str, int], b: tuple[str, int], value: float = 0.5, **update) -> PairReport:
    """Return a pair, with further fields of its result; a loss and what the networks have then."""
    at_loss, losses = update.pop("at_loss", None), update.pop("losses", (None, None))
    made = synthetic_pair(CELLS[a], CELLS[b], value)
    identity = made.identity.model_copy(update={"at_loss": at_loss})
    by_key = dict(zip((CELLS[a].key, CELLS[b].key), losses, strict=True))
    sides = [side.model_copy(update={"validation_loss": by_key[side.key]}) for side in made.sides]
    result = made.metrics[0].model_copy(update=update)
    return made.model_copy(
        update={"identity": identity, "key": pair_key(identity), "metrics": [result],
                "sides": sides}
    )  # fmt: skip


def drawn(reports, name: str):
    return [p.drawing for p in figures.draw([], [name], pair_reports=reports)]


def matches(kind: str) -> Profile:
    others = {"untrained": [1.0, 0.0, 0.0], "same_network": [0.0, 0.0, 1.0]}
    index = {"correlation": ["below 0", "0.00 to 0.50", "0.50 to 1.00"]}
    return Profile(axes=["correlation"], index=index, value=SPREAD[kind], series=others)  # type: ignore[arg-type]


def test_features_matched_beside_their_null_and_their_skyline() -> None:
    reports = [
        two(("lstm", 0), ("mamba", 1), profiles={"matches": matches("both")}),
        two(("lstm", 1), ("mamba", 0), profiles={"matches": matches("mamba")}),
        *(two((m, 0), (m, 1), profiles={"matches": matches(m)}) for m in MODELS),
    ]
    (page,) = drawn(reports, "matches")
    axes = page.figure.axes
    assert [each.get_title("left") for each in axes] == [
        "lstm and mamba", "lstm: seeds of it", "mamba: seeds of it",
    ]  # fmt: skip
    untrained, twins, pair = [line.get_data() for line in axes[0].findobj(StepPatch)]
    assert pair.values == pytest.approx(np.mean([SPREAD["both"], SPREAD["mamba"]], 0))
    assert untrained.values.tolist() == [1, 0, 0]
    assert twins.values.tolist() == [0, 0, 1]
    assert pair.edges == pytest.approx([-0.5, 0, 0.5, 1])
    assert len({each.get_ylim() for each in axes}) == 1


@pytest.mark.parametrize("name", mostly_slow(LONG, always=LONG[-1:]))
def test_nothing_is_written_over_the_edge_or_over_something_else(name: str) -> None:
    """Of the published pairs, with another name for one of their models."""
    reports = load_pairs(PUBLISHED)
    assert len(reports) == 90
    renamed = [
        report.model_copy(
            update={
                "sides": [
                    side.model_copy(update={"title": name}) if "transformer" in side.title else side
                    for side in report.sides
                ]
            }
        )
        for report in reports
    ]
    pictures = figures.draw([], ["matches", "depth", "loss"], pair_reports=renamed)
    assert {picture.figure for picture in pictures} == {"matches", "depth", "loss"}
    for picture in pictures:
        check_places(picture)


def test_rows_are_depths_of_the_model_that_is_named_first() -> None:
    index: dict = {"depth_a": ["0.5", "1"], "depth_b": ["0.5", "1"]}

    def at(value) -> Profile:
        return Profile(axes=["depth_a", "depth_b"], index=index, value=value)

    lstm_first = [[0.1, 0.2], [0.3, 0.4]]
    reports = []
    for pair in ((("lstm", 0), ("mamba", 1)), (("lstm", 1), ("mamba", 0))):
        blank = two(*pair)
        turned = blank.sides[0].title == "mamba"
        value = np.array(lstm_first).T if turned else np.array(lstm_first)
        reports.append(two(*pair, profile=at(value.tolist())))
    reports.append(two(("lstm", 0), ("lstm", 1), profile=at([[0.5, 0.1], [0.3, 0.2]])))
    (page,) = drawn(reports, "depth")
    across, seeds = [np.asarray(m.get_array()).reshape(2, 2) for m in page.figure.findobj(QuadMesh)]
    assert across == pytest.approx(np.array(lstm_first))
    assert seeds == pytest.approx(np.array([[0.5, 0.2], [0.2, 0.2]])), "seeds have no order"


def test_numbers_at_one_loss_after_another() -> None:
    cells = [(m, s) for m in MODELS for s in range(2)]
    reports = [
        two(a, b, value, at_loss=asked, losses=(loss, loss + 0.1),
            references={"null": 0.1 * value})
        for asked, loss, value in ((4.0, 3.9, 0.2), (3.0, 3.1, 0.4), (None, 2.5, 0.8))
        for a, b in combinations(cells, 2)
        if a[1] != b[1]
    ]  # fmt: skip
    (page,) = drawn(reports, "loss")
    (axes,) = page.figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    dotted = lines[-1]
    whole = next(line for line in lines if line.get_linestyle() == "-")
    assert np.asarray(whole.get_xdata()) == pytest.approx([3.95, 3.15, 2.55])
    assert np.asarray(whole.get_ydata()) == pytest.approx([0.2, 0.4, 0.8])
    assert np.asarray(dotted.get_ydata()) == pytest.approx([0.02, 0.04, 0.08])
    assert axes.xaxis_inverted()
    assert {line.get_linestyle() for line in lines} >= {"-", "--", ":"}


@pytest.mark.parametrize("name", ["matches", "depth", "loss"])
def test_without_such_results_there_is_nothing_to_draw(name: str) -> None:
    with pytest.raises(UsageError, match="None of these figures"):
        drawn([two(("lstm", 0), ("mamba", 1))], name)
