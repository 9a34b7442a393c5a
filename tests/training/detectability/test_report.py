from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from humwatch.bundle.repository import ModelRepository
from humwatch_training.detectability.curves import DetectionCurve
from humwatch_training.detectability.fault import SimulatedFault
from humwatch_training.detectability.held_out import HeldOutClip
from humwatch_training.detectability.measure import DetectabilityResult, SystemUnderTest
from humwatch_training.detectability.report import Report, write_report
from tests.training.detectability.conftest import BY_NAME, NONE, curve


@pytest.fixture
def make_report(models: Path, clips: list[HeldOutClip]) -> Callable[..., Report]:
    """A report of two systems with curves that are given."""

    def make(first: DetectionCurve, second: DetectionCurve, fault: SimulatedFault = BY_NAME["rub"]) -> Report:
        fault = replace(fault, severities=tuple(first.severities.tolist()))
        systems = [SystemUnderTest.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error")]
        measured = [
            DetectabilityResult(system, np.array([0.1, -0.2, 0.4]), {fault.name: found})
            for system, found in zip(systems, (first, second), strict=True)
        ]
        return Report(measured, [fault], clips, seed=0)

    return make


def test_where_the_first_system_is_behind_is_said(make_report: Callable[..., Report]):
    late, early, deaf = curve([[0, 0, 2]] * 3), curve([[0, 2, 2]] * 3), curve([[0, 0, 0]] * 3)
    report = make_report(late, early)
    (row,) = report.behind("alarm")
    assert (row.fault, row.best, row.by) == ("rub", "pump-error@1", pytest.approx(10.0))
    assert "rub: pump-levels@1 needs 10.0 dB more than pump-error@1" in report.table()
    assert make_report(early, late).behind("alarm") == []
    assert "needs at least 15.0 dB more" in make_report(late, curve([[2, 2, 2]] * 3)).table()
    assert make_report(deaf, early).behind("alarm")[0].by is None
    assert "half are detected by pump-error@1, never by pump-levels@1" in make_report(deaf, early).page()
    assert make_report(deaf, deaf).behind("alarm") == []


def test_the_matched_level_is_each_systems_own(make_report: Callable[..., Report]):
    report = make_report(curve([[0.3, 0.5, 0.9]] * 3), curve([[0.3, 0.3, 0.3]] * 3))
    first = report.as_json()["systems"][0]
    assert first["levels"]["alarm"] == {
        "score": 1.0,
        "false_alarms": 0,
        "false_alarm_rate": 0.0,
        "false_alarm_rate_low": 0.0,
        "false_alarm_rate_high": pytest.approx(1 - 0.05 ** (1 / 3)),
    }
    assert first["levels"]["matched"]["score"] == pytest.approx(0.4 + 0.05 * 0.3)
    rub = first["faults"]["rub"]
    assert rub["alarm"]["half"]["status"] == "not_reached"
    assert rub["matched"]["detected"] == [0.0, 1.0, 1.0]
    assert rub["matched"]["half"]["severity"] == pytest.approx(-5.0)


def test_a_report_is_a_table_a_page_and_a_picture(make_report: Callable[..., Report], tmp_path: Path):
    unheld = curve([[NONE, 0.5, np.nan], [0.3, 2, np.nan], [0, 2, np.nan]])
    report = make_report(unheld, unheld, BY_NAME["missing_strokes"])
    table = report.table().splitlines()
    assert table[0] == "Detected at the alarm level; 3 clips of 3 recordings, seed 0:"
    assert re.fullmatch(r"false alarm rate \(90 %\)( +0\.0% \(0\.0% to 63\.2%\)){2}", table[3])
    cell = r" +-2\.5 / not reached; 33%"  # none and two thirds of the clips, at the two severities that they can hold
    assert re.fullmatch(rf"missing_strokes, dB({cell}){{2}}", table[4])
    assert table[5] == "missing_strokes: measured up to 0 dB; most clips have no more of it to lose"
    write_report(report, tmp_path / "deep" / "report")
    written = {path.name for path in (tmp_path / "deep" / "report").iterdir()}
    assert written == {"detectability.json", "detectability.md", "detectability.png"}
    assert (tmp_path / "deep" / "report" / "detectability.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "deep" / "report" / "detectability.md").read_text()
    assert "](detectability.png)" in page
    assert "| `missing_strokes`, dB |" in page
    data = json.loads((tmp_path / "deep" / "report" / "detectability.json").read_text())
    assert data["systems"][0]["faults"]["missing_strokes"]["clips"] == [3, 3, 0]
    assert data["systems"][0]["faults"]["missing_strokes"]["alarm"]["detected"] == [0.0, pytest.approx(2 / 3), None]


def test_each_fault_names_the_detector_that_decided_most(make_report: Callable[..., Report]):
    scores = curve([[0, 2, 2], [0, 0, 2]])
    names = np.array([[None, "rhythm", "rhythm"], [None, "lines", "profile"]])
    report = make_report(replace(scores, detectors=names), scores)
    rub, other = (system["faults"]["rub"]["alarm"] for system in report.as_json()["systems"])
    assert (rub["share_detected"], rub["detections_by"]) == (0.5, {"rhythm": 2, "profile": 1})
    assert (other["share_detected"], other["detections_by"]) == (0.5, {})
    assert re.search(r"^rub, dB .*; 50%, rhythm .*; 50%$", report.table(), re.MULTILINE)
    (row,) = [line for line in report.page().splitlines() if line.startswith("| `rub`")]
    assert [row.split(" | ")[i].strip(" |") for i in (4, 7)] == ["50%, rhythm", "50%"]
    untouched, rate = (line.split(" | ") for line in report.page().splitlines()[9:11])
    assert {len(line) for line in (untouched, rate)} == {len(row.split(" | "))}


def test_a_picture_has_a_panel_for_each_fault_and_a_line_for_each_system(make_report: Callable[..., Report]):
    report = make_report(curve([[0, 0, 2]] * 3), curve([[0, 2, 2]] * 3))
    panels = [axes for axes in report.figure().axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == ["rub"]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in panels[0].lines if "@" in str(line.get_label())}
    assert drawn == {
        "pump-levels@1 (0 of 3 untouched detected)": [0, 0, 100],
        "pump-error@1 (0 of 3 untouched detected)": [0, 100, 100],
    }
