"""Panels drawn with matplotlib from their JSON and what a Prometheus answered, about as Grafana lays them out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from humwatch_dashboards.answers import Asker, Series
from humwatch_dashboards.looks import CLASSIC, TEXT, Look

SMALL: Final = 6.5
"""Size of most text, points."""
LETTERS_A_COLUMN: Final = 9
"""Of a legend, in one of the grid's columns."""


def draw(panel: Mapping[str, Any], asker: Asker, axes: Axes, marks: Sequence[tuple[str, Series]]) -> None:
    """Draw a panel's inside.

    Args:
        panel: its JSON.
        asker: for its data.
        axes: empty, as wide and high as the panel's inside.
        marks: colours and series of annotations.
    """
    answers = asker.panel(panel)
    if panel["type"] != "timeseries":
        axes.set_axis_off()
    if not answers:
        axes.set_axis_off()
        words = panel["fieldConfig"]["defaults"]["noValue"]
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=8, color="#888888", transform=axes.transAxes)
        return
    if panel["type"] == "timeseries":
        _lines(panel, answers, asker, axes, marks)
    elif panel["type"] == "stat":
        _tiles(panel, answers, axes)
    elif panel["type"] == "state-timeline":
        _timeline(panel, answers, asker, axes)
    else:
        _table(panel, answers, axes)


def _lines(
    panel: Mapping[str, Any], answers: list[Series], asker: Asker, axes: Axes, marks: Sequence[tuple[str, Series]]
) -> None:
    entries = []
    for number, series in enumerate(answers):
        look = Look.of(panel, series.name)
        colour = look.fixed_colour() or CLASSIC[number % len(CLASSIC)]
        dashed = look.options.get("custom.lineStyle") is not None
        style = {"color": colour, "linewidth": 0.9 if dashed else 1.2, "linestyle": "--" if dashed else "-"}
        axes.plot(*_with_gaps(series, asker.step_s), **style)  # type: ignore[arg-type]
        entries.append(Line2D([], [], label=series.name, **style))  # type: ignore[arg-type]
    look = Look.of(panel, "")
    for level, colour in look.levels():
        axes.axhline(level, color=colour, linewidth=0.9, linestyle="--")
    if look.options.get("custom", {}).get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
    for colour, series in marks:
        for begin in series.times_s[(series.values > 0) & (np.roll(series.values, 1) <= 0)]:
            axes.axvline(begin, color=colour, linewidth=1, linestyle=":")
    axes.set_xlim(asker.start_s, asker.end_s)
    if look.options.get("min") is not None:
        axes.set_ylim(bottom=look.options["min"])
    _ticks(axes, look, wide=panel["gridPos"]["w"] > 8)
    _legend(axes, entries, panel["gridPos"]["w"])


def _legend(axes: Axes, entries: list[Line2D], columns: int) -> None:
    """Names under the lines, as many as two rows hold in a panel so many columns wide."""
    across = max(1, int(columns * LETTERS_A_COLUMN / (6 + max(len(str(entry.get_label())) for entry in entries))))
    if len(entries) > 2 * across:
        left_off = len(entries) - 2 * across + 1
        entries = [*entries[:-left_off], Line2D([], [], alpha=0, label=f"and {left_off} more")]
    axes.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(-0.03, -0.07),
        ncols=min(across, len(entries)),
        fontsize=SMALL,
        frameon=False,
        columnspacing=1,
        handlelength=1.5,
    )


def _with_gaps(series: Series, step_s: float) -> tuple[list[float], list[float]]:
    """Times and values, with NaN between two that lie further apart than a step: no line crosses a gap."""
    times, values = [float(series.times_s[0])], [float(series.values[0])]
    for at_s, value in zip(series.times_s[1:], series.values[1:], strict=True):
        if at_s - times[-1] > 1.5 * step_s:
            times.append(float(at_s))
            values.append(math.nan)
        times.append(float(at_s))
        values.append(float(value))
    return times, values


