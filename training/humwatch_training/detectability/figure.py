"""Picture of a monitor's detection rate against severity, a panel for each fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from humwatch_training.detectability.curves import Crossing
from humwatch_training.detectability.fault import SimulatedFault
from humwatch_training.detectability.measure import At, DetectabilityResult

SHARES: Final = (0.5, 0.9)

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of Okabe and Ito, distinct also for people with red-green colour blindness."""
_MARKERS: Final = "osD^vPX"
_LINES: Final = ("-", "--", "-.", ":")
_INK: Final = "#222222"
_FAINT: Final = "#767676"
_UNREACHED: Final = "#eeeeee"
_COLUMNS: Final = 3


@dataclass(frozen=True)
class DetectionFigure:
    """Detection rates of several systems, to be drawn.

    Attributes:
        measured: results of each system.
        labels: labels of the systems.
        faults: faults that were measured.
        at: level of a detection.
        halves: severities from which on half are detected, by names of system and fault.
    """

    measured: Sequence[DetectabilityResult]
    labels: Sequence[str]
    faults: Sequence[SimulatedFault]
    at: At
    halves: Mapping[tuple[str, str], Crossing]

    def draw(self, heading: str) -> Figure:
        """Draw a panel for each fault, a line for each system."""
        rows = -(-len(self.faults) // _COLUMNS)
        figure = Figure(figsize=(11.5, 1.1 + 2.7 * rows), dpi=110, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).ravel()
        for panel, fault in zip(panels, self.faults, strict=False):
            self._draw(panel, fault)
        for panel in panels[len(self.faults) :]:
            panel.set_axis_off()
        for panel in panels[::_COLUMNS]:
            panel.set_ylabel("detected, %", color=_INK)
        figure.suptitle(heading, fontsize=12, color=_INK)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        return figure

    def _draw(self, axes: Axes, fault: SimulatedFault) -> None:
        for share in SHARES:
            axes.axhline(100 * share, color=_FAINT, linewidth=0.8, linestyle=(0, (1, 3)))
        for number in range(len(self.measured)):
            self._draw_curve(axes, fault, number)
        axes.set_title(fault.name.replace("_", " "), loc="left", fontsize=11, color=_INK)
        axes.set_xlabel(f"severity, {fault.unit}", color=_INK)
        usable = np.flatnonzero(self.measured[0].curves[fault.name].usable)
        beyond = fault.severities[usable[-1]] if usable.size else fault.severities[0]
        if beyond < fault.severities[-1]:
            axes.axvspan(beyond, fault.severities[-1], color=_UNREACHED, linewidth=0, zorder=0)
            axes.text(fault.severities[-1], 2, "no more to lose ", ha="right", fontsize=9, color=_FAINT)
        axes.set_xlim(fault.severities[0], fault.severities[-1])
        axes.set_ylim(-6, 106)
        axes.set_yticks([0, 50, 90])
        axes.spines[["top", "right"]].set_visible(False)

    def _draw_curve(self, axes: Axes, fault: SimulatedFault, number: int) -> None:
        one = self.measured[number]
        curve = one.curves[fault.name]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(
            curve.severities,
            100 * curve.rates(one.threshold(self.at)),
            color=colour,
            linestyle=_LINES[number % len(_LINES)],
            linewidth=1.4 + 0.9 * (len(self.measured) - 1 - number),  # curves that coincide stay visible
            label=self.labels[number],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4.5,
            markevery=np.flatnonzero(curve.measured).tolist(),
            clip_on=False,
        )
        half = self.halves[one.system.name, fault.name]
        if half.status == "reached":
            low, high = curve.severities[curve.usable][[0, -1]]
            ends = [low if half.low is None else half.low, high if half.high is None else half.high]
            axes.plot(ends, [50, 50], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
