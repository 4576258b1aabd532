"""The pictures of a cell as Vega-Lite specs, without data: the page's script puts that in.

One spec per kind of picture. Colours come from a theme, so that a picture is drawn again where the
reader changes from light to dark. Colours of curves are Okabe and Ito's, which colour-blind readers
can tell apart, and every curve has a dash and a mark of its own as well.
"""

from __future__ import annotations

from typing import Any

HATCH = "url(#hatch)"
"""The pattern of what is the same in any model; the page defines it."""

LOOKS: dict[str, tuple[int, list[int], str]] = {
    "readable": (0, [1, 0], "circle"),
    "used": (1, [6, 3], "square"),
    "sufficient": (2, [1, 0], "triangle-up"),
    "linear subspace used": (3, [2, 2], "cross"),
    "readable 2": (4, [1, 0], "diamond"),
    "readable 3": (5, [1, 0], "triangle-down"),
    "readable 4": (6, [1, 0], "triangle-right"),
    "cost": (3, [1, 0], "circle"),
}
"""Place in the palette, dash and mark of every curve."""

PALETTES = {
    "light": ["#0072B2", "#D55E00", "#000000", "#CC79A7", "#56B4E9", "#009E73", "#E69F00"],
    "dark": ["#56B4E9", "#E69F00", "#FFFFFF", "#CC79A7", "#009E73", "#F0E442", "#D55E00"],
}
DIVERGING = {
    "light": ["#2166ac", "#92c5de", "#ffffff", "#f4a582", "#b2182b"],
    "dark": ["#74c0fc", "#2b6a9b", "#20242a", "#a8492f", "#ff9f80"],
}
INKS = {"light": ("#1a1c1f", "#5f656d", "#d9dce0"), "dark": ("#e8eaed", "#a4abb3", "#3b4148")}
"""Of letters, of what is beside the point, of lines of the grid."""

WRITTEN = {"light": ("#ffffff", "#000000"), "dark": ("#000000", "#ffffff")}
"""Of a share that is written on a strong colour, and on a weak one."""

LEAST, STRONG = 0.05, 0.65
"""Shares from which on they are written into a map, and on a strong colour."""

X, Y = "x", "y"
Spec = dict[str, Any]


def specs() -> dict[str, Spec]:
    """Return the spec of every kind of picture."""
    return {
        "state": _lines("share", null=False),
        "erasing": _lines("share of the information lost", null=True),
        "curve": _lines("value", null=False),
        "map": _map(text=True),
        "grid": _map(text=False),
        "training": _training(),
    }


def themes() -> dict[str, Spec]:
    """Return what differs between light and dark: a config of Vega-Lite, and colours beside it."""
    return {
        name: {
            "palette": PALETTES[name], "written": WRITTEN[name], "ink": INKS[name][0],
            "config": _config(name),
        }
        for name in PALETTES
    }  # fmt: skip


def _config(theme: str) -> Spec:
    ink, soft, rule = INKS[theme]
    words: Spec = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12,
                   "titleFontWeight": "normal"}  # fmt: skip
    return {
        "background": "transparent", "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {**words, "gridColor": rule, "domainColor": soft, "tickColor": soft},
        "legend": {**words, "symbolStrokeWidth": 2, "labelLimit": 260},
        "range": {"category": PALETTES[theme], "diverging": DIVERGING[theme]},
        "rule": {"color": soft}, "text": {"color": ink},
    }  # fmt: skip


def _number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def _of() -> Spec:
    """Encode which curve it is; the script fills in the curves and their looks, in one legend."""
    legend: Spec = {"orient": "top", "title": None, "columns": 2, "symbolOpacity": 1}
    scale: Spec = {"domain": [], "range": []}
    return {"field": "label", "type": "nominal", "scale": scale, "legend": legend}


def _lines(y: str, *, null: bool) -> Spec:
    """Return curves over layers: bands and bars for intervals, hollow marks where none counts."""
    colour, dash, shape = _of(), _of(), _of()
    ends: Spec = {"y": _number("low", title=y), "y2": {"field": "high"}, "color": colour}
    mean: Spec = {"y": _number("mean", title=y), "color": colour, "shape": shape}
    mean["tooltip"] = [
        {"field": "label", "type": "nominal", "title": "curve"},
        {"field": "layer", "type": "nominal", "title": "layer"},
        *(_number(name, format=".3f") for name in ("mean", "low", "high")),
    ]
    layers: list[Spec] = [
        {"mark": {"type": "rule", "strokeWidth": 1}, "data": {"values": [{}]},
         "encoding": {"x": {"value": 0}, "x2": {"value": "width"}, "y": {"datum": 0}}},
        {"mark": {"type": "area", "clip": True, "opacity": 0.15}, "encoding": ends},
        {"mark": {"type": "rule", "clip": True, "opacity": 0.7}, "encoding": ends},
        {"mark": {"type": "line", "clip": True, "strokeWidth": 2},
         "encoding": {"y": mean["y"], "color": colour, "strokeDash": dash}},
        {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
         "transform": [{"filter": "!datum.hollow"}], "encoding": mean},
        {"mark": {"type": "point", "filled": False, "size": 60, "strokeWidth": 1.5},
         "transform": [{"filter": "datum.hollow"}], "encoding": mean},
    ]  # fmt: skip
    if null:
        band: Spec = {"y": _number("null_low", title=y), "y2": {"field": "null_high"}}
        layers.insert(0, {"mark": {"type": "area", "color": "#888888", "opacity": 0.3,
                                   "clip": True}, "encoding": band})  # fmt: skip
    return {
        "height": 220, "data": {"values": []},
        "encoding": {"x": _number(
            X, title="layer", axis={"tickMinStep": 1, "format": "d", "grid": False},
            scale={"nice": False, "padding": 14, "zero": False},
        )},
        "layer": layers, "resolve": {"scale": {"y": "shared"}},
    }  # fmt: skip


