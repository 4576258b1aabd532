"""Heat maps of a cell: shares by layer and position, by layer and role, by site and role.

Cells that are the same in any model are hatched, and never coloured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.leaderboard.page.picture import Picture, flags, ids_of, rounded
from mecheval.reports.drawing import words
from mecheval.reports.drawing.site_map import map_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mecheval.reports.collection import Group
    from mecheval.reports.drawing.sheets import Sheet

MOST_WRITTEN = 8
"""Columns of a map up to which shares are written into its cells."""

RECOVERY, INTERCHANGE, NECESSITY, GRID = "recovery", "interchange", "necessity", "grid"
HATCHED = "Hatched: the same in any model, by construction. Grey: not there."
TWO = (
    "Two inputs differ in one symbol and in their answer. One activation of the one run is put "
    "into the other, at one layer and position: the share of the difference in logits that {}, "
    "mean over pairs and seeds."
)
ONE_SITE = {
    None: "what brings the answer back: the share of the answer's probability that one clean "
    "activation restores, at one site (component and layer) and role",
    NECESSITY: "what takes the answer away: the share of the answer's probability that goes when "
    "one activation alone is exchanged, at one site and role",
}
"""What the profiles of an interchange say."""

INTERVENTION = "intervention"


def maps(sheet: Sheet, group: Group) -> list[Picture]:
    """Return the heat maps of a model on a task, those of exchanged activations first."""
    found = [*_recovery(sheet, group), *_interchange(sheet, group)]
    return [*found, *_others(sheet, group)]


def _recovery(sheet: Sheet, group: Group) -> Iterator[Picture]:
    for id in ids_of(group, RECOVERY):
        component = sheet.part(id)
        noising = any(
            r.config.get("direction") == "noising" for r in group.results(id).values() if r
        )
        meaning = words.COMPONENTS.get(component, "")
        what = f"{component} ({meaning})" if meaning else component
        goes = "is lost" if noising else "comes back"
        title = f"What {goes} when {what} is exchanged{sheet.parameters(id)}"
        for name, by in ((GRID, "position"), (None, "role")):
            profile = group.profile(id, name)
            if profile is None or list(profile.axes) != ["layer", by]:
                continue
            data = _data(
                profile.mean_X, profile.marks.get("trivial"),
                [("layer", profile.index["layer"]), (by, profile.index[by])],
            )  # fmt: skip
            yield Picture(f"{title}, by layer and {by}", f"{TWO.format(goes)} {HATCHED}", data)


def _interchange(sheet: Sheet, group: Group) -> Iterator[Picture]:
    for id in ids_of(group, INTERCHANGE):
        for name, meaning in ONE_SITE.items():
            found = map_of(group, id, name)
            if found is None or not found.sites:
                continue
            sites = [f"{component} {layer}" for component, layer in found.sites]
            data = _data(found.value_YG, found.trivial_YG, [("site", sites), ("role", found.roles)])
            roles = words.explained(list(found.roles), words.ROLES)
            components = list(dict.fromkeys(component for component, _ in found.sites))
            caption = " ".join(
                filter(None, [f"{meaning[:1].upper()}{meaning[1:]}.",
                              words.explained(components, words.COMPONENTS), roles, HATCHED])
            )  # fmt: skip
            title = f"The {sheet.part(id)} exchanged: {meaning.partition(':')[0]}"
            yield Picture(title + sheet.parameters(id), caption, data, first=name is None)


def _others(sheet: Sheet, group: Group) -> Iterator[Picture]:
    """Yield further profiles of interventions over layers and one other axis."""
    for id, metric in ids_of(group).items():
        results = [result for result in group.results(id).values() if result]
        if metric in (RECOVERY, INTERCHANGE) or not results:
            continue
        if any(result.family != INTERVENTION for result in results):
            continue
        for name in (None, *results[0].profiles):
            profile = group.profile(id, name)
            if profile is None or len(profile.axes) != 2 or profile.axes[0] != "layer":
                continue
            other = profile.axes[1]
            axes = [("layer", profile.index["layer"]), (other, profile.index[other])]
            data = _data(profile.mean_X, profile.marks.get("trivial"), axes)
            called = f" ({name})" if name else ""
            title = f"{sheet.title(id)}{called}, by layer and {other}"
            yield Picture(title, f"{sheet.caption(id)} {HATCHED}", data, first=False)


def _data(
    value_YX: np.ndarray, trivial_YX: Any, axes: Sequence[tuple[str, Iterable[Any]]]
) -> dict[str, Any]:
    """Return a map's data; what is trivial keeps its number for readers of the table."""
    (y, rows), (x, columns) = axes
    columns = list(columns)
    trivial = None if trivial_YX is None else np.broadcast_to(trivial_YX, value_YX.shape)
    return {
        "kind": "map" if len(columns) <= MOST_WRITTEN else "grid", "y": y, "x": x,
        "rows": list(rows), "columns": columns, "values": rounded(value_YX),
        "trivial": [] if trivial is None or not trivial.any() else [flags(row) for row in trivial],
    }  # fmt: skip
