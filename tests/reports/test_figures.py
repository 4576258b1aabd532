"""Pictures: for every kind of report, the same bytes twice, honest where nothing is to be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from synthetic_reports import CHANGED, N_LAYERS, REASON, retrieval, snapshots, synthetic

from mecheval.errors import UsageError
from mecheval.reports import figures
from mecheval.reports.figures import layers, mechanism, panels, training
from mecheval.reports.figures.mechanism import VERDICT_COLOURS
from mecheval.reports.schema import Failure, ModelCardPart, Report

FAILURE = Failure(type="ValueError", message="it went wrong", stage="train", traceback="")


def texts(figure: Figure) -> str:
    """Return all that is written in a figure, its line breaks undone."""
    found = [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]
    return " | ".join(" ".join(text.split()) for text in found)


def one_axes():
    return Figure().subplots()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_the_same_bytes_twice(kind: str) -> None:
    reports = [synthetic()]
    first = figures.render(reports, kind)
    assert first == figures.render(reports, kind)
    if kind == "png":
        assert first.startswith(b"\x89PNG")
    else:
        assert ElementTree.fromstring(first).tag.endswith("svg")


@pytest.mark.parametrize(
    "report",
    [
        synthetic(),
        synthetic(learned=False),
        synthetic(limit=4),
        synthetic(status="error", learned=None, metrics=[], error=FAILURE),
        synthetic(metrics=synthetic().metrics[:3]),
    ],
)
def test_every_kind_of_report_can_be_drawn(report: Report) -> None:
    assert layers.cell_figure(report).get_axes()
    assert layers.grid_figure([report, synthetic("lstm")]).get_axes()


def test_a_grid_of_all_kinds_can_be_written() -> None:
    failed = synthetic("mamba", status="error", learned=None, metrics=[], error=FAILURE)
    reports = [synthetic(), synthetic("lstm", learned=False), failed, synthetic(seed=1)]
    assert figures.render(reports, "svg").startswith(b"<?xml")


def test_other_kinds_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Cannot draw a '\.gif'"):
        figures.render([synthetic()], "gif")


def test_the_title_says_what_it_is_and_what_it_is_not() -> None:
    assert "gru on parity@1, seed 0" in texts(layers.cell_figure(synthetic()))
    assert "NOT LEARNED" in texts(layers.cell_figure(synthetic(learned=False)))
    assert "PARTIAL" in texts(layers.cell_figure(synthetic(limit=4)))
    assert "RANDOM WEIGHTS" in texts(layers.cell_figure(synthetic(source="random")))
    failed = synthetic(status="error", learned=None, metrics=[], error=FAILURE)
    assert "failed in train: ValueError" in texts(layers.cell_figure(failed))


def test_null_results_are_shown_with_their_reason() -> None:
    assert texts(layers.cell_figure(synthetic(learned=False))).count(f"null: {REASON}") == 4


def test_a_single_null_variable_is_noted_beside_the_others() -> None:
    report = synthetic(task="dyck")
    metrics = [
        metric.model_copy(update={"value": None, "reason": "the refit recovers"})
        if metric.id == "bottleneck/top"
        else metric
        for metric in report.metrics
    ]
    drawn = texts(layers.cell_figure(report.model_copy(update={"metrics": metrics})))
    assert "top: null, the refit recovers" in drawn


def test_readability_shows_the_curve_its_interval_and_the_untrained_network() -> None:
    result = next(metric for metric in synthetic().metrics if metric.family == "probe")
    axes = one_axes()
    panels.draw_readability(axes, {"parity": [result]})
    value, untrained = (np.asarray(line.get_ydata()) for line in axes.lines[:2])
    assert result.profile is not None
    assert value == pytest.approx(np.array(result.profile.value))
    assert untrained == pytest.approx(0.04)  # (0.52 - 0.5) / (1 - 0.5)
    assert len(axes.collections) == 1


def test_several_seeds_are_averaged_and_drawn_thin() -> None:
    results = [
        next(m for m in synthetic(seed=seed).metrics if m.family == "probe") for seed in range(3)
    ]
    axes = one_axes()
    panels.draw_readability(axes, {"parity": results})
    values = np.array([panels.array(r.profile.value) for r in results if r.profile])
    assert np.asarray(axes.lines[0].get_ydata()) == pytest.approx(values.mean(0))
    assert sum(line.get_linewidth() == 0.7 for line in axes.lines) == 3
    assert not axes.collections


def test_cost_marks_the_bottleneck_and_what_does_not_count() -> None:
    result = next(metric for metric in synthetic().metrics if metric.family == "bottleneck")
    assert result.profile is not None
    valid_L = [None, *result.profile.value[1:4], None]
    profile = result.profile.model_copy(
        update={
            "value": valid_L,
            "series": {
                "cost": result.profile.value, "random": [0.9] * 5, "random_low": [0.8] * 5,
                "random_high": [0.95] * 5,
            },
        }
    )  # fmt: skip
    scalars = {**result.scalars, "clean_accuracy": 1.0, "floor": 0.5}
    changed = result.model_copy(update={"profile": profile, "scalars": scalars})
    axes = one_axes()
    panels.draw_cost(axes, {"parity": [changed]})
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars] == [(2, valid_L[2])]  # type: ignore[index]
    filled = axes.lines[2]
    assert np.isnan(np.asarray(filled.get_ydata(), float)).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    random = axes.collections[-1].get_paths()[0].vertices[:, 1]
    assert random.min() == pytest.approx(-0.1)  # (0.9 - 0.95) / (1 - 0.5)
    assert random.max() == pytest.approx(0.2)


def test_the_heat_map_holds_the_grid_and_hatches_what_is_trivial() -> None:
    result = next(metric for metric in synthetic().metrics if metric.family == "intervention")
    axes = one_axes()
    image = panels.draw_heat(axes, [result], roles=False)
    assert image is not None
    assert np.asarray(image.get_array()) == pytest.approx(np.array(result.profiles["grid"].value))
    assert image.origin == "lower"
    hatched = {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5), round(patch.get_width()))
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }
    before_the_change = {(layer, 0, CHANGED) for layer in range(1, N_LAYERS)}
    assert hatched == {(0, 0, 17)} | before_the_change


def test_the_role_map_writes_its_numbers() -> None:
    result = next(metric for metric in synthetic().metrics if metric.family == "intervention")
    axes = one_axes()
    panels.draw_heat(axes, [result], roles=True)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "changed",
        "middle",
        "readout",
    ]
    assert result.profile is not None
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == [f"{value:.2f}" for row in result.profile.value for value in row]


def test_a_grid_names_every_cell_and_every_gap() -> None:
    reports = [
        synthetic(seed=0), synthetic(seed=1, learned=False), synthetic("lstm", "dyck", limit=4)
    ]  # fmt: skip
    drawn = texts(layers.grid_figure(reports))
    assert "gru on parity@1 (2 seeds, 1 learned)" in drawn
    assert "lstm on dyck@1 (1 seed, 1 learned, PARTIAL)" in drawn
    assert drawn.count("no report") == 2
    assert "dyck: depth, parity: parity" in drawn


def test_the_mechanism_of_many_models_is_drawn() -> None:
    reports = [retrieval(seed=seed, verdict=word) for seed, word in enumerate(VERDICT_COLOURS)
               if word != "not learned"]  # fmt: skip
    reports += [retrieval("lstm", verdict=None), synthetic("mamba")]
    drawn = mechanism.figure(reports)
    written = texts(drawn)
    for word in ("gru", "lstm", "key", "value+2", "in 0", "conv 1", "out 1", "not learned"):
        assert word in written, word
    assert "mamba" not in written  # it has no verdict
    assert figures.render(reports, "svg", figure="mechanism").startswith(b"<?xml")


def test_widths_are_an_axis() -> None:
    cards = [
        retrieval("gru", model_args={"layers": 4, "width": width}).model_copy(
            update={"model_card": card_of(width)}
        )
        for width in (16, 64)
    ]
    axes = mechanism.figure(cards).get_axes()[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16", "64"]


def card_of(width: int) -> ModelCardPart:
    return ModelCardPart(
        summary="", architecture="", reference="", license=None, n_params=1, n_layers=2,
        d_model=width, context_limit=None, kernels=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    "report", [retrieval(), synthetic(), retrieval(verdict=None), synthetic(task="dyck")]
)
def test_training_is_drawn_from_snapshots(report: Report) -> None:
    drawn = training.figure([snapshots(report), synthetic()])
    assert len(drawn.get_axes()) == 1
    assert "training steps" in texts(drawn)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mechanism", "No report has a verdict"),
        ("training", "No report has snapshots"),
        ("mechansim", "Did you mean 'mechanism'"),
    ],
)
def test_figures_without_anything_to_draw_are_usage_errors(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        figures.render([synthetic()], "png", figure=name)


def test_a_model_that_was_not_measured_on_a_task_leaves_its_place_empty() -> None:
    other = retrieval("lstm", task_params={"max_length": 8})
    drawn = mechanism.figure([retrieval("gru"), other])
    panels_drawn = [axes.axison for axes in drawn.findobj(Axes)]
    assert panels_drawn == [True] * 3 + [False] * 6 + [True] * 3
    assert texts(drawn).count("seeds, by verdict") == 2
