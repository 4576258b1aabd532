"""Interchange by site and role: which activation brings the answer back.

A page per role that was exchanged; a panel per model, the sites of the forward pass from its
bottom to its top. Shape suffixes: ``Y`` sites, ``G`` roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.reports.drawing import canvas, heat, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.sheets import caption, flags, not_drawn, titles
from mecheval.reports.drawing.site_map import AXES, Map, map_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import MetricResult

MOST, COLUMNS = 18, 3
_ROW, _MOST_ROWS = 0.135, 20  # inches of a site, and the sites that get as much
_BEYOND = 1.005  # what is written as more than 1


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every result of the metric."""
    return [drawing for id in sheet.ids(_is_drawn) for drawing in _pages(sheet, id)]


def _is_drawn(result: MetricResult) -> bool:
    profile = result.profile
    return result.name == "interchange" and profile is not None and profile.axes == AXES


def _pages(sheet: Sheet, id: str) -> list[Drawing]:
    maps = [(group, found) for group in sheet.groups if (found := map_of(group, id))]
    same = _same_in_any([found for _, found in maps])
    cut = {group.name: _without(found, same) for group, found in maps}
    groups = [group for group, _ in maps if cut[group.name].sites]
    said, drawings = _said(sheet, id, groups, (list(cut.values()), same)), []
    for some, number in Pages(groups, MOST):
        name, title = numbered(sheet.short_name(id), said.title, number)
        shown = [cut[group.name] for group in some]
        drawings.append(_page(said._replace(name=name, title=title), some, shown, id))
    return drawings


def _page(said: Words, groups: Sequence[Group], maps: Sequence[Map], id: str) -> Drawing:
    labels = "\n".join(text for found in maps for text in _site_labels(found))
    left = style.text_inches(labels, style.SMALL) + 0.1
    room = Room(left=left, inner=left, bottom=0.32, foot=0)
    inches = canvas.panel_inches(len(groups), COLUMNS, room)
    names = titles(groups, [id], inches)
    panels = [
        Panel(name, _ROW * min(len(found.sites), _MOST_ROWS))
        for found, name in zip(maps, names, strict=True)
    ]
    drawing, axes = canvas.page(panels, said, room, columns=COLUMNS)
    for panel, found in zip(axes, maps, strict=True):
        _panel(panel, found)
    return drawing


def _same_in_any(maps: Sequence[Map]) -> list[tuple[str, int]]:
    """Return the sites that are the same in any model at all roles, wherever they are drawn."""
    known: dict[tuple[str, int], bool] = {}
    for found in maps:
        for site, flags_G in zip(found.sites, found.trivial_YG, strict=True):
            known[site] = known.get(site, True) and bool(flags_G.all())
    return [site for site, same in known.items() if same]


def _without(found: Map, sites: Sequence[tuple[str, int]]) -> Map:
    kept = [i for i, site in enumerate(found.sites) if site not in sites]
    return Map(
        [found.sites[i] for i in kept], found.roles, found.value_YG[kept], found.trivial_YG[kept]
    )


def _said(
    sheet: Sheet, id: str, groups: Sequence[Group], maps: tuple[Sequence[Map], list]
) -> Words:
    shown, same = maps
    beyond = any((np.nan_to_num(found.value_YG) > _BEYOND).any() for found in shown)
    role = words.clean(sheet.part(id))
    components = list(dict.fromkeys(name for found in shown for name, _ in found.sites))
    left_out = words.listed(list(dict.fromkeys(map(_in_words, sorted(same, key=lambda s: s[1])))))
    return Words(
        "",
        f"{sheet.task}: what brings the answer back when the {role} was exchanged"
        + sheet.parameters(id),
        caption(
            f"In one of two inputs the {role} is another one. One activation of the other run is "
            "put back, at one site (component and layer, counted from 0, from bottom to top) and "
            "role: the share "
            "of the answer's probability that it brings back"
            + ("; more than 1 where the answer becomes likelier than it was" if beyond else "")
            + f"{heat.NOTE}.",
            words.explained(components, words.COMPONENTS), _roles(shown),
            f"Left out, as it is the same in any model: {left_out}." if left_out else "",
            seeds_sentence(groups), not_drawn(sheet, groups, [id]), flags(groups),
        ),
        heat.handles(missing=any(np.isnan(found.value_YG).any() for found in shown)),
    )  # fmt: skip


def _roles(maps: Sequence[Map]) -> str:
    """Explain the roles; one of them takes in others where a position has several."""
    names = list(dict.fromkeys(role for found in maps for role in found.roles))
    told = words.explained(names, words.ROLES)
    return told and f"{told} A position that is several of these is named by the first."


def _in_words(site: tuple[str, int]) -> str:
    name, layer = site
    return "block_out of the last layer" if name == "block_out" else f"{name} {layer}"


def _site_labels(found: Map) -> list[str]:
    return [f"{words.clean(name)} {layer}" for name, layer in found.sites]


def _panel(axes: Axes, found: Map) -> None:
    heat.draw(axes, found.value_YG, found.trivial_YG)
    heat.write(axes, found.value_YG, found.trivial_YG)
    rows = range(len(found.sites))
    labels = _site_labels(found)
    if len(found.sites) > _MOST_ROWS:  # many layers: the first site of each has a label
        first = {layer: row for row, (_, layer) in reversed(list(enumerate(found.sites)))}
        rows, labels = list(first.values()), [labels[row] for row in first.values()]
    axes.set_yticks([row + 0.5 for row in rows], labels, fontsize=style.SMALL)
    names = [_broken(role) for role in found.roles]
    inches = axes.get_position().width * axes.figure.get_size_inches()[0] / len(names)  # type: ignore[union-attr]
    place: dict[str, Any] = {"fontsize": style.SMALL}
    if any(style.text_inches(name, style.SMALL) > inches for name in names):
        names = [words.clean(role) for role in found.roles]
        place |= {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(len(names)) + 0.5, names, **place)


def _broken(role: str) -> str:
    """Break a role's name into two lines: next_key, value+1."""
    return words.clean(role).replace("_", "\n").replace("+", "\n+")
