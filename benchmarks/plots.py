"""Plots of what was measured, as SVG files that are the same for the same numbers.

matplotlib is imported when a plot is drawn, so that a run without plots does not need it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Row, Table

__all__ = ["bars", "curves", "folder", "lines", "sheet"]

INK, DOT, LIMIT = "#4878a8", "#222222", "#b03030"
SETTINGS: Any = {"svg.hashsalt": "lollms", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
COLOURS = ("#4878a8", "#c07830", "#508850", "#885090", "#906050")

Curve = Mapping[int, Sequence[float]]


def folder() -> Path:
    """Where plots go."""
    place = Path(__file__).resolve().parent / "plots"
    place.mkdir(exist_ok=True)
    return place


def bars(path: Path, title: str, rows: Sequence[Row], *, unit: str = "", budget: float | None = None) -> None:
    """One bar for each row: its median, the rounds as dots; the budget, in the same unit, as a line across."""
    figure, axes = _figure(width=1.5 + 1.1 * max(3, len(rows)))
    places = range(len(rows))
    axes.bar(places, [statistics.median(row.values) for row in rows], width=0.6, color=INK, alpha=0.6)
    for place, row in zip(places, rows, strict=True):
        axes.plot([place] * len(row.values), row.values, "o", color=DOT, markersize=3)
    if budget is not None:
        axes.axhline(budget, color=LIMIT, linewidth=1)
        axes.annotate(f"budget {budget:g}", (len(rows) - 0.6, budget), color=LIMIT, ha="right", va="bottom")
    axes.set_xticks(list(places), [row.name for row in rows], rotation=20 if len(rows) > 5 else 0)
    axes.set_ylabel(unit)
    _save(figure, axes, path, title)


def sheet(path: Path, title: str, tables: Sequence[Table]) -> None:
    """All tables of a part on one page: a bar for each row, the rounds as dots."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [table for table in tables if any(row.values for row in table.rows)]
    with rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 1.0 + sum(0.5 + 0.26 * len(table.rows) for table in drawn)), layout="constrained")
        every = figure.subplots(len(drawn), height_ratios=[1 + len(table.rows) for table in drawn], squeeze=False)
        for table, axes in zip(drawn, every[:, 0], strict=True):
            rows = [row for row in table.rows if row.values]
            places = range(len(rows))
            axes.barh(places, [statistics.median(row.values) for row in rows], height=0.6, color=INK, alpha=0.6)
            for place, row in zip(places, rows, strict=True):
                axes.plot(row.values, [place] * len(row.values), "o", color=DOT, markersize=2.5)
            axes.set_yticks(list(places), [row.name for row in rows])
            axes.invert_yaxis()
            axes.set_xlim(left=0)
            axes.set_title(table.title, loc="left", fontsize=8)
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def curves(path: Path, title: str, found: Mapping[str, Curve], across: str, up: str) -> None:
    """A line for each name through its medians, over sizes on a logarithmic scale; the rounds as dots."""
    figure, axes = _figure()
    for (name, curve), colour in zip(found.items(), COLOURS * len(found), strict=False):
        medians = [statistics.median(values) for values in curve.values()]
        axes.plot(list(curve), medians, color=colour, label=name)
        for size, values in curve.items():
            axes.plot([size] * len(values), values, "o", color=colour, markersize=3)
    axes.set_xscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    if len(found) > 1:
        axes.legend(frameon=False)
    _save(figure, axes, path, title)


def lines(path: Path, title: str, found: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> None:
    """A line for each name through points (across, up), for instance something over time."""
    figure, axes = _figure()
    for (name, points), colour in zip(found.items(), COLOURS * len(found), strict=False):
        axes.plot([point[0] for point in points], [point[1] for point in points], color=colour, label=name)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(frameon=False)
    _save(figure, axes, path, title)


def _figure(width: float = 6.0) -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=(width, 3.6), layout="tight")
        return figure, figure.add_subplot()


def _save(figure: Any, axes: Any, path: Path, title: str) -> None:
    from matplotlib import rc_context

    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=9)
    with rc_context(SETTINGS):
        figure.savefig(path, metadata={"Date": None, "Creator": None})
