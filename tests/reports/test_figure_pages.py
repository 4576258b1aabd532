"""Pictures of many curves, long names and far intervals: nothing is left out, nothing is torn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.text import Text
from synthetic_reports import exchanged, synthetic

from mecheval.reports import figures
from mecheval.reports.drawing import style, words
from mecheval.reports.drawing.paging import by_variable
from mecheval.reports.drawing.sheets import natural

if TYPE_CHECKING:
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.schema import Report

ERASERS = ("class_mean", "row_space", "direction", "inlp")
USED = [0.0, 0.8, 0.9, 0.95, 1.0]


def drawn(reports: list[Report], figure: str) -> list[Drawing]:
    return [picture.drawing for picture in figures.draw(reports, [figure])]


def texts(drawing: Drawing) -> list[str]:
    found = drawing.figure.findobj(Text)  # type: ignore[attr-defined]
    return [" ".join(text.get_text().split()) for text in found]


def erased(report: Report) -> Report:
    """Return a report whose variables were erased by several erasers each."""
    ours = [each for each in report.metrics if each.name == "bottleneck"]
    more = [
        each.model_copy(update={"id": f"{each.id}/{eraser}"}) for each in ours for eraser in ERASERS
    ]
    return report.model_copy(update={"metrics": [*report.metrics, *more]})


def test_no_curve_is_left_out_where_there_are_more_than_colours() -> None:
    pages = [page for page in drawn([erased(synthetic(task="dyck"))], "layers")
             if "bottleneck" in page.name]  # fmt: skip
    assert [page.name for page in pages] == ["depth-bottleneck", "top-bottleneck"]
    for page, variable in zip(pages, ("depth", "top"), strict=True):
        assert page.title.startswith(f"dyck@1, {variable}: ")
        labels = [text.get_text() for text in page.figure.legends[0].get_texts()]
        assert labels == [variable, *(f"{variable}/{eraser}" for eraser in ERASERS)]
        colours = {line.get_color() for line in page.figure.axes[0].lines}
        assert colours >= set(style.COLOURS[:5])


@pytest.mark.parametrize("n", [1, 7, 8, 15, 31])
def test_pages_hold_all_curves_and_no_more_than_there_are_colours(n: int) -> None:
    ids = [f"m/{variable}/{i}" for variable in ("a", "b") for i in range(n)]
    pages = by_variable(ids, lambda id: id.removeprefix("m/"), 7)
    assert [id for _, some in pages for id in some] == ids
    assert max(len(some) for _, some in pages) <= 7
    assert len({of for of, _ in pages}) == len(pages)


def test_a_model_stands_before_a_longer_name_of_its_kind() -> None:
    names = ["h3", "h10", "mamba[width=64]", "mamba[width=128]", "mamba2[width=64]", "s4"]
    for order in itertools.islice(itertools.permutations(names), 0, 720, 97):
        assert sorted(order, key=natural) == names


@pytest.mark.parametrize("inches", [0.6, 0.9, 1.27, 1.5])
def test_what_stands_for_a_part_that_is_left_out_is_not_torn(inches: float) -> None:
    name = "parity@1[max_length=40,min_length=3,noop_rate=0.25]: some_variable_of_it"
    found = words.wrapped(name, inches, points=7)
    assert "..." in found
    assert len(found.split("\n")) <= 2
    assert all(style.text_inches(line, 7) <= inches for line in found.split("\n"))


def test_the_number_of_a_page_is_not_torn() -> None:
    title = "How late a state becomes readable, and sufficient (1 of 2)"
    for inches in np.linspace(0.8, 5, 40):
        lines = words.filled(title, float(inches), points=7.5).split("\n")
        assert any("(1 of 2)" in line for line in lines)
        assert " ".join(lines) == title


@pytest.mark.parametrize("gate_on", ["token", "last"])
def test_what_is_drawn_of_scores_is_what_the_gate_is_on(gate_on: str) -> None:
    recipe = {"gate": 0.9, "gate_on": gate_on}
    (page,) = drawn([synthetic(model, recipe=recipe) for model in ("gru", "lstm")], "accuracy")
    shown = {on: f"{on} accuracy at 1x" in texts(page) for on in ("token", "last")}
    assert shown == {"token": gate_on == "token", "last": gate_on == "last"}


def test_what_is_learned_and_what_tracks_stand_beside_each_other() -> None:
    reports = [
        exchanged(synthetic("gru", seed=seed), [None, *USED[1:]], USED, longer=longer)
        for seed, longer in enumerate((1.0, 0.5))
    ]
    (page,) = drawn([*reports, synthetic("lstm", learned=False)], "accuracy")
    found = texts(page)
    assert [found.count(each) for each in ("learned", "tracking", "2 of 2", "1 of 2")] == [1] * 4
    assert "of how many it holds at 4x as well (0.9 or more)" in page.caption
    (page,) = drawn([synthetic("gru"), synthetic("lstm")], "accuracy")
    assert "tracking" not in texts(page)


@pytest.mark.parametrize(("low", "cut"), [(-0.3, False), (-3.0, True)])
def test_an_interval_is_whole_or_said_to_go_on(low: float, cut: bool) -> None:
    report = exchanged(synthetic(), [None, *USED[1:]], USED)
    changed = []
    for each in report.metrics:
        if each.name == "bottleneck" and each.profile:
            profile = each.profile.model_copy(update={"low": [low] * 5})
            each = each.model_copy(update={"profile": profile})
        changed.append(each)
    (page,) = drawn([report.model_copy(update={"metrics": changed})], "state")
    bottom, _ = page.figure.axes[0].get_ylim()
    assert (bottom < low) != cut
    assert bottom > -1.0
    assert ("go on behind it" in page.caption) == cut


def test_tasks_and_models_have_a_column_of_the_legend_each() -> None:
    reports = [
        exchanged(
            synthetic(model, task, task_params={"max_length": 40, "min_length": least}),
            [None, *USED[1:]], USED, longer=0.7,
        )
        for model in ("gru", "lstm", "mamba")
        for task, least in (("parity", 3), ("dyck", 3))
    ]  # fmt: skip
    (page,) = drawn(reports, "tracking")
    labels = [text.get_text() for text in page.figure.legends[0].get_texts()]
    assert labels == ["dyck@1", "parity@1", " ", "gru", "lstm", "mamba"]
    assert page.figure.legends[0]._ncols == 2
