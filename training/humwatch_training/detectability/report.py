"""Report of detectability: as JSON, as a table, as a page and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from humwatch.durable import replace_durably
from humwatch_training.detectability.curves import Crossing
from humwatch_training.detectability.fault import SimulatedFault
from humwatch_training.detectability.figure import SHARES, DetectionFigure
from humwatch_training.detectability.held_out import HeldOutClip
from humwatch_training.detectability.measure import At, DetectabilityResult

BEHIND: Final = 1.0
"""Distance of a system's half level over another's from which on it is behind, severity units."""
AT_WORDS: Final[dict[At, str]] = {
    "alarm": "at the alarm level",
    "matched": "at a level just above the highest untouched clip",
}
STEM: Final = "detectability"

_PAGE: Final = """# {title}

{heading}. "Half" is the severity from which on half of the clips are detected, with a 90 % bootstrap interval over
recordings; "nine tenths" likewise. "Detected" is the share of the clips over all severities, and the detector that
decided most of these detections.

![Detection rate of each fault against its severity]({picture})

{table}

{notes}"""


@dataclass(frozen=True)
class DetectionGap:
    """A fault that the first system detects later than another one.

    Attributes:
        best: name of the other system.
        by: difference of the severities, in ``unit``; None where the first does not detect it at all.
        at_least: detection by the other system at the lowest severity already, so that the difference may be larger.
    """

    fault: str
    unit: str
    best: str
    by: float | None
    at_least: bool


@dataclass(frozen=True)
class Report:
    """Report of all results.

    Attributes:
        measured: results of each system; the first is the one that others are compared with.
        faults: faults of the catalogue, with the severities that were measured.
        clips: clips that the faults were mixed into.
        seed: seed of faults and bootstrap.
        at: level of a detection in the table and the picture; JSON has both.
    """

    measured: Sequence[DetectabilityResult]
    faults: Sequence[SimulatedFault]
    clips: Sequence[HeldOutClip]
    seed: int
    at: At = "alarm"

    @cached_property
    def crossings(self) -> dict[tuple[str, str, At, float], Crossing]:
        """Severities from which on a share is detected, by system, fault, level and share."""
        return {
            (one.system.name, name, at, share): curve.crossing(
                one.threshold(at), share, one.normal_scores, seed=self.seed
            )
            for one in self.measured
            for name, curve in one.curves.items()
            for at in AT_WORDS
            for share in SHARES
        }

    def behind(self, at: At) -> list[DetectionGap]:
        """Return the faults where the first system is more than 1 dB (or unit) behind the best, at half detected."""
        found = []
        first, *others = (one.system.name for one in self.measured)
        for fault in self.faults:
            reach = {name: _comparable(self.crossings[name, fault.name, at, 0.5]) for name in (first, *others)}
            best = min(reach, key=lambda name: reach[name])
            if reach[first] > reach[best] + BEHIND:
                by = reach[first] - reach[best]
                at_least = self.crossings[best, fault.name, at, 0.5].status == "at_or_below_lowest"
                found.append(DetectionGap(fault.name, fault.unit, best, by if np.isfinite(by) else None, at_least))
        return found

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON's types."""
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

    def _system_json(self, one: DetectabilityResult) -> dict[str, object]:
        manifest = one.system.bundle.manifest
        return {
            "machine_id": manifest.machine_id,
            "version": manifest.version,
            "sha256": one.system.bundle.digest,
            "strategy": manifest.predictor.strategy,
            "score": manifest.scoring.kind,
            "expected_false_alarm_rate": manifest.clip.alarm.expected_rate,
            "untouched_scores": one.normal_scores.tolist(),
            "levels": {at: self._level_json(one, at) for at in AT_WORDS},
            "faults": {fault.name: self._fault_json(one, fault) for fault in self.faults},
        }

    @staticmethod
    def _level_json(one: DetectabilityResult, at: At) -> dict[str, object]:
        found = one.false_alarm_rate(at)
        return {
            "score": one.threshold(at),
            "false_alarms": one.false_alarms(at),
            "false_alarm_rate": found.rate,
            "false_alarm_rate_low": found.low,
            "false_alarm_rate_high": found.high,
        }

    def _fault_json(self, one: DetectabilityResult, fault: SimulatedFault) -> dict[str, object]:
        curve = one.curves[fault.name]
        result: dict[str, object] = {"clips": curve.holding.tolist(), "measured": curve.measured.tolist()}
        for at in AT_WORDS:
            half, most = (asdict(self.crossings[one.system.name, fault.name, at, share]) for share in SHARES)
            threshold = one.threshold(at)
            result[at] = {
                "detected": [None if np.isnan(rate) else float(rate) for rate in curve.rates(threshold)],
                "share_detected": curve.share_detected(threshold),
                "detections_by": curve.detections_by(threshold),
                "half": half,
                "nine_tenths": most,
            }
        return result

    def table(self) -> str:
        """Return lines for a terminal: severities of half and nine tenths detected, and the detector that decided."""
        names = [one.system.name for one in self.measured]
        rows = [["half / nine tenths detected; share of all, mostly by", *names]]
        rows.append(["untouched clips detected", *(self._untouched(one) for one in self.measured)])
        rows.append(["false alarm rate (90 %)", *(self._false_alarm_rate(one) for one in self.measured)])
        for fault in self.faults:
            rows.append([f"{fault.name}, {fault.unit}", *(self._cell(one, fault) for one in self.measured)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([f"{self._heading()}:", *lines, *self._notes()])

    def page(self) -> str:
        """Return the page: Markdown that links to the picture."""
        words = ("half", "nine tenths", "detected")
        machines = dict.fromkeys(one.system.bundle.manifest.machine_id for one in self.measured)
        rows = [
            ["fault", "imitates", *(f"{one.system.name}, {word}" for one in self.measured for word in words)],
            ["---"] * (2 + len(words) * len(self.measured)),
            ["untouched clips detected", "", *self._in_last_column(self._untouched)],
            ["false alarm rate (90 %)", "", *self._in_last_column(self._false_alarm_rate)],
            ["over the alarm level, as calibrated", "", *self._in_last_column(_expected)],
        ]
        for fault in self.faults:
            cells = [
                cell
                for one in self.measured
                for cell in (
                    *(self._described(one.system.name, fault, share) for share in SHARES),
                    self._detected(one, fault),
                )
            ]
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

    def _untouched(self, one: DetectabilityResult) -> str:
        return f"{one.false_alarms(self.at)} of {len(self.clips)}"

    def _in_last_column(self, text: Callable[[DetectabilityResult], str]) -> Iterator[str]:
        """Yield the cells of a row with one figure of each system, in the last of its three columns."""
        for one in self.measured:
            yield from ("", "", text(one))

    def _false_alarm_rate(self, one: DetectabilityResult) -> str:
        found = one.false_alarm_rate(self.at)
        return f"{found.rate:.1%} ({found.low:.1%} to {found.high:.1%})"

    def _cell(self, one: DetectabilityResult, fault: SimulatedFault) -> str:
        reached = (_severity(self.crossings[one.system.name, fault.name, self.at, share]) for share in SHARES)
        return f"{' / '.join(reached)}; {self._detected(one, fault)}"

    def _detected(self, one: DetectabilityResult, fault: SimulatedFault) -> str:
        curve, threshold = one.curves[fault.name], one.threshold(self.at)
        share, deciding = curve.share_detected(threshold), curve.detections_by(threshold)
        if share is None:
            return "not measured"
        return f"{share:.0%}, {next(iter(deciding))}" if deciding else f"{share:.0%}"

    def _described(self, name: str, fault: SimulatedFault, share: float) -> str:
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
        """Draw a panel for each fault: detection rate against severity, for every system."""
        labels = [f"{one.system.name} ({self._untouched(one)} untouched detected)" for one in self.measured]
        halves = {
            (one.system.name, fault.name): self.crossings[one.system.name, fault.name, self.at, 0.5]
            for one in self.measured
            for fault in self.faults
        }
        return DetectionFigure(self.measured, labels, self.faults, self.at, halves).draw(self._heading())


def write_report(report: Report, folder: Path) -> None:
    """Write ``detectability.json``, ``.md`` and ``.png``, each whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(), indent=1) + "\n"
    figure = report.figure()
    replace_durably(folder / f"{STEM}.json", lambda file: file.write(text.encode()))
    replace_durably(folder / f"{STEM}.png", lambda file: figure.savefig(file, format="png"))
    replace_durably(folder / f"{STEM}.md", lambda file: file.write(report.page().encode()))


def _expected(one: DetectabilityResult) -> str:
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
