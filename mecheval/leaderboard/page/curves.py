"""Curves of a cell: over layers, with bands and nulls, and of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.leaderboard.page.picture import (
    INTERVALS,
    Picture,
    flags,
    ids_of,
    limits_around,
    rounded,
)
from mecheval.reports.drawing import state_curves, words
from mecheval.reports.drawing.state_curves import BOTTLENECK, EXCHANGE, JOINT, READABILITY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.drawing.state_curves import Curve

EVERYWHERE = "cost"
ERASING = (
    "What the answers lose of their information when the variable's linear subspace is erased, "
    "beyond the mean of a null: the same eraser, fitted on the labels of other sequences. Grey: "
    "where 95 % of the null's draws lie. Hollow: layers that do not count, as the variable cannot "
    "be read there, no block follows, or the null costs as much."
)


def curves(sheet: Sheet, group: Group) -> list[Picture]:
    """Return what there is to draw of a model on a task along its layers, what says most first."""
    return [*_state(sheet, group), *_erasing(sheet, group), *_others(sheet, group)]


def _state(sheet: Sheet, group: Group) -> Iterator[Picture]:
    for nth, part in enumerate(state_curves.exchanged_parts(sheet)):
        curves = state_curves.curves_of(sheet, part)
        shown = [curve for curve in curves if state_curves.profile_of(group, curve)]
        if not shown:
            continue
        _, low, high = state_curves.limits_of([group], shown)
        reach = state_curves.reach_of([group], shown)
        cut = state_curves.CUT if reach[0] < low or reach[1] > high else ""
        erased = any(curve.kind == state_curves.ERASED for curve in shown)
        said = [
            state_curves.SAID, state_curves.SUBSPACE if erased else "", state_curves.HOLLOW,
            INTERVALS, cut,
        ]  # fmt: skip
        profiles = [(curve, state_curves.profile_of(group, curve)) for curve in shown]
        drawn = [_curve(profile, curve) for curve, profile in profiles if profile]
        layers = next(profile.index["layer"] for _, profile in profiles if profile)
        data = {"kind": "state", "x": list(layers), "limits": [low, high], "curves": drawn}
        are = "are" if JOINT in part else "is"
        title = f"Where {words.listed(part.split(JOINT))} {are} readable, used, sufficient"
        yield Picture(title, " ".join(filter(None, said)), data, first=nth == 0)


def _curve(profile: ProfileOverSeeds, curve: Curve) -> dict[str, Any]:
    nth = f" {curve.nth + 1}" if curve.nth else ""
    return {
        "of": f"{curve.kind}{nth}", "label": curve.label, "mean": rounded(profile.mean_X),
        "low": rounded(np.clip(profile.low_X, *curve.ends)),
        "high": rounded(np.clip(profile.high_X, *curve.ends)),
        "hollow": flags(profile.marks.get("trivial")),
    }  # fmt: skip


def _erasing(sheet: Sheet, group: Group) -> Iterator[Picture]:
    usual = set(sheet.of(BOTTLENECK).values())
    for id in ids_of(group, BOTTLENECK):
        own, cost = group.profile(id), group.profile(id, series=EVERYWHERE)
        if own is None or list(own.axes) != ["layer"]:
            continue
        drawn = cost or own
        if not np.isfinite(drawn.mean_X).any():
            continue
        shown = own if len(own.values_SX) == 1 else drawn
        valid = own.marks.get("valid")
        curve = {
            "of": "cost", "label": "cost", "mean": rounded(drawn.mean_X),
            "low": rounded(shown.low_X), "high": rounded(shown.high_X),
            "hollow": flags(None if valid is None else ~valid.astype(bool)),
        }  # fmt: skip
        null = _null(group, id)
        data = {
            "kind": "erasing" if null else "curve", "x": list(own.index["layer"]),
            "curves": [curve], "limits": limits_around([drawn.mean_X, *null]),
        }  # fmt: skip
        data |= {"null": [rounded(end) for end in null]} if null else {}
        part = sheet.part(id)
        title = f"What erasing {part} costs{sheet.parameters(id)}"
        first = id in usual and "/" not in part
        yield Picture(title, f"{ERASING} {INTERVALS}", data, first=first)


def _null(group: Group, id: str) -> list[np.ndarray]:
    """Return where the null's draws begin and end, less their mean, which the cost has not."""
    found = [group.profile(id, series=name) for name in ("null", "null_low", "null_high")]
    there = [each.mean_X for each in found if each is not None]
    return [end - there[0] for end in there[1:]] if len(there) == len(found) else []


def _others(sheet: Sheet, group: Group) -> Iterator[Picture]:
    """Yield curves over layers that no other picture has."""
    drawn = {EXCHANGE, BOTTLENECK} | ({READABILITY} if sheet.of(EXCHANGE) else set())
    for id, name in ids_of(group).items():
        profile = group.profile(id)
        if name in drawn or profile is None:
            continue
        over_layers = list(profile.axes) == ["layer"] and len(profile.mean_X) > 1
        if not over_layers or not np.isfinite(profile.mean_X).any():
            continue
        curve = {
            "of": "cost", "label": name, "mean": rounded(profile.mean_X),
            "low": rounded(profile.low_X), "high": rounded(profile.high_X),
            "hollow": flags(profile.marks.get("trivial")),
        }  # fmt: skip
        data = {
            "kind": "curve", "x": list(profile.index["layer"]), "curves": [curve],
            "limits": limits_around([profile.mean_X]),
        }  # fmt: skip
        caption = f"{sheet.caption(id)} {INTERVALS}"
        yield Picture(f"{sheet.title(id)}, by layer", caption, data, first=False)


def training(group: Group) -> Iterator[Picture]:
    """Yield the course of a model's training, a line per seed."""
    runs = [
        {
            "seed": report.identity.seed,
            "step": [step for step, _, _ in report.training.curve],
            "loss": [None if loss is None else round(loss, 4) for _, loss, _ in
                     report.training.curve],
            "accuracy": [round(accuracy, 4) for _, _, accuracy in report.training.curve],
        }
        for report in group.reports
        if report.training and report.training.curve
    ]  # fmt: skip
    if runs:
        gate = group.gate if group.gate and group.gated == group.validated else None
        about = f"dashed: the gate, {gate:g}" if gate else ""
        caption = "A line per seed, at every validation" + (f"; {about}." if about else ".")
        title = f"Training: {group.validated} on the validation split, and loss"
        data = {"kind": "training", "runs": runs, "gate": gate, "called": group.validated}
        yield Picture(title, caption, data)
