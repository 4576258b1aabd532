"""Features matched, of pairs: how correlations with best partners are spread, beside their null.

A panel per two models, and per model and its seeds: which share of all features, of dictionaries of
both, has a best partner of so large a correlation, held out. Beside it the same where one of the
two networks is untrained, and for two dictionaries of one network.
Shape suffix: ``X`` bins of correlations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from mecheval.reports.drawing import canvas
from mecheval.reports.drawing.canvas import Words
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT
from mecheval.reports.drawing.twos import COLUMNS, ROOM, panels, twos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.twos import Two
    from mecheval.reports.pair import PairReport
    from mecheval.reports.results import MetricResult

PROFILE = "matches"
HEIGHT = 1.1
LINES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "untrained": ("one of the two untrained", {"color": GREY, "linestyle": "--"}),
    "same_network": ("two dictionaries of one network", {"color": COLOURS[1]}),
    "": ("the pair", {"color": COLOURS[0]}),
}
"""What is drawn, in order: names of series, and the values themselves."""


def draw_two(reports: Sequence[PairReport]) -> list[Drawing]:
    """Draw how correlations are spread, for every result that says so."""
    at_the_end = [report for report in reports if report.identity.at_loss is None]
    found = twos(at_the_end, lambda result: _is_there(result))
    return [_page(at_the_end[0].task_title, id, models) for id, models in found.items()]


def _is_there(result: MetricResult) -> bool:
    return PROFILE in result.profiles and result.value is not None


def _page(task: str, id: str, models: Sequence[Two]) -> Drawing:
    said = Words(
        id.partition("/")[2],
        f"{task}, {id}: how well single features are matched",
        "Across: correlation of a feature with its best partner in the other dictionary, the "
        "partner chosen on one half of the test sequences and read on the other; leftmost all "
        "below 0. Up: share of the features of both dictionaries, over depths, as a mean over "
        "pairs of networks.",
        [Line2D([], [], **look, label=label) for label, look in LINES.values()],
    )
    drawing, axes = canvas.page(panels(models, HEIGHT), said, ROOM, columns=COLUMNS)
    for panel, two in zip(axes, models, strict=True):
        _draw(panel, two)
    top = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(0, top)
    canvas.outer(axes, "correlation, held out", "share of features")
    return drawing


def _draw(axes: Axes, two: Two) -> None:
    for name, (_, look) in LINES.items():
        share_X = np.mean([_share(seen.result, name) for seen in two.seen], 0)
        edges = np.linspace(-1 / (len(share_X) - 1), 1, len(share_X) + 1)
        axes.stairs(share_X, edges, **look, linewidth=1.0)
    axes.set_xlim(-0.06, 1)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def _share(result: MetricResult, name: str) -> np.ndarray:
    profile = result.profiles[PROFILE]
    return np.array(profile.series[name] if name else profile.value, float)
