"""Pictures of reports; the same bytes for the same reports, made without a display."""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

import matplotlib as mpl

from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.schema import Report

FORMATS = ("png", "svg")
FIGURES = ("layers", "mechanism", "training")
"""Kinds of figures, each a module of this package with a function ``figure``."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "svg.hashsalt": "mecheval",
}
DPI = 160


def render(reports: Sequence[Report], kind: str, *, figure: str = "layers") -> bytes:
    """Draw reports.

    Args:
        reports: At least one report.
        kind: png or svg.
        figure: ``layers``: readability, bottlenecks and recovery by layer, a single report in
            full; ``mechanism``: accuracy, verdicts, and interchange by role and layer, a row per
            model; ``training``: accuracy and mechanism along training, for reports with snapshots.

    Raises:
        UsageError: The kind or the figure is another one, or the reports hold nothing for it.
    """
    if kind not in FORMATS:
        raise UsageError(f"Cannot draw a '.{kind}' picture. Give a file that ends in .png or .svg.")
    if figure not in FIGURES:
        raise unknown("figure", figure, FIGURES, see=f"these: {', '.join(FIGURES)}")
    module = importlib.import_module(f"{__name__}.{figure}")
    with mpl.rc_context(STYLE):  # pyright: ignore[reportArgumentType] - names of rcParams
        file = io.BytesIO()
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        module.figure(reports).savefig(file, format=kind, dpi=DPI, metadata=metadata)
    return file.getvalue()