def _ticks(axes: Axes, look: Look, *, wide: bool) -> None:
    axes.tick_params(labelsize=SMALL, length=2, pad=1)
    begin, end = axes.get_xlim()
    at = np.linspace(begin, end, 7 if wide else 5)[1:-1]
    axes.set_xticks(at, [datetime.fromtimestamp(one, UTC).strftime("%H:%M:%S") for one in at])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: look.tick(value))
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _tiles(panel: Mapping[str, Any], answers: list[Series], axes: Axes) -> None:
    options = panel["options"]
    across = min(len(answers), 4 if panel["gridPos"]["w"] >= 24 else 6)
    down = math.ceil(len(answers) / across)
    for number, series in enumerate(answers):
        look = Look.of(panel, series.name)
        value = float(series.values[-1])
        colour = look.fixed_colour() or look.colour(value) or TEXT
        x, y = number % across / across, 1 - (number // across + 1) / down
        tile = axes.inset_axes((x + 0.003, y + 0.01, 1 / across - 0.006, 1 / down - 0.02))
        tile.set(xticks=[], yticks=[])
        filled = options["colorMode"].startswith("background")
        tile.set_facecolor(colour if filled else "white")
        tile.spines[:].set_visible(False)
        ink = _ink(colour) if filled else colour
        if options["graphMode"] == "area" and np.isfinite(series.values).any():
            tile.plot(series.times_s, series.values, color=ink, linewidth=0.8)
            low, high = np.nanmin(series.values), np.nanmax(series.values)
            tile.set_ylim(low - 0.1, low + 3.2 * max(high - low, 0.2))
        name = look.options.get("displayName", series.name)
        named = options["textMode"] == "value_and_name" or len(answers) > 1
        size = 13 if filled and len(name) > 12 else 12
        if named:
            tile.text(0.5, 0.86, name, ha="center", va="top", fontsize=7.5, color=ink, transform=tile.transAxes)
        tile.text(
            0.5, 0.5, look.text(value), ha="center", va="center", fontsize=size, color=ink, transform=tile.transAxes
        )


def _ink(background: str) -> str:
    """Black or white, whichever is read more easily on a colour."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _timeline(panel: Mapping[str, Any], answers: list[Series], asker: Asker, axes: Axes) -> None:
    axes.set_xlim(asker.start_s, asker.end_s)
    axes.set_ylim(len(answers) - 0.5, -0.5)
    for row, series in enumerate(answers):
        look = Look.of(panel, series.name)
        name = look.options.get("displayName", series.name)
        axes.text(asker.start_s, row, f"{name}  ", ha="right", va="center", fontsize=SMALL, color=TEXT)
        for begin, end, value in _stretches(series, asker.step_s):
            colour = look.colour(value) or TEXT
            axes.barh(row, end - begin, left=begin, height=0.8, color=colour)
            if end - begin > 0.05 * (asker.end_s - asker.start_s):
                middle = (begin + end) / 2
                axes.text(middle, row, look.text(value), ha="center", va="center", fontsize=SMALL, color=_ink(colour))


def _stretches(series: Series, step_s: float) -> list[tuple[float, float, float]]:
    """Begin, end and value of what stays the same without a gap; times in seconds since 1970."""
    found: list[tuple[float, float, float]] = []
    for at_s, value in zip(series.times_s.tolist(), series.values.tolist(), strict=True):
        if found and found[-1][2] == value and at_s - found[-1][1] <= 0.5 * step_s:
            found[-1] = (found[-1][0], at_s + step_s, value)
        else:
            found.append((at_s, at_s + step_s, value))
    return found


def _table(panel: Mapping[str, Any], answers: list[Series], axes: Axes) -> None:
    named = {one["id"]: one["options"] for one in panel["transformations"]}
    order = named["organize"]["indexByName"]
    titles = named["organize"]["renameByName"]
    rows = _merged(panel, answers)
    for one in named.get("sortBy", {}).get("sort", []):
        rows.sort(key=lambda row: row.get(one["field"], -math.inf), reverse=one["desc"])
    fields = [field for field in sorted(order, key=order.get) if any(field in row for row in rows)]
    step = 1 / max(len(rows) + 1, 9)
    for column, field in enumerate(fields):
        x, y = column / len(fields), 1 - step / 2
        look = Look.of(panel, titles[field])
        style: dict[str, Any] = {"va": "center", "fontsize": 7, "transform": axes.transAxes}
        axes.text(x + 0.005, y, titles[field], color="#0072B2", weight="bold", **style)
        for number, row in enumerate(rows, start=1):
            if field in row:
                _cell(axes, row[field], look, (x, y - number * step, 1 / len(fields), step), style)


def _cell(
    axes: Axes, value: str | float, look: Look, place: tuple[float, float, float, float], style: dict[str, Any]
) -> None:
    x, y, width, height = place
    text = value if isinstance(value, str) else look.text(value)
    colour = None if isinstance(value, str) else look.colour(value)
    kind = look.options.get("custom.cellOptions", {}).get("type")
    ink = TEXT
    if kind == "color-background" and colour:
        box = axes.inset_axes((x, y - 0.42 * height, 0.95 * width, 0.84 * height))
        box.set(xticks=[], yticks=[], facecolor=colour)
        box.spines[:].set_visible(False)
        axes = box
        ink, x, y, style = _ink(colour), 0.04, 0.5, style | {"transform": box.transAxes}
    elif kind == "color-text" and colour and value:
        style = style | {"weight": "bold"}
    axes.text(x + 0.005, y, text[:22], color=ink, **style)


def _merged(panel: Mapping[str, Any], answers: list[Series]) -> list[dict[str, Any]]:
    """Rows of a table: series with the same labels but for those that only some of the questions have."""
    several = len(panel["targets"]) > 1
    shared = set.intersection(*(set(series.labels) for series in answers))
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for series in answers:
        key = tuple(series.labels[label] for label in sorted(shared))
        row = rows.setdefault(key, {})
        row |= dict(series.labels)
        row[f"Value #{series.question}" if several else "Value"] = float(series.values[-1])
    return list(rows.values())
