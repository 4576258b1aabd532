"""Recovery by layer and position: where the difference between two inputs is carried.

A page per result with a grid of layers and positions, or of layers and roles; a panel per model.
Where a result has both, the roles stand to the right of the positions. Shape suffixes: ``L``
layers, ``T`` positions, ``G`` roles.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mecheval.reports.drawing import canvas, heat, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.sheets import caption, flags, not_drawn, titles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import MetricResult

MOST, COLUMNS = 15, 3
GRID = "grid"
SHARES = (
    (
        "what comes back of the answer when {} is restored",
        "the share of the difference in logits that comes back",
    ),
    (
        "what goes of the answer when {} is another one",
        "the share of the difference in logits that is lost",
    ),
)
"""Title and sentence, of clean activations in the corrupted run and the other way round."""
BY_ROLE = (
    "At the changed symbol, midway to the readout, and at the readout, wherever a pair has these."
)
BY_BOTH = f"Left: by position (0 is the beginning of the sequence). Right: a{BY_ROLE[1:]}"
_GAP, _ROLE, _ROLES = 0.04, 0.16, 0.5  # shares of the width: between the parts, of a role, of all


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every result that has a grid."""
    ids = sheet.ids(_has_grid)
    return [drawing for id in ids for drawing in _pages(sheet, id)]


def _pages(sheet: Sheet, id: str) -> list[Drawing]:
    groups = [group for group in sheet.groups if _shown(group, id) is not None]
    found = []
    for some, number in Pages(groups, MOST):
        said = _said(sheet, id, groups)
        name, title = numbered(sheet.short_name(id), said.title, number)
        said = said._replace(name=name, title=title)
        names = titles(some, [id], canvas.panel_inches(len(some), COLUMNS, ROOM))
        panels = [Panel(*each) for each in zip(names, _heights(some, id), strict=True)]
        drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS)
        for panel, group in zip(axes, some, strict=True):
            _panel(panel, group, id)
        grids = any(group.profile(id, GRID) for group in some)
        _label(axes, "position, and by role" if grids else "role")
        found.append(drawing)
    return found


ROOM = Room(inner=0.24, bottom=0.18, foot=0.14)


def _heights(groups: Sequence[Group], id: str) -> list[float]:
    """Return the inches of every panel: as much for a layer as its numbers need, if there is."""
    profiles = [_shown(group, id) for group in groups]
    return [min(2.2, max(0.3, 0.16 * len(each.mean_X))) for each in profiles if each]


def _has_grid(result: MetricResult) -> bool:
    by_role = result.profile is not None and result.profile.axes == ["layer", "role"]
    return GRID in result.profiles or by_role


def _shown(group: Group, id: str) -> ProfileOverSeeds | None:
    """Return what a panel shows: by position, or else by role."""
    return group.profile(id, GRID) or _roles(group, id)


def _said(sheet: Sheet, id: str, groups: Sequence[Group]) -> Words:
    component = words.clean(sheet.part(id) or id)
    meaning = words.COMPONENTS.get(component)
    what = f"{component} ({meaning})" if meaning else component
    first = next(result for result in sheet.results() if result.id == id)
    title, share = SHARES[first.config.get("direction") == "noising"]
    roles = any(_roles(group, id) is not None for group in groups)
    grids = any(group.profile(id, GRID) is not None for group in groups)
    where = (BY_BOTH if grids else BY_ROLE) if roles else ""
    return Words(
        "",
        f"{sheet.task}: {title.format(component)}{sheet.parameters(id)}",
        caption(
            f"Two inputs differ in one symbol and in their answer. {what} of the one run is put "
            f"into the other, at one layer and position: {share}, mean over pairs{heat.NOTE}.",
            where, "Layers are counted from 0.", seeds_sentence(groups),
            not_drawn(sheet, groups, [id]), flags(groups),
        ),
        heat.handles(missing=False),
    )  # fmt: skip


def _roles(group: Group, id: str) -> ProfileOverSeeds | None:
    """Return the profile over layers and roles, if the result has one."""
    profile = group.profile(id)
    return profile if profile is not None and list(profile.axes) == ["layer", "role"] else None


def _panel(axes: Axes, group: Group, id: str) -> None:
    grid, roles, shown = group.profile(id, GRID), _roles(group, id), _shown(group, id)
    if shown is None:
        return
    n_layers, n_positions = len(shown.mean_X), 0
    if grid is not None:
        heat.draw(axes, grid.mean_X, heat.trivial(grid))
        n_positions = grid.mean_X.shape[1]
    ticks = np.arange(0, n_positions, _step(n_positions, 4))
    places, labels = [*(ticks + 0.5)], [*map(str, ticks)]
    if roles is not None:
        edges = _edges(n_positions, roles.mean_X.shape[1])
        if grid is not None:
            axes.axvspan(n_positions, edges[0], color="white", zorder=3)
        heat.draw(axes, roles.mean_X, heat.trivial(roles), edges)
        axes.set_xlim(0, edges[-1])
        heat.write(axes, roles.mean_X, heat.trivial(roles), edges)
        places += [(left + right) / 2 for left, right in pairwise(edges)]
        labels += [str(name) for name in roles.index["role"]]
    axes.set_xticks(places, labels)
    for text in axes.get_xticklabels()[len(ticks) :]:
        text.set_fontsize(style.SMALL)
    layers = range(0, n_layers, _step(n_layers, 6))
    names = [str(shown.index["layer"][layer]) for layer in layers]
    axes.set_yticks([layer + 0.5 for layer in layers], names)


def _edges(n_positions: int, n_roles: int) -> list[float]:
    """Return where the columns of the roles begin and end, right of the positions, if any."""
    if not n_positions:
        return [*map(float, range(n_roles + 1))]
    share = min(_ROLE, _ROLES / n_roles)
    unit = n_positions / (1 - _GAP - share * n_roles)
    return [n_positions + _GAP * unit + share * unit * i for i in range(n_roles + 1)]


def _step(n: int, most: int) -> int:
    """Return the distance of labels, of which there are about as many as asked for."""
    step = max(1, round(n / most))
    return step if step < 4 else 4 * round(step / 4)


def _label(axes: Sequence[Axes], x_label: str) -> None:
    lefts = [round(each.get_position().x0, 6) for each in axes]
    for i, each in enumerate(axes):
        if lefts[i] == min(lefts):
            each.set_ylabel("layer")
        if i + len(set(lefts)) >= len(axes):
            each.set_xlabel(x_label)
