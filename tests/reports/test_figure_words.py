"""What stands in pictures can be understood from them: no look means two things, words are said."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from headline_reports import result
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from synthetic_reports import N_LAYERS, retrieval, snapshots, synthetic

from mecheval.metrics.exchange.tracking import NOT_PREDICTED, PREDICTED
from mecheval.metrics.horizon.horizon import KEPT, LOST
from mecheval.metrics.intervention import binding_rule, mechanism_rule
from mecheval.metrics.intervention.roles import ROLES
from mecheval.metrics.state_algorithm import algorithm_rule
from mecheval.reports import figures
from mecheval.reports.drawing import sheets, words
from mecheval.reports.drawing.style import COLOURS
from mecheval.reports.schema import ModelCardPart, Report

if TYPE_CHECKING:
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.schema import MetricResult

HULL = "the hull of the reports' own 95 % intervals, which are over examples"


def drawn(reports: list[Report], figure: str, name: str = "") -> Drawing:
    pictures = [picture.drawing for picture in figures.draw(reports, [figure])]
    (found,) = [drawing for drawing in pictures if not name or drawing.name == name]
    return found


def scored(model: str, *values: float) -> list[Report]:
    """Return a report per value of the accuracy, with its own interval."""
    return [
        synthetic(
            model, seed=seed,
            metrics=[result("token_accuracy/1x", value, bounds=(0.0, 1.0), width=0.01)],
        )
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_intervals_over_examples_are_called_that_where_they_are_drawn() -> None:
    decomposition, equal = scored("lstm", 0.8, 0.9, 0.7), scored("gru", 0.75, 0.75, 0.75)
    caption = drawn([*decomposition, *equal], "accuracy").caption
    assert "Means over 3 seeds; lines: 95 % t interval over seeds." in caption
    assert f"Lines, where only one seed has a value or all have the same: {HULL} (gru)." in caption
    caption = drawn([*decomposition, *scored("gru", 0.75, 0.8, 0.7)], "accuracy").caption
    assert "lines: 95 % t interval over seeds." in caption
    assert HULL not in caption
    caption = drawn([*scored("lstm", 0.5, 0.5), *scored("gru", 0.75, 0.75)], "accuracy").caption
    assert "t interval" not in caption
    assert f"{HULL} (gru and lstm)." in caption
    caption = drawn([*scored("lstm", 0.5), *scored("gru", 0.75)], "accuracy").caption
    assert "One seed; lines: the 95 % interval of the report." in caption
    assert HULL not in caption


def test_a_band_of_the_only_seed_that_has_one_is_called_that() -> None:
    some = [synthetic(seed=0), synthetic(seed=1, learned=False), synthetic(seed=2, learned=False)]
    others = [synthetic("lstm", seed=seed) for seed in range(3)]
    caption = drawn([*some, *others], "layers", "readability").caption
    assert "bands and bars: 95 % t interval over seeds." in caption
    assert f"{HULL} (gru)." in caption
    assert HULL not in drawn(others, "layers", "readability").caption
    without = [synthetic(metrics=[bare(metric) for metric in synthetic().metrics])]
    assert drawn(without, "layers", "readability").caption.endswith("One seed.")


def bare(metric: MetricResult) -> MetricResult:
    profile = metric.profile and metric.profile.model_copy(update={"low": None, "high": None})
    return metric.model_copy(update={"profile": profile})


def test_no_two_verdicts_of_a_page_look_alike() -> None:
    kinds = {
        "a": ["one", "two", "three"],
        "b": ["one", "four", "five"],
        "c": [f"further {i}" for i in range(9)],
    }
    reports = [deciding(seed, kinds) for seed in range(9)]
    (sheet,) = sheets.sheets(reports)
    known = [(id, word) for id, words in sheet.verdicts.items() for word in words]
    assert len(known) == 15
    looks = [sheet.look(*each) for each in known]
    assert len(set(looks)) == len(known)
    assert {look.filled for look in looks[: len(COLOURS)]} == {"full"}, "colours come first"
    figure = drawn(reports, "mechanism").figure
    (axes,) = figure.axes
    squares = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_zorder() == 3]
    halves = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_zorder() == 4]
    assert len(squares) == 27
    by_place = {half.get_xy(): half for half in halves}
    assert len(by_place) == sum(look.filled != "full" for look in looks)
    shown = {to_hex(p.get_facecolor()) for p in [*squares, *halves]}
    dots = {to_hex(line.get_color()) for line in axes.lines if line.get_marker() == "o"}
    assert dots
    assert not dots & shown
    caption = drawn(reports, "mechanism").caption
    assert "half-filled squares are verdicts of their own" in caption
    assert "half-filled" not in drawn([retrieval()], "mechanism").caption


def deciding(seed: int, kinds: dict[str, list[str]]) -> Report:
    decided = [
        result(id, 0.9, verdict=verdicts[seed % len(verdicts)]) for id, verdicts in kinds.items()
    ]
    right = result("token_accuracy/1x", 0.9, bounds=(0.0, 1.0))
    return synthetic(seed=seed, metrics=[right, *decided])


def test_more_verdicts_than_there_are_looks_are_grey() -> None:
    reports = [deciding(seed, {"a": [f"verdict {i}" for i in range(40)]}) for seed in range(40)]
    (sheet,) = sheets.sheets(reports)
    looks = [sheet.look("a", word) for word in sheet.verdicts["a"]]
    assert len(set(looks)) == 36
    assert looks[-1].colour not in COLOURS
    assert drawn(reports, "mechanism").caption


def test_verdicts_are_whole_however_many_a_model_has() -> None:
    long = ["own convolution behind the value", "own convolution at both", "earlier convolution"]
    kinds = {"a/x": long, "b/y": [f"L0 conv lag {i} -> L{i} state" for i in range(3)], "c/z": long}
    drawing = drawn([deciding(seed, kinds) for seed in range(3)], "mechanism")
    found = [" ".join(text.get_text().split()) for text in drawing.figure.findobj(Text)]  # type: ignore[attr-defined]
    assert ", ".join(f"L0 conv lag {i} -> L{i} state (1)" for i in range(3)) in found
    assert not [text for text in found if "..." in text]


def test_curves_of_a_training_have_colours_that_no_verdict_has() -> None:
    verdicts = [f"verdict {i}" for i in range(6)]
    for n in (2, 6):
        reports = [snapshots(retrieval(seed=s, verdict=v)) for s, v in enumerate(verdicts[:n])]
        (axes,) = drawn(reports, "training").figure.axes
        squares = {to_hex(line.get_color()) for line in axes.lines if line.get_marker() == "s"}
        curves = [line for line in axes.lines if line.get_marker() == "o"]
        assert len(squares) == n
        assert not squares & {to_hex(line.get_color()) for line in curves}
        assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in curves}) == 4


def test_roles_and_verdicts_of_the_metrics_have_words() -> None:
    assert set(words.ROLES) == set(ROLES)
    named = {*words.VERDICTS, "undefined"}
    assert set(mechanism_rule.VERDICTS) <= named
    begun = [word for word in binding_rule.VERDICTS if word not in named]
    assert all(word.partition(" ")[0] in words.BINDING for word in begun)
    assert "own mixer" in words.BINDING
    predicted = {PREDICTED, NOT_PREDICTED, KEPT, LOST, *algorithm_rule.VERDICTS}
    assert predicted <= named
    assert not named - {*mechanism_rule.VERDICTS, *binding_rule.VERDICTS} - predicted


@pytest.mark.parametrize(
    ("said", "told", "untold"),
    [
        ({"induction", "undefined"}, "induction: a layer reads", "direct"),
        ({"own convolution at both"}, "own: the layer that retrieves", "own mixer"),
        ({"own mixer"}, "own mixer: its memory", "earlier"),
        ({"L0H1 -> L1H0"}, "L0 is layer 0, H1 its head 1", "induction"),
        ({"L0 state"}, "state its memory", "own"),
        ({"L-shaped", "Lagging"}, "", "layer"),
    ],
)
def test_verdicts_that_occur_are_explained(said: set[str], told: str, untold: str) -> None:
    assert told in words.verdicts(said)
    assert untold not in words.verdicts(said)


def test_roles_that_occur_are_explained() -> None:
    caption = drawn([retrieval()], "interchange").caption
    assert "divider: what stands between the text and the queries; query: where" in caption
    assert "next_key: the next key in the text; value+1: the position behind the value" in caption
    assert "counted from 0" in caption


def card(n_layers: int) -> ModelCardPart:
    return ModelCardPart(
        summary="a model", architecture="gru", reference="none", license=None, n_params=1,
        n_layers=n_layers, d_model=8, context_limit=None, kernels=[],
    )  # fmt: skip


def test_the_last_layer_is_called_what_it_is() -> None:
    behind = "the last layer that behind the last block"
    for name in ("readability", "bottleneck"):
        caption = drawn([synthetic(model_card=card(N_LAYERS))], "layers", name).caption
        assert f"Layer 0 is the stream before the first block, {behind}." in caption
        for other in (card(N_LAYERS + 1), None):
            caption = drawn([synthetic(model_card=other)], "layers", name).caption
            assert behind not in caption


@pytest.mark.parametrize(
    ("marks", "why"),
    [
        ({"trivial": [True, False, False, False, True]}, "as only the final norm and the head"),
        ({"readable": [False, True, True, True, False]}, "as the variable cannot be read."),
        (
            {"readable": [False] * 5, "beyond_null": [True] * 4 + [False]},
            "as the variable cannot be read, or as erasing by the labels of other sequences may",
        ),
        ({"readable": [True, False, True, True, True]}, "for a reason that the report has"),
        (
            {"readable": [False, *[True] * 4], "token": [True, *[False] * 4]},
            "for a reason that the report has",
        ),
        ({}, "for a reason that the report has"),
    ],
)
def test_why_a_layer_does_not_count_is_said(marks: dict[str, Any], why: str) -> None:
    report = synthetic()
    changed = []
    for metric in report.metrics:
        if metric.name == "bottleneck" and metric.profile:
            profile = metric.profile.model_copy(update={"marks": {**metric.profile.marks, **marks}})
            metric = metric.model_copy(update={"profile": profile})
        changed.append(metric)
    report = report.model_copy(update={"metrics": changed})
    assert f"Hollow: layers that do not, {why}" in drawn([report], "layers", "bottleneck").caption


def test_lengths_and_the_floor_are_said_of_what_they_are() -> None:
    reports = [synthetic(name) for name in ("gru", "lstm")]
    drawing = drawn(reports, "accuracy")
    found = [text.get_text() for text in drawing.figure.findobj(Text)]  # type: ignore[attr-defined]
    assert "floor of token accuracy at 1x, without a model" in found
    assert {"learned", "share of right answers"} <= set(found)
    assert "(1x: at the length of training, 2x: at twice that, and so on)" in drawing.caption
    assert "Small dots" not in drawing.caption
    assert "1x:" not in drawn([*scored("gru", 0.5), *scored("lstm", 0.6)], "accuracy").caption


def test_columns_share_the_width_by_what_they_need() -> None:
    from mecheval.reports.figures.mechanism import _shared_out

    for needed in itertools.permutations([1.0, 2.0, 4.0]):
        shares = _shared_out(needed, 5.0)
        assert shares == [min(each, 2.0) for each in needed]
        assert np.isclose(sum(_shared_out(needed, 9.0)), 7.0)
