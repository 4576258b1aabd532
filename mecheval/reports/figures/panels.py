"""Panels of a picture: curves over layers, heat maps over layers and positions.

Every panel shows what its numbers are to be read against, and says so where there is no number.

Shape suffixes: ``L`` layers, ``G`` roles, ``T`` positions, ``S`` seeds.
"""

from __future__ import annotations

import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from mecheval.reports.schema import MetricResult, Profile

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

GREY, LIGHT = "#6b6b6b", "#d9d9d9"
RECOVERY = TwoSlopeNorm(0.0, vmin=-1.0, vmax=1.0)


def array(values: Any) -> np.ndarray:
    """Return nested lists as an array, null as NaN."""
    return np.array(values, dtype=float)


def mean_profile(results: Sequence[MetricResult], name: str | None = None) -> np.ndarray | None:
    """Average a profile, or one of its series, over seeds; None where no seed has it."""
    found = []
    for result in results:
        profile = result.profile
        if profile is not None and (name is None or name in profile.series):
            found.append(array(profile.value if name is None else profile.series[name]))
    shapes = {values.shape for values in found}
    if len(shapes) != 1:
        return None
    with warnings.catch_warnings():
        # A layer without a value in any seed is NaN, and so is its mean.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(np.stack(found), 0)


def variable_of(result: MetricResult) -> str:
    """Return what the metric is of: the variable, or the component."""
    return result.id.partition("/")[2]


def draw_readability(axes: Axes, by_variable: Mapping[str, Sequence[MetricResult]]) -> None:
    """Draw corrected readability by layer: trained, and the untrained network dashed."""
    for colour, (variable, results) in zip(COLOURS, by_variable.items(), strict=False):
        value_L = mean_profile(results)
        if value_L is None:
            continue
        axes.plot(value_L, "o-", color=colour, label=variable, markersize=4, zorder=3)
        _band(axes, results, colour)
        untrained_L, floor_L = (mean_profile(results, name) for name in ("untrained", "floor"))
        if untrained_L is not None and floor_L is not None:
            above_L = np.clip((untrained_L - floor_L) / np.maximum(1 - floor_L, 1e-12), 0, 1)
            axes.plot(above_L, "--", color=colour, linewidth=1, alpha=0.75)
    _over_layers(axes)


def draw_cost(
    axes: Axes, by_variable: Mapping[str, Sequence[MetricResult]], *, line: str = "-"
) -> None:
    """Draw what erasing costs; hollow where it does not count, a star at the bottleneck."""
    for colour, (variable, results) in zip(COLOURS, by_variable.items(), strict=False):
        all_L = mean_profile(results, "cost")
        valid_L = mean_profile(results)
        all_L = valid_L if all_L is None else all_L
        if all_L is None or valid_L is None:
            continue
        axes.plot(all_L, line, color=colour, label=variable, linewidth=1.4, zorder=3)
        axes.plot(all_L, "o", color=colour, markerfacecolor="white", markersize=4, zorder=4)
        axes.plot(valid_L, "o", color=colour, markersize=4, zorder=5)
        _band(axes, results, colour)
        _random_band(axes, results)
        for layer in {r.scalars.get("layer") for r in results if r.value is not None} - {None}:
            at = int(layer)  # type: ignore[arg-type]
            axes.plot(at, valid_L[at], "*", color=colour, markersize=13, zorder=6)
    _over_layers(axes)


def _band(axes: Axes, results: Sequence[MetricResult], colour: str) -> None:
    """Shade the interval of a single seed, or draw a thin line per seed."""
    profiles = [result.profile for result in results if result.profile is not None]
    if len(profiles) > 1:
        for profile in profiles:
            axes.plot(array(profile.value), color=colour, linewidth=0.7, alpha=0.35)
        return
    low, high = profiles[0].low, profiles[0].high
    if low is not None and high is not None:
        layers = np.arange(len(low))
        axes.fill_between(layers, array(low), array(high), color=colour, alpha=0.18, linewidth=0)


def _random_band(axes: Axes, results: Sequence[MetricResult]) -> None:
    """Shade what single random subspaces cost above or below their mean, in the same units."""
    names = ("random", "random_low", "random_high")
    random_L, low_L, high_L = (mean_profile(results, name) for name in names)
    scalars = results[0].scalars
    clean, floor = scalars.get("clean_accuracy"), scalars.get("floor")
    if random_L is None or low_L is None or high_L is None or clean is None or floor is None:
        return
    if clean > floor:
        room = clean - floor
        least_L, most_L = (random_L - high_L) / room, (random_L - low_L) / room
        layers = np.arange(len(random_L))
        axes.fill_between(layers, least_L, most_L, color=LIGHT, alpha=0.6, linewidth=0, zorder=0)


def _over_layers(axes: Axes) -> None:
    heights = np.concatenate([array(line.get_ydata()) for line in axes.lines] or [np.zeros(1)])
    heights = heights[np.isfinite(heights)]
    axes.set_ylim(min(-0.1, heights.min() - 0.05), max(1.06, heights.max() + 0.06))
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_heat(axes: Axes, results: Sequence[MetricResult], *, roles: bool) -> AxesImage | None:
    """Draw recovery over layers and roles, or layers and positions; trivial cells are hatched.

    Returns:
        The image, for a colour bar; None where no seed has the profile.
    """
    found = [_heat_profile(result, roles=roles) for result in results]
    profiles = [profile for profile in found if profile is not None]
    if not profiles:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        value = np.nanmean(np.stack([array(profile.value) for profile in profiles]), 0)
    axes.set_facecolor(LIGHT)
    image = axes.imshow(
        value, origin="lower", aspect="auto", cmap="RdBu_r", norm=RECOVERY, interpolation="nearest"
    )
    trivial = profiles[0].marks.get("trivial")
    if trivial is not None:
        hatch(axes, np.array(trivial, bool))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.tick_params(length=2)
    if roles:
        axes.set_xticks(range(value.shape[1]), map(str, profiles[0].index["role"]))
        if value.shape[0] <= 12:
            write_values(axes, value)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    return image


def _heat_profile(result: MetricResult, *, roles: bool) -> Profile | None:
    return result.profile if roles else result.profiles.get("grid")


def hatch(axes: Axes, trivial: np.ndarray) -> None:
    """Hatch runs of cells whose value is the same whatever the model does."""
    for row, flags in enumerate(trivial):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            axes.add_patch(
                Rectangle(
                    (first - 0.5, row - 0.5), end - first, 1, hatch="/////", fill=False,
                    edgecolor="#9a9a9a", linewidth=0,
                )
            )  # fmt: skip


def write_values(axes: Axes, value: np.ndarray, *, size: float = 7) -> None:
    """Write the numbers into the cells of a heat map."""
    for (row, column), number in np.ndenumerate(value):
        if np.isfinite(number):
            colour = "white" if abs(number) > 0.65 else "black"
            text = f"{round(number, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def say(axes: Axes, text: str, *, width: int = 46) -> None:
    """Write why there is nothing to draw, in place of the drawing."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(LIGHT)
    wrapped = textwrap.fill(text, width)
    place = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, wrapped, color=GREY, fontsize=8, **place)
