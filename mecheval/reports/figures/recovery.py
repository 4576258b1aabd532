"""Recovery by layer and position: where the difference between two inputs is carried.

A page per result with a grid of layers and positions; a panel per model. To its right stand the
positions by their role, where a result has those. Shape suffixes: ``L`` layers, ``T`` positions,
``G`` roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator

from mecheval.reports.drawing import canvas, heat, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.sheets import (
    caption,
    flags,
    not_drawn,
    seeds_sentence,
    titles,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.groups import Group
    from mecheval.reports.drawing.sheets import Sheet

MOST, COLUMNS = 15, 3
GRID = "grid"
_GAP, _ROLE, _ROLES = 0.04, 0.16, 0.5  # shares of the width: between the parts, of a role, of all


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every result that has a grid."""
    ids = sheet.ids(lambda result: GRID in result.profiles)
    return [drawing for id in ids for drawing in _pages(sheet, id)]


def _pages(sheet: Sheet, id: str) -> list[Drawing]:
    groups = [group for group in sheet.groups if group.profile(id, GRID) is not None]
    many, found = canvas.pages(groups, MOST), []
    for number, some in enumerate(many, 1):
        name = id.partition("/")[2] or id
        said = _said(sheet, id, some)._replace(name=name + ("" if len(many) == 1 else f"-{number}"))
        names = titles(some, [id], canvas.plot_inches(canvas.columns_of(len(some), COLUMNS), ROOM))
        panels = [
            Panel(title, _height(group, id)) for group, title in zip(some, names, strict=True)
        ]
        drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS)
        for panel, group in zip(axes, some, strict=True):
            _panel(panel, group, id)
        _label(axes, some)
        found.append(drawing)
    return found


ROOM = Room(inner=0.24, bottom=0.18, foot=0.14)


def _height(group: Group, id: str) -> float:
    profile = group.profile(id, GRID)
    n_layers = 1 if profile is None else len(profile.mean_X)
    return min(2.2, max(0.3, 0.16 * n_layers))


def _said(sheet: Sheet, id: str, groups: Sequence[Group]) -> Words:
    component = words.clean(id.partition("/")[2] or id)
    meaning = words.COMPONENTS.get(component)
    what = f"{component} ({meaning})" if meaning else component
    return Words(
        "",
        f"{sheet.task}: what comes back of the answer when {component} is restored",
        caption(
            f"Two inputs differ in one symbol and in their answer. {what} of the one run is put "
            "into the other, at one layer and position: the share of the difference in logits that "
            "comes back, mean over pairs. Left: by position (0 is the beginning of the sequence). "
            "Right: at the changed symbol, midway to the readout, and at the readout, wherever "
            "these are in a pair.",
            seeds_sentence(groups, what=""), not_drawn(sheet, groups, [id]), flags(groups),
        ),
        heat.handles(missing=False),
    )  # fmt: skip


def _panel(axes: Axes, group: Group, id: str) -> None:
    grid, roles = group.profile(id, GRID), group.profile(id)
    if grid is None:
        return
    has_roles = roles is not None and list(roles.axes) == ["layer", "role"]
    n_roles = roles.mean_X.shape[1] if roles is not None and has_roles else 0
    n_positions, share = grid.mean_X.shape[1], min(_ROLE, _ROLES / max(1, n_roles))
    unit = n_positions / (1 - _GAP - share * n_roles)
    none = np.zeros_like(grid.mean_X, bool)
    heat.draw(axes, grid.mean_X, grid.marks.get("trivial", none))
    step = max(1, round(n_positions / 4 / 4) * 4) if n_positions > 8 else 2
    ticks = [*np.arange(0, n_positions, step)]
    labels = [str(tick) for tick in ticks]
    places = [tick + 0.5 for tick in ticks]
    if roles is not None and n_roles:
        edges = n_positions + _GAP * unit + share * unit * np.arange(n_roles + 1)
        axes.axvspan(n_positions, edges[0], color="white", zorder=3)
        trivial = roles.marks.get("trivial", np.zeros_like(roles.mean_X, bool))
        heat.draw(axes, roles.mean_X, trivial, edges.tolist())
        axes.set_xlim(0, edges[-1])
        heat.write(axes, roles.mean_X, trivial, edges.tolist())
        places += ((edges[1:] + edges[:-1]) / 2).tolist()
        labels += [str(name) for name in roles.index["role"]]
    axes.set_xticks(places, labels)
    for text in axes.get_xticklabels()[len(ticks) :]:
        text.set_fontsize(canvas.SMALL)
    n_layers = grid.mean_X.shape[0]
    every = max(1, round(n_layers / 6))
    layers = np.arange(0, n_layers, every)
    axes.yaxis.set_major_locator(FixedLocator((layers + 0.5).tolist()))
    axes.set_yticklabels([str(grid.index["layer"][layer]) for layer in layers])


def _label(axes: Sequence[Axes], groups: Sequence[Group]) -> None:
    lefts = [round(each.get_position().x0, 6) for each in axes]
    for i, each in enumerate(axes):
        if lefts[i] == min(lefts):
            each.set_ylabel("layer")
        if i + len(set(lefts)) >= len(axes):
            each.set_xlabel("position, and by role")
