"""Pictures: what is in the reports and nothing else, legible at the size of a paper."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest
from crossings import mostly_slow
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from picture_places import check_places
from synthetic_reports import (
    CHANGED,
    N_LAYERS,
    called,
    exchanged,
    retrieval,
    snapshots,
    synthetic,
)

from mecheval.errors import UsageError
from mecheval.models.sites import COMPONENTS
from mecheval.reports import figures
from mecheval.reports.collection import collect
from mecheval.reports.drawing import style, words
from mecheval.reports.drawing.sheets import sheets
from mecheval.reports.figures import lateness
from mecheval.reports.schema import Failure, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mecheval.reports.figures import Picture
    from mecheval.reports.schema import MetricResult

FAILURE = Failure(type="ValueError", message="it went wrong", stage="train", traceback="")
ALL = (
    "accuracy", "depth", "interchange", "lateness", "layers", "loss", "matches", "mechanism",
    "recovery", "similarity", "state", "tracking", "training",
)  # fmt: skip
OF_PAIRS = {"depth", "loss", "matches", "similarity"}
LATE, EARLY = [None, 0.0, 0.1, 0.3, 1.0], [None, 0.9, 1.0, 1.0, 1.0]
USED = [0.0, 0.8, 0.9, 0.95, 1.0]
HOSTILE = (r"$\frac{$", "\x1b[31m\u202ered", "a" * 300, "hf:/path/to/" + "checkpoint/" * 9, "x\ny")


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]
    return [" ".join(text.split()) for text in found if text]


def written(picture: Picture) -> str:
    return " | ".join(texts(picture.drawing.figure))


def one(reports: list[Report], figure: str, name: str = "") -> Picture:
    """Draw the only picture of a kind, or the one of that name."""
    found = figures.draw(reports, [figure])
    named = [picture for picture in found if not name or picture.drawing.name == name]
    assert len(named) == 1
    return named[0]


def several() -> list[Report]:
    """Return reports of all kinds: two tasks, several models and seeds, every gap there is."""
    return [
        *(retrieval("gru", seed, verdict=v) for seed, v in enumerate(["induction", "mixed", None])),
        *(retrieval("lstm", seed, verdict="direct early") for seed in range(2)),
        snapshots(retrieval("mamba", verdict="induction")),
        exchanged(synthetic("attention", "dyck"), EARLY, USED),
        synthetic("h3", "dyck", learned=False),
        *(exchanged(synthetic("s4", "dyck", seed), LATE, USED, longer=0.5) for seed in range(2)),
        synthetic("h3", learned=False), synthetic("few", metrics=synthetic().metrics[:3]),
        synthetic("gone", status="error", learned=None, metrics=[], error=FAILURE),
        synthetic("cut", limit=4), synthetic("drawn", source="random"),
    ]  # fmt: skip


def many(n: int) -> list[Report]:
    verdicts = ["induction", "direct early", "a verdict of a good many words", None]
    return [
        exchanged(retrieval(f"model{i}", seed, verdict=verdict), EARLY, USED)
        for i in range(n)
        for seed, verdict in enumerate(verdicts)
    ]


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def test_a_figure_is_a_file_that_nothing_else_names() -> None:
    assert tuple(figures.figures()) == ALL
    assert all(figures.figures().values()), "the first line says what it shows"
    drawn = {picture.figure for picture in figures.draw(several())}
    assert drawn == set(ALL) - OF_PAIRS


@pytest.mark.parametrize("kind", mostly_slow(figures.FORMATS, always=["svg"]))
def test_pictures_are_the_same_bytes_twice(kind: str) -> None:
    reports = [exchanged(snapshots(retrieval()), EARLY, USED), synthetic("lstm")]
    reports.append(exchanged(synthetic("lstm", seed=1), LATE, USED))
    first, again = (
        [picture.drawing.encoded(kind) for picture in figures.draw(reports)] for _ in range(2)
    )
    assert len(first) == len(set(ALL) - OF_PAIRS) + 1
    assert first == again
    if kind == "svg":
        assert all(ElementTree.fromstring(content).tag.endswith("svg") for content in first)


def test_there_are_pictures_per_task_of_what_is_there_alone() -> None:
    found = figures.draw(several())
    of_dyck = {(p.figure, p.drawing.name) for p in found if p.task == "dyck@1"}
    assert of_dyck == {
        ("accuracy", ""), ("layers", "readability"), ("layers", "bottleneck"),
        ("mechanism", ""), ("recovery", "block_in"), ("state", "depth+top"),
    }  # fmt: skip
    for picture in found:
        for axes in panels(picture.drawing.figure):
            assert axes.has_data() or axes.patches, f"{picture.figure} has an empty panel"


@pytest.mark.parametrize("n", mostly_slow([1, 2, 21], always=[1, 21]))
def test_pictures_fit_a_page_and_their_letters_can_be_read(n: int) -> None:
    for picture in figures.draw(many(n)):
        figure = picture.drawing.figure
        width, height = figure.get_size_inches()
        assert width <= style.WIDTH + 1e-9  # a sum of parts
        assert height <= 9.5
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]  # type: ignore[attr-defined]
        assert min(sizes) >= style.SMALL


@pytest.mark.parametrize("n", mostly_slow([1, 5], always=[5]))
@pytest.mark.filterwarnings("ignore:Glyph")
def test_nothing_is_written_over_the_edge_or_over_something_else(n: int) -> None:
    odd = [called(f"{HOSTILE[i % 5]}{i}", retrieval(seed=0)) for i in range(n)]
    for picture in figures.draw([*odd, *many(n), *map(snapshots, many(n)[: 4 * n : 4])]):
        check_places(picture)


def test_names_are_text_whatever_is_in_them() -> None:
    reports = [called(name, synthetic()) for name in HOSTILE]
    for picture in figures.draw(reports):
        svg = picture.drawing.encoded("svg")
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert r"$\frac{$" in written(picture)
        assert "\x1b" not in written(picture)
        assert r"\x1b[31m\u202ered" in written(picture)


def test_what_is_not_drawn_is_named_with_the_reason() -> None:
    recipe = {"optimizer": "adamw", "gate": 0.9}
    reports = [
        synthetic(recipe=recipe), synthetic("h3", learned=False, recipe=recipe),
        synthetic("few", metrics=synthetic().metrics[:3], recipe=recipe),
        synthetic("gone", status="error", learned=None, metrics=[], error=FAILURE, recipe=recipe),
    ]  # fmt: skip
    caption = one(reports, "recovery").drawing.caption
    assert "Not drawn, not learned (token accuracy below 0.9): h3." in caption
    assert "Not drawn, not measured: few." in caption
    assert "Not drawn, failed in train: gone." in caption
    assert all("0 seeds" not in written(picture) for picture in figures.draw(several()))


def test_what_is_partial_or_random_says_so() -> None:
    for picture in figures.draw([synthetic(limit=4), synthetic("lstm", source="random")]):
        assert "PARTIAL: measured with --limit 4." in picture.drawing.caption
        assert "RANDOM WEIGHTS" in picture.drawing.caption


def test_seeds_that_have_nothing_are_counted() -> None:
    reports = [retrieval(seed=s, verdict=v) for s, v in enumerate(["induction", "mixed", None])]
    assert "gru (2 of 3 seeds)" in written(one(reports, "interchange"))


def test_all_panels_of_a_page_have_the_same_scales() -> None:
    reports = [
        *(synthetic(seed=seed) for seed in range(3)), synthetic("lstm"),
        synthetic("mamba", metrics=[without_last_layer(m) for m in synthetic().metrics]),
    ]  # fmt: skip
    for name in ("readability", "bottleneck"):
        axes = panels(one(reports, "layers", name).drawing.figure)
        assert len(axes) == 3
        assert len({(*each.get_xlim(), *each.get_ylim()) for each in axes}) == 1


def without_last_layer(result: MetricResult) -> MetricResult:
    profile = result.profile
    if profile is None or profile.axes != ["layer"] or profile.low is None or profile.high is None:
        return result
    cut = profile.model_copy(
        update={
            "index": {"layer": profile.index["layer"][:-1]}, "value": profile.value[:-1],
            "low": profile.low[:-1], "high": profile.high[:-1],
            "marks": {name: flags[:-1] for name, flags in profile.marks.items()},
            "series": {name: values[:-1] for name, values in profile.series.items()},
        }
    )  # fmt: skip
    return result.model_copy(update={"profile": cut})


def result_of(report: Report, id: str) -> MetricResult:
    return next(metric for metric in report.metrics if metric.id == id)


def test_curves_are_means_over_seeds_with_their_interval() -> None:
    reports = [synthetic(seed=seed) for seed in range(4)]
    picture = one(reports, "layers", "readability")
    (axes,) = panels(picture.drawing.figure)
    (group,) = collect(reports)
    profile = group.profile("readability/parity")
    assert profile is not None
    curves = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    assert any(np.allclose(curve, profile.mean_X) for curve in curves if len(curve) == N_LAYERS + 1)
    mlp = group.profile("readability/parity", series="mlp")
    assert mlp is not None
    dashed = [np.asarray(line.get_ydata(), float) for line in axes.lines if line.is_dashed()]
    assert [np.allclose(curve, mlp.mean_X) for curve in dashed] == [True]
    assert "Dashed: read by a probe with a hidden layer." in picture.drawing.caption
    band = axes.collections[0].get_paths()[0].vertices
    assert np.min(band[:, 1]) == pytest.approx(profile.low_X.min())
    assert np.max(band[:, 1]) == pytest.approx(profile.high_X.max())
    assert "Means over 4 seeds; bands and bars: 95 % t interval" in picture.drawing.caption


def test_what_has_a_figure_of_its_own_is_not_drawn_among_other_curves() -> None:
    update = {"verdict": None}
    report = exchanged(synthetic(), EARLY, USED)
    without = [result.model_copy(update=update) for result in report.metrics]
    found = figures.draw([report.model_copy(update={"metrics": without})], ["layers", "state"])
    names = {(picture.figure, picture.drawing.name) for picture in found}
    assert names == {("layers", "readability"), ("layers", "bottleneck"), ("state", "parity")}


def test_a_single_seed_has_the_interval_of_its_report() -> None:
    picture = one([synthetic()], "layers", "readability")
    (axes,) = panels(picture.drawing.figure)
    profile = result_of(synthetic(), "readability/parity").profile
    assert profile is not None
    band = axes.collections[0].get_paths()[0].vertices
    assert np.max(band[:, 1]) == pytest.approx(max(profile.high or []))
    assert "One seed; bands and bars: the 95 % interval of the report." in picture.drawing.caption


def test_the_bottleneck_stands_on_the_axis_and_what_does_not_count_is_hollow() -> None:
    reports = [synthetic(seed=seed) for seed in range(2)]
    moved = result_of(reports[1], "bottleneck/parity")
    moved = moved.model_copy(update={"scalars": {**moved.scalars, "layer": 3.0}})
    reports[1] = reports[1].model_copy(
        update={"metrics": [moved if m.id == moved.id else m for m in reports[1].metrics]}
    )
    picture = one(reports, "layers", "bottleneck")
    (axes,) = panels(picture.drawing.figure)
    triangles = [line for line in axes.lines if line.get_marker() == "^"]
    assert sorted(line.get_xdata()[0] for line in triangles) == [2, 3]  # type: ignore[index]
    assert {line.get_ydata()[0] for line in triangles} == {axes.get_ylim()[0]}  # type: ignore[index]
    assert written(picture).count("1 of 2") == 2
    filled = [line for line in axes.lines if line.get_marker() == "o"][-1]
    counts = [True, *result_of(reports[0], "bottleneck/parity").profile.marks["valid"][1:]]  # type: ignore[union-attr]
    counts[0] = False
    assert np.isfinite(np.asarray(filled.get_ydata(), float)).tolist() == counts


def test_a_metric_that_stands_there_twice_is_told_apart_by_its_parameters() -> None:
    drawn = figures.draw([_with_bottlenecks("eraser=class_mean", "eraser=inlp")], ["layers"])
    names = [picture.drawing.name for picture in drawn]
    assert names == ["readability", "bottleneck[eraser=class_mean]", "bottleneck[eraser=inlp]"]
    assert "(bottleneck[eraser=class_mean])" in drawn[1].drawing.title
    assert "[" not in drawn[0].drawing.title


def test_of_a_metric_that_stands_there_twice_the_one_with_the_fewest_parameters_counts() -> None:
    report = _with_bottlenecks("eraser=direction,length=2", "erasers=[inlp]")
    (sheet,) = sheets([report])
    assert sheet.of("bottleneck") == {"parity": "bottleneck[erasers=[inlp]]/parity"}


def test_a_metric_that_stands_alone_is_told_by_its_parameters_as_well() -> None:
    (drawn,) = figures.draw([_with_bottlenecks("length=4")], ["layers"])[1:]
    assert "(bottleneck[length=4])" in drawn.drawing.title


def test_what_is_of_longer_words_is_not_drawn_as_if_it_were_of_the_training_length() -> None:
    usual = [exchanged(synthetic(seed=s), EARLY, USED) for s in range(2)]
    longer = [_at_length(report, 4) for report in usual]
    (picture,) = figures.draw(longer, ["state"])
    assert "Measured by exchange[length=4]." in picture.drawing.caption
    assert "Measured by" not in figures.draw(usual, ["state"])[0].drawing.caption
    assert figures.draw(usual, ["tracking"])
    with pytest.raises(UsageError, match="None of these figures"):
        figures.draw(longer, ["tracking"])


def _at_length(report: Report, length: int) -> Report:
    """Return a report whose exchange is of words so many times as long."""
    metric = f"exchange[length={length}]"
    changed = [
        result.model_copy(
            update={
                "id": result.id.replace("exchange", metric), "metric": metric,
                "config": {"length": length},
            }
        )
        if result.name == "exchange"
        else result
        for result in report.metrics
    ]  # fmt: skip
    return report.model_copy(update={"metrics": changed})


def _with_bottlenecks(*arguments: str) -> Report:
    report = synthetic()
    found = [
        metric.model_copy(
            update={
                "id": metric.id.replace("bottleneck", f"bottleneck[{each}]"),
                "metric": f"bottleneck[{each}]",
            }
        )
        for each in arguments
        for metric in report.metrics
        if metric.name == "bottleneck"
    ]
    others = [metric for metric in report.metrics if metric.name != "bottleneck"]
    return report.model_copy(update={"metrics": [*others, *found]})


def test_a_curve_says_what_its_metric_says_of_it() -> None:
    report = synthetic(captions={"bottleneck": "what is lost: 1 is all."})
    pictures = [p.drawing for p in figures.draw([report]) if p.figure == "layers"]
    drawn = {drawing.name: drawing for drawing in pictures}
    assert drawn["bottleneck"].caption.startswith("What is lost: 1 is all. Filled: layers")
    assert not drawn["readability"].caption.startswith("What is lost")


def test_trivial_cells_are_hatched_and_never_coloured() -> None:
    picture = one([synthetic()], "recovery")
    (axes,) = panels(picture.drawing.figure)
    grid, roles = (np.ma.getmaskarray(mesh.get_array()) for mesh in meshes(axes))
    profile = result_of(synthetic(), "recovery/block_in")
    assert profile.profile
    assert grid.tolist() == profile.profiles["grid"].marks["trivial"]
    assert roles.tolist() == profile.profile.marks["trivial"]
    hatched = {
        (patch.get_y(), patch.get_x(), patch.get_width())
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_hatch() and patch.get_x() < grid.shape[1]
    }
    before_the_change = {(layer, 0, CHANGED) for layer in range(1, N_LAYERS)}
    assert hatched == {(0, 0, grid.shape[1])} | before_the_change


def test_what_is_exchanged_at_the_roles_alone_has_a_page_too() -> None:
    report = synthetic()
    whole = result_of(report, "recovery/block_in")
    roles = whole.model_copy(update={"id": "recovery/state", "profiles": {}})
    both = report.model_copy(update={"metrics": [*report.metrics, roles]})
    (page,) = (p.drawing for p in figures.draw([both]) if p.drawing.name == "state")
    (axes,) = panels(page.figure)
    (mesh,) = meshes(axes)
    assert whole.profile
    assert np.ma.getmaskarray(mesh.get_array()).tolist() == whole.profile.marks["trivial"]
    assert [text.get_text() for text in axes.get_xticklabels()] == whole.profile.index["role"]
    assert "by position" not in page.caption


def meshes(axes: Axes) -> list[QuadMesh]:
    return [mesh for mesh in axes.collections if isinstance(mesh, QuadMesh)]


def test_interchange_shows_the_mean_at_sites_that_are_named_as_in_the_text() -> None:
    reports = [retrieval(seed=seed) for seed in range(3)]
    picture = one(reports, "interchange")
    (axes,) = panels(picture.drawing.figure)
    (group,) = collect(reports)
    profile = group.profile("interchange/key")
    assert profile is not None
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["block_in 0", "conv_out 0", "block_in 1", "conv_out 1", "block_out 1"]
    (mesh,) = meshes(axes)
    shown = np.ma.filled(mesh.get_array(), np.nan)
    at = {name: i for i, name in enumerate(profile.index["component"])}
    for row, label in enumerate(labels):
        name, layer = label.split()
        mean = profile.mean_X[at[name], int(layer)]
        trivial = profile.marks["trivial"][at[name], int(layer)]
        assert shown[row] == pytest.approx(np.where(trivial, np.nan, mean), nan_ok=True)
    assert "conv_out: the output of a mixer's short convolution" in picture.drawing.caption


def test_sites_that_are_the_same_in_any_model_are_left_out() -> None:
    report = retrieval()
    changed = []
    for metric in report.metrics:
        profile = metric.profile
        if metric.id == "interchange/key" and profile:
            trivial = np.zeros((3, 2, 7), bool)
            trivial[0, 0] = trivial[2, 1] = True  # block_in 0 and block_out 1
            marks = {"trivial": trivial.tolist()}
            metric = metric.model_copy(
                update={"profile": profile.model_copy(update={"marks": marks})}
            )
        changed.append(metric)
    picture = one([report.model_copy(update={"metrics": changed})], "interchange")
    (axes,) = panels(picture.drawing.figure)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["conv_out 0", "block_in 1", "conv_out 1"]
    caption = picture.drawing.caption
    assert "the same in any model: block_in 0 and block_out of the last layer." in caption


def test_every_component_has_words() -> None:
    assert set(words.COMPONENTS) == set(COMPONENTS)


def test_verdicts_are_a_square_per_seed_and_words() -> None:
    reports = [retrieval(seed=s, verdict=v) for s, v in enumerate(["induction", "mixed", None])]
    reports += [retrieval("lstm", seed, verdict="induction") for seed in range(3)]
    picture = one(reports, "mechanism")
    (axes,) = panels(picture.drawing.figure)
    assert "induction (1), mixed (1), not learned (1)" in written(picture)
    assert "direct" not in written(picture)
    size = min(p.get_width() for p in axes.patches if isinstance(p, Rectangle))
    squares = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_width() == size]
    assert len(squares) == 6
    assert sum(square.get_facecolor() == (1, 1, 1, 1) for square in squares) == 1


def test_verdicts_of_any_name_and_number_have_a_place() -> None:
    reports = [retrieval(f"m{i:02}", verdict=f"verdict {i}") for i in range(12)]
    assert all(f"verdict {i}" in written(one(reports, "mechanism")) for i in range(12))


def test_accuracy_compares_models() -> None:
    reports = [synthetic(name, seed=seed) for name in ("gru", "lstm") for seed in range(3)]
    picture = one(reports, "accuracy")
    (axes,) = panels(picture.drawing.figure)
    means = [group.number("token_accuracy/1x").mean for group in collect(reports)]
    drawn = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]  # type: ignore[index]
    assert sorted(drawn) == pytest.approx(sorted(means))
    assert written(picture).count("3 of 3") == 2
    assert "token accuracy at 2x" in written(picture)
    assert "last" not in written(picture)
    with pytest.raises(UsageError, match="be drawn of the reports: accuracy"):
        figures.draw([synthetic()], ["accuracy"])


def test_training_shows_the_verdicts_that_occur() -> None:
    picture = one([snapshots(retrieval()), synthetic("lstm")], "training")
    assert len(panels(picture.drawing.figure)) == 1
    assert "training steps" in written(picture)
    assert "induction" in written(picture)
    assert "mixed" not in written(picture)


@pytest.mark.parametrize(
    ("reports", "names", "message"),
    [
        ([synthetic()], ["mechanism"], r"be drawn of the reports: mechanism \(Verdicts by model"),
        ([synthetic()], ["training"], "training"),
        ([synthetic()], ["mechansim"], "Did you mean 'mechanism'"),
        (
            [synthetic(status="error", learned=None, metrics=[], error=FAILURE)], [],
            r"failed in train \(ValueError\)",
        ),
        ([synthetic(learned=False)], ["layers"], "No model learned its task"),
    ],
)  # fmt: skip
def test_reports_without_anything_to_draw_are_usage_errors(
    reports: list[Report], names: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        figures.draw(reports, names)


def test_captions_can_be_left_out_of_the_picture() -> None:
    drawing = one([synthetic()], "recovery").drawing
    with_caption, without = (drawing.encoded("png", captioned=c) for c in (True, False))
    heights = [int.from_bytes(png[20:24], "big") for png in (with_caption, without)]
    assert heights[0] - heights[1] == pytest.approx(drawing.caption_inches * style.DPI, abs=2)


@pytest.mark.parametrize(
    ("text", "inches", "shown"),
    [
        ("mamba[layers=2,width=64]", 2.0, "mamba[layers=2,width=64]"),
        ("mamba[layers=2,width=64]", 1.0, "mamba[layers=2,\nwidth=64]"),
        ("W" * 90, 0.5, None),
        ("a,b c" * 60, 0.8, None),
        ("iiii", 0.05, None),
    ],
)
def test_names_are_broken_where_they_have_joints(
    text: str, inches: float, shown: str | None
) -> None:
    found = words.wrapped(text, inches, points=7)
    assert shown is None or found == shown
    assert len(found.split("\n")) <= 2
    assert style.text_inches(found, 7) <= inches


@pytest.mark.parametrize("inches", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("text", ["W" * 40, "a,b c" * 12, "Wi,[m]/  " * 6, "m", ""])
def test_nothing_longer_would_fit(text: str, inches: float) -> None:
    for lines in (1, 3):
        cuts = (words._cut(words.clean(text), n) for n in range(len(text), 0, -1))
        broken = (words._broken(cut, inches, 7) for cut in cuts)
        longest = next((rows for rows in broken if len(rows) <= lines), [])
        assert words.wrapped(text, inches, points=7, lines=lines) == "\n".join(longest)


def test_text_is_as_wide_as_it_is_measured() -> None:
    figure = mpl.figure.Figure(dpi=style.DPI)
    text = figure.text(0, 0, "mamba[layers=2,width=64] on WWiill", fontsize=7, family=style.FAMILY)
    drawn = text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / style.DPI
    assert drawn <= style.text_inches(text.get_text(), 7) <= 1.03 * drawn


def of_state(figure: str) -> Picture:
    """Draw a picture of models of which one is in its state early, and one late."""
    reports = [
        exchanged(synthetic(model, task, seed), curve, USED, longer=longer - 0.01 * seed)
        for model, curve, longer in (("lstm", EARLY, 1.0), ("mamba", LATE, 0.5))
        for task in ("parity", "dyck")
        for seed in range(4)
    ]
    found = [p for p in figures.draw(reports, [figure]) if p.task in ("parity@1", "all tasks")]
    assert len(found) == 1
    return found[0]


def test_the_state_has_its_three_curves_and_what_is_trivial_is_hollow() -> None:
    picture = of_state("state")
    lstm, mamba = panels(picture.drawing.figure)
    assert [axes.get_title(loc="left") for axes in (lstm, mamba)] == ["lstm", "mamba"]
    legend = picture.drawing.figure.legends[0].get_texts()
    assert [text.get_text() for text in legend] == [
        "readable", "used", "sufficient", "linear subspace used"
    ]  # fmt: skip
    for axes, curve in ((lstm, EARLY), (mamba, LATE)):
        drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines]
        lines = [line_L for line_L in drawn if len(line_L) == len(USED)]
        shown = np.array(curve, float)
        assert any(np.allclose(line_L, shown, equal_nan=True) for line_L in lines), "sufficient"
        assert any(np.allclose(line_L, USED) for line_L in lines), "used"
        hollow = [line for line in axes.lines if line.get_marker() == "s"
                  and line.get_markerfacecolor() == "white"]  # fmt: skip
        at = [np.flatnonzero(np.isfinite(np.asarray(line.get_ydata(), float))) for line in hollow]
        assert [each.tolist() for each in at] == [[0, 4]]


def test_a_tuple_has_the_readability_of_what_it_is_made_of() -> None:
    report = exchanged(synthetic(task="dyck"), EARLY, USED)
    alone = exchanged(report, LATE, USED, part="top")
    tuples, one_alone = (p.drawing for p in figures.draw([alone], ["state"]))
    assert (tuples.name, one_alone.name) == ("depth+top", "top")
    assert "where depth and top are readable" in tuples.title
    assert "readable: depth" in texts(tuples.figure)
    assert "readable: depth" not in texts(one_alone.figure)
    assert "bands and bars: the 95 % interval of the report" in tuples.caption


def test_a_metric_with_parameters_is_drawn_where_no_other_is() -> None:
    def named(report: Report, old: str, new: str) -> Report:
        changed = [
            metric.model_copy(update={"id": metric.id.replace(old, new, 1), "metric": new})
            if metric.name == old
            else metric
            for metric in report.metrics
        ]
        return report.model_copy(update={"metrics": changed})

    first, again = (exchanged(synthetic(), curve, USED) for curve in (EARLY, LATE))
    longer = named(again, "exchange", "exchange[length=2]").metrics[-1]
    both = first.model_copy(update={"metrics": [longer, *first.metrics]})
    for report in (both, named(first, "exchange", "exchange[n_pool=9]"),
                   named(first, "bottleneck", "bottleneck[erasers=inlp]")):  # fmt: skip
        (picture,) = figures.draw([report], ["state"])
        (axes,) = panels(picture.drawing.figure)
        drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines]
        early = np.array(EARLY, float)
        assert any(len(y) == 5 and np.allclose(y, early, equal_nan=True) for y in drawn)
        assert "linear subspace used" in texts(picture.drawing.figure)


def test_lateness_has_a_panel_per_task_and_variable_and_dots_for_seeds() -> None:
    picture = of_state("lateness")
    found = panels(picture.drawing.figure)
    tops = {round(axes.get_position().y1, 6) for axes in found[:2]}
    assert len(tops) == 1, "rows stand beside each other"
    named = [axes.get_title(loc="left").strip() for axes in found]
    assert named == ["dyck@1: depth", "dyck@1: top", "dyck@1: depth+top", "parity@1"]
    marks = [[line for line in found[place].lines if line.get_marker() == "D"] for place in (2, 3)]
    late = [1 - np.mean([each for each in curve if each is not None]) for curve in (EARLY, LATE)]
    for lines in marks:
        assert [float(np.asarray(line.get_xdata())[0]) for line in lines] == pytest.approx(late)
    dots = [line for line in found[3].lines if line.get_marker() == "."]
    assert {len(np.asarray(line.get_xdata())) for line in dots} == {4}


def test_lateness_cuts_a_long_name_of_a_task_and_not_the_variable() -> None:
    (sheet,) = sheets([synthetic("gru", "dyck")])
    long = replace(sheet, task="dyck@1[k=3,max_length=8,min_length=8,noop_rate=0.25]")
    lines = lateness._title(lateness.Place(long, "depth+top"), 1.0).splitlines()
    assert len(lines) == 3
    assert "..." in lines[1]
    assert lines[-1] == "depth+top"
    assert lateness._title(lateness.Place(sheet, "top"), 1.0) == "dyck@1: top"


def test_lateness_leaves_out_models_of_other_pages() -> None:
    reports = [synthetic("gru", "dyck"), synthetic("lstm", "dyck"), synthetic("mamba", "parity")]
    (dyck,) = [sheet for sheet in sheets(reports) if sheet.task.startswith("dyck")]
    kept = lateness._measured(collect(reports).groups, [lateness.Place(dyck, "top")])
    assert [group.name.row for group in kept] == ["gru", "lstm"]


def test_a_model_that_has_not_learned_a_task_keeps_its_row() -> None:
    reports = [synthetic("gru"), synthetic("lstm"), synthetic("gru", "dyck"),
               synthetic("lstm", "dyck", learned=False)]  # fmt: skip
    (picture,) = figures.draw(reports, ["lateness"])
    assert texts(picture.drawing.figure).count("not learned") == 2, "in the panels of depth and top"
    assert not any(
        picture.figure == "lateness" for picture in figures.draw([synthetic("gru")], ["layers"])
    )


def test_tracking_has_a_dot_per_network_and_counts_those_that_agree() -> None:
    picture = of_state("tracking")
    (axes,) = panels(picture.drawing.figure)
    dots = [line for line in axes.lines if line.get_marker() in "os" and line.get_zorder() == 3]
    found = {(round(float(np.asarray(line.get_xdata())[0]), 3),
              round(float(np.asarray(line.get_ydata())[0]), 3)) for line in dots}  # fmt: skip
    assert len(dots) == 16
    assert found == {(0.967, 1 - 0.01 * s) for s in range(4)} | {
        (0.133, 0.5 - 0.01 * s) for s in range(4)
    }
    assert "Of 16 networks 8 are right" in picture.drawing.caption
    assert "; 16 lie in the shaded fields" in picture.drawing.caption
    assert [text.get_text() for text in axes.texts] == ["8", "0", "0", "8"]
    odd = [exchanged(synthetic("gru", seed=s), EARLY, USED, longer=0.5) for s in range(2)]
    (picture,) = figures.draw([*odd, synthetic("lstm", learned=False)], ["tracking"])
    assert "Of 2 networks 0 are right" in picture.drawing.caption
    assert "; 0 lie in the shaded fields" in picture.drawing.caption
    assert "Not drawn, not learned or not measured: 1." in picture.drawing.caption
