"""The report of what a monitor would hear: as JSON, as a table, as a page and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from humwatch.durable import replace_durably
from humwatch_training.detectability import At, Measured
from humwatch_training.detection_curves import Crossing, DetectionCurve
from humwatch_training.fault import Fault
from humwatch_training.held_out import HeldOutClip

SHARES: Final = (0.5, 0.9)
BEHIND: Final = 1.0
"""A system is said to be behind another when its half level is further than this above the other's, severity units."""
AT_WORDS: Final[dict[At, str]] = {
    "alarm": "at the alarm level",
    "matched": "at a level just above the highest untouched clip",
}
STEM: Final = "detectability"

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which those who tell red from green badly can tell apart."""
_MARKERS: Final = "osD^vPX"
_LINES: Final = ("-", "--", "-.", ":")
_INK: Final = "#222222"
_FAINT: Final = "#767676"
_UNREACHED: Final = "#eeeeee"
_COLUMNS: Final = 3
_PAGE: Final = """# {title}

{heading}. "Half" is the severity from which on half of the clips are detected, with a 90 % bootstrap interval over
recordings; "nine tenths" likewise.

![Detection rate of each fault against its severity]({picture})

{table}

{notes}"""


@dataclass(frozen=True)
class Behind:
    """A fault that the first system hears later than another one.

    Attributes:
        best: the other one.
        by: how much later, in ``unit``; None where the first does not hear it at all.
        at_least: whether the other one hears it at the lowest severity already, so that it may be more.
    """

    fault: str
    unit: str
    best: str
    by: float | None
    at_least: bool


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Attributes:
        measured: by each system; the first is the one that others are compared with.
        faults: of the catalogue, with the severities that were measured.
        clips: that they were mixed into.
        seed: of faults and bootstrap.
        at: which level the table and the picture are for; JSON has both.
    """

    measured: Sequence[Measured]
    faults: Sequence[Fault]
    clips: Sequence[HeldOutClip]
    seed: int
    at: At = "alarm"

    @cached_property
    def crossings(self) -> dict[tuple[str, str, At, float], Crossing]:
        """From which severity on a share is detected: by system, fault, level and share."""
        return {
            (one.system.name, name, at, share): curve.crossing(
                one.threshold(at), share, one.normal_scores, seed=self.seed
            )
            for one in self.measured
            for name, curve in one.curves.items()
            for at in AT_WORDS
            for share in SHARES
        }

    def behind(self, at: At) -> list[Behind]:
        """Where the first system is more than 1 dB (or unit) behind the best of the others, at half detected."""
        found = []
        first, *others = (one.system.name for one in self.measured)
        for fault in self.faults:
            reach = {name: _comparable(self.crossings[name, fault.name, at, 0.5]) for name in (first, *others)}
            best = min(reach, key=lambda name: reach[name])
            if reach[first] > reach[best] + BEHIND:
                by = reach[first] - reach[best]
                at_least = self.crossings[best, fault.name, at, 0.5].status == "at_or_below_lowest"
                found.append(Behind(fault.name, fault.unit, best, by if np.isfinite(by) else None, at_least))
        return found

    def as_json(self) -> dict[str, object]:
        """Everything, as JSON knows it."""
        return {
            "schema_version": 1,
            "created_by": f"humwatch-train {version('humwatch')}",
            "at": self.at,
            "seed": self.seed,
            "clips": [{"recording": clip.recording, "sha256": clip.sha256} for clip in self.clips],
            "faults": [
                {
                    "name": fault.name,
                    "imitates": fault.imitates,
                    "unit": fault.unit,
                    "severities": list(fault.severities),
                    "parameters": fault.parameters,
                }
                for fault in self.faults
            ],
            "systems": [self._system_json(one) for one in self.measured],
            "behind": {at: [asdict(row) for row in self.behind(at)] for at in AT_WORDS},
        }

    def _system_json(self, one: Measured) -> dict[str, object]:
        manifest = one.system.bundle.manifest
        return {
            "machine_id": manifest.machine_id,
            "version": manifest.version,
            "sha256": one.system.bundle.digest,
            "strategy": manifest.predictor.strategy,
            "score": manifest.scoring.kind,
            "expected_false_alarm_rate": manifest.clip.alarm.expected_rate,
            "untouched_scores": one.normal_scores.tolist(),
            "levels": {at: {"score": one.threshold(at), "false_alarms": one.false_alarms(at)} for at in AT_WORDS},
            "faults": {fault.name: self._fault_json(one, fault) for fault in self.faults},
        }

    def _fault_json(self, one: Measured, fault: Fault) -> dict[str, object]:
        curve = one.curves[fault.name]
        result: dict[str, object] = {"clips": curve.holding.tolist(), "measured": curve.measured.tolist()}
        for at in AT_WORDS:
            half, most = (asdict(self.crossings[one.system.name, fault.name, at, share]) for share in SHARES)
            rates = [None if np.isnan(rate) else float(rate) for rate in curve.rates(one.threshold(at))]
            result[at] = {"detected": rates, "half": half, "nine_tenths": most}
        return result

    def table(self) -> str:
        """Lines for a terminal: from which severity on half and nine tenths are detected."""
        names = [one.system.name for one in self.measured]
        rows = [["half / nine tenths detected", *names]]
        rows.append(["untouched clips detected", *(self._untouched(one) for one in self.measured)])
        for fault in self.faults:
            rows.append([f"{fault.name}, {fault.unit}", *(self._cell(name, fault) for name in names)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([f"{self._heading()}:", *lines, *self._notes()])

    def page(self) -> str:
        """Markdown that links to the picture."""
        names = [one.system.name for one in self.measured]
        machines = dict.fromkeys(one.system.bundle.manifest.machine_id for one in self.measured)
        rows = [
            ["fault", "imitates", *(f"{name}, {word}" for name in names for word in ("half", "nine tenths"))],
            ["---"] * (2 + 2 * len(names)),
            ["untouched clips detected", "", *(text for one in self.measured for text in (self._untouched(one), ""))],
            ["over the alarm level, as calibrated", "", *(t for one in self.measured for t in (_expected(one), ""))],
        ]
        for fault in self.faults:
            cells = [self._described(name, fault, share) for name in names for share in SHARES]
            rows.append([f"`{fault.name}`, {fault.unit}", fault.imitates, *cells])
        return _PAGE.format(
            title=f"What {', '.join(machines)} would hear",
            heading=self._heading(),
            picture=f"{STEM}.png",
            table="\n".join(f"| {' | '.join(row)} |" for row in rows),
            notes="".join(f"- {note}\n" for note in self._notes()),
        )

    def _heading(self) -> str:
        recordings = len({clip.sha256 for clip in self.clips})
        return f"Detected {AT_WORDS[self.at]}; {len(self.clips)} clips of {recordings} recordings, seed {self.seed}"

    def _untouched(self, one: Measured) -> str:
        return f"{one.false_alarms(self.at)} of {len(self.clips)}"

    def _cell(self, name: str, fault: Fault) -> str:
        return " / ".join(_severity(self.crossings[name, fault.name, self.at, share]) for share in SHARES)

    def _described(self, name: str, fault: Fault, share: float) -> str:
        crossing = self.crossings[name, fault.name, self.at, share]
        if crossing.status != "reached":
            return _severity(crossing)
        low = f"below {fault.severities[0]:g}" if crossing.low is None else f"{crossing.low:.1f}"
        high = "not reached" if crossing.high is None else f"{crossing.high:.1f}"
        return f"{_severity(crossing)} ({low} to {high})"

    def _notes(self) -> Iterator[str]:
        for fault in self.faults:
            curve = self.measured[0].curves[fault.name]
            if not curve.usable.all():
                highest = curve.severities[curve.usable].max(initial=-np.inf)
                yield (
                    f"{fault.name}: measured up to {highest:g} {fault.unit}; most clips have no more of it to lose"
                    if np.isfinite(highest)
                    else f"{fault.name}: not measured; these clips have too little of it to lose"
                )
        first = self.measured[0].system.name
        for row in self.behind(self.at):
            if row.by is None:
                yield f"{row.fault}: half are detected by {row.best}, never by {first}"
            else:
                least = "at least " if row.at_least else ""
                yield f"{row.fault}: {first} needs {least}{row.by:.1f} {row.unit} more than {row.best}"

    def figure(self) -> Figure:
        """A panel for each fault: detection rate against severity, for every system."""
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
        figure.suptitle(self._heading(), fontsize=12, color=_INK)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        return figure

    def _draw(self, axes: Axes, fault: Fault) -> None:
        for share in SHARES:
            axes.axhline(100 * share, color=_FAINT, linewidth=0.8, linestyle=(0, (1, 3)))
        for number, one in enumerate(self.measured):
            self._draw_curve(axes, one, fault, number)
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

    def _draw_curve(self, axes: Axes, one: Measured, fault: Fault, number: int) -> None:
        curve: DetectionCurve = one.curves[fault.name]
        rates = 100 * curve.rates(one.threshold(self.at))
        colour = _COLOURS[number % len(_COLOURS)]
        label = f"{one.system.name} ({self._untouched(one)} untouched detected)"
        axes.plot(
            curve.severities,
            rates,
            color=colour,
            linestyle=_LINES[number % len(_LINES)],
            linewidth=1.4 + 0.9 * (len(self.measured) - 1 - number),  # curves that coincide stay visible
            label=label,
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4.5,
            markevery=np.flatnonzero(curve.measured).tolist(),
            clip_on=False,
        )
        half = self.crossings[one.system.name, fault.name, self.at, 0.5]
        if half.status == "reached":
            low, high = curve.severities[curve.usable][[0, -1]]
            ends = [low if half.low is None else half.low, high if half.high is None else half.high]
            axes.plot(ends, [50, 50], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")


def write_report(report: Report, folder: Path) -> None:
    """Write ``detectability.json``, ``.md`` and ``.png``, each whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(), indent=1) + "\n"
    figure = report.figure()
    replace_durably(folder / f"{STEM}.json", lambda file: file.write(text.encode()))
    replace_durably(folder / f"{STEM}.png", lambda file: figure.savefig(file, format="png"))
    replace_durably(folder / f"{STEM}.md", lambda file: file.write(report.page().encode()))


def _expected(one: Measured) -> str:
    return f"{one.system.bundle.manifest.clip.alarm.expected_rate:.1%} of normal clips"


def _comparable(crossing: Crossing) -> float:
    if crossing.severity is not None:
        return crossing.severity
    return np.inf


def _severity(crossing: Crossing) -> str:
    if crossing.status == "at_or_below_lowest":
        return f"{crossing.severity:g} or less"
    if crossing.severity is None:
        return {"not_reached": "not reached", "always": "also when untouched"}[crossing.status]
    return f"{crossing.severity:.1f}"