def _map(*, text: bool) -> Spec:
    """Return shares by row and column; what is the same in any model is hatched."""
    tips = [{"field": "row", "type": "nominal"}, {"field": "column", "type": "nominal"},
            _number("value", format=".3f")]  # fmt: skip
    said = {"field": "said", "type": "nominal", "title": "value"}
    colour = _number(
        "value", title="share",
        scale={"domain": [-1, 0, 1], "range": "diverging", "clamp": True, "type": "linear",
               "interpolate": "rgb"},
        legend={"orient": "top", "gradientLength": 160, "gradientThickness": 10, "format": ".1f",
                "values": [-1, -0.5, 0, 0.5, 1]},
    )  # fmt: skip
    layers: list[Spec] = [
        {"transform": [{"filter": "!datum.trivial && isValid(datum.value)"}],
         "mark": {"type": "rect", "stroke": "#88888833"},
         "encoding": {"color": colour, "tooltip": tips}},
        {"transform": [{"filter": "datum.trivial"}],
         "mark": {"type": "rect", "fill": HATCH, "stroke": "#88888833"},
         "encoding": {"tooltip": [*tips[:2], said]}},
        {"transform": [{"filter": "!datum.trivial && !isValid(datum.value)"}],
         "mark": {"type": "rect", "fill": "#88888840"},
         "encoding": {"tooltip": [*tips[:2], said]}},
    ]  # fmt: skip
    if text:
        strong = {"test": f"abs(datum.value) > {STRONG}", "value": {"expr": "strong"}}
        layers.append({
            "transform": [{"filter": f"!datum.trivial && abs(datum.value) >= {LEAST}"}],
            "mark": {"type": "text", "fontSize": 11},
            "encoding": {"text": _number("value", format=".2f"),
                         "color": {"condition": strong, "value": {"expr": "weak"}}},
        })  # fmt: skip
    return {
        "params": [{"name": "strong", "value": "white"}, {"name": "weak", "value": "black"}],
        "width": {"step": 46 if text else 14}, "height": {"step": 24}, "data": {"values": []},
        "encoding": {
            X: {"field": "column", "type": "ordinal", "sort": None, "title": X,
                "axis": {"labelAngle": -35 if text else 0, "labelOverlap": not text,
                         "labelLimit": 110}},
            Y: {"field": "row", "type": "ordinal", "sort": None, "title": Y},
        },
        "layer": layers,
    }  # fmt: skip


def _training() -> Spec:
    """Return accuracy above loss, a line per seed, and the gate."""
    step = _number("step", title="training steps", axis={"grid": False})
    tips = [{"field": "seed", "type": "nominal"}, _number("step"),
            *(_number(name, format=".3f") for name in ("accuracy", "loss"))]  # fmt: skip
    line: Spec = {"type": "line", "strokeWidth": 1.5, "opacity": 0.8,
                  "point": {"size": 16, "filled": True}}  # fmt: skip
    seed: Spec = {"detail": {"field": "seed", "type": "nominal"}, "tooltip": tips}
    at: list[Spec] = [{"filter": "isValid(datum.step)"}]
    gate: Spec = {
        "transform": [{"filter": "isValid(datum.gate)"}],
        "mark": {"type": "rule", "strokeDash": [5, 4]},
        "encoding": {"y": _number("gate")},
    }
    accuracy: Spec = {"x": step, "y": _number("accuracy", title="accuracy",
                                              scale={"domain": [0, 1]}), **seed}  # fmt: skip
    loss: Spec = {"x": step, "y": _number("loss", title="loss"), **seed}
    return {
        "data": {"values": []},
        "vconcat": [
            {"height": 140, "layer": [
                {"transform": at, "mark": line, "encoding": accuracy}, gate,
            ]},
            {"height": 100, "transform": at, "mark": line, "encoding": loss},
        ],
    }  # fmt: skip
