"""Picture of few recordings: recall and false alarms at each score's own alarm level, against the clips drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from humwatch.scoring.calibration import CalibrationSpec
from humwatch.scoring.spec import ScoreKind
from humwatch_training.evaluation.few_recordings_table import FewRow
from humwatch_training.evaluation.figures import COLOURS, plain

LINES: Final[dict[ScoreKind, str]] = {
    "consensus": "-",
    "likelihood_profile": "--",
    "residual_profile": "-.",
    "spectrum_profile": "-",
    "mse": ":",
    "nll": ":",
}
MARKERS: Final[dict[ScoreKind, str]] = {
    "consensus": "o",
    "likelihood_profile": "D",
    "residual_profile": "v",
    "spectrum_profile": "s",
    "mse": "x",
    "nll": "+",
}
ASKED_FOR: Final = "false alarm rate that is asked for"
MOST_FAR_PERCENT: Final = 20.0
"""Largest false alarm rate of the axis; higher ones are drawn there: 30 % or 40 % matters less than 1 % or 3 %."""


def few_recordings_figure(subjects: Mapping[str, Sequence[FewRow]]) -> Figure:
    """Return a column of two panels for each subject: above recall at the own alarm level, below it the FAR there.

    A line is one score of one system; that of new bundles is drawn strongly, with the standard deviation over draws.
    """
    figure = Figure(figsize=(4.4 + 5.2 * len(subjects), 7.2), layout="constrained")
    grid = figure.subplots(2, len(subjects), squeeze=False, sharey="row")
    systems = list(dict.fromkeys(row.system.name for rows in subjects.values() for row in rows))
    for (above, below), (subject, rows) in zip(grid.T, subjects.items(), strict=True):
        for line in _lines(rows):
            colour = COLOURS[systems.index(line[0].system.name) % len(COLOURS)]
            _draw(above, line, "recall", colour)
            _draw(below, line, "far", colour)
        above.set_title(plain(subject))
        for axes in (above, below):
            _clips_axis(axes, rows)
        below.axhline(
            100 * CalibrationSpec().alarm_rate, color="#767676", linewidth=0.9, linestyle=(0, (1, 2)), label=ASKED_FOR
        )
        below.set_xlabel("normal recordings that the machine is calibrated on")
    _rates_axes(*grid[:, 0])
    drawn = {str(line.get_label()): line for axes in grid.flat for line in reversed(axes.get_lines())}
    figure.legend(list(drawn.values()), list(drawn), loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _lines(rows: Sequence[FewRow]) -> list[list[FewRow]]:
    """Return the rows of each system and score, in order of the clips drawn; the default last, over all others."""
    found: dict[tuple[str, ScoreKind], list[FewRow]] = {}
    for row in rows:
        found.setdefault((row.system.name, row.score), []).append(row)
    return sorted((sorted(line, key=lambda row: row.clips) for line in found.values()), key=lambda x: x[0].is_default)


def _draw(axes: Axes, line: Sequence[FewRow], measure: Literal["recall", "far"], colour: str) -> None:
    default, score = line[0].is_default, line[0].score
    clips, figures = [row.clips for row in line], [row.figures for row in line]
    percent = np.array([100 * getattr(one, measure) for one in figures])
    label = plain(f"{line[0].system.title}: {score}{' (default)' if default else ''}")
    width, size, alpha = (3.0, 7.0, 1.0) if default else (1.1, 4.5, 0.8)
    axes.plot(
        clips,
        percent,
        LINES[score],
        color=colour,
        marker=MARKERS[score],
        linewidth=width,
        markersize=size,
        alpha=alpha,
        label=label,
    )
    if default:
        stds = [getattr(one, f"{measure}_std") for one in figures]
        std = np.array([np.nan if one is None else 100 * one for one in stds])  # of a single draw there is none
        low, high = np.maximum(percent - std, 0.0), np.minimum(percent + std, 100.0)
        axes.fill_between(clips, low, high, color=colour, alpha=0.15, linewidth=0)


def _clips_axis(axes: Axes, rows: Sequence[FewRow]) -> None:
    names = {row.clips: f"all ({row.clips})" if row.k == "all" else str(row.k) for row in rows}
    axes.set_xscale("log")
    axes.set_xticks(list(names), list(names.values()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _rates_axes(recall: Axes, far: Axes) -> None:
    recall.set_ylabel("recall at the own alarm level, %")
    recall.set_ylim(0, 101)
    far.set_ylabel("false alarm rate there, %")
    far.set_ylim(0, min(MOST_FAR_PERCENT, far.get_ylim()[1]))
