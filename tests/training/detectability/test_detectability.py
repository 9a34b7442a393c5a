from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch.bundle.manifest import MANIFEST
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import BundleInvalid
from humwatch.recording import score_recording
from humwatch.synthetic import SyntheticMachine
from humwatch_training.cli.detectability import parse_levels
from humwatch_training.cli.main import app
from humwatch_training.datasets.recordings import RecordingEntry, Split, find_recordings, sha256_of
from humwatch_training.detectability.catalogue import CATALOGUE
from humwatch_training.detectability.curves import DetectionCurve, RateEstimate, just_above
from humwatch_training.detectability.fault import Fault
from humwatch_training.detectability.held_out import HeldOutClip, held_out_clips, seen_by
from humwatch_training.detectability.measure import Measured, ScoreBook, Sweep, System, common_ground, measure_systems
from humwatch_training.detectability.report import Report, write_report
from humwatch_training.errors import TrainingDataError
from tests.service_fixtures import constant_graph, make_bundle, neighbour_graph

DOCS = Path(__file__).parents[3] / "docs" / "detectability.md"
MACHINE = SyntheticMachine(seed=3)
CLIP_S = 4.0
BY_NAME = {fault.name: fault for fault in CATALOGUE}
SQUEAL = replace(BY_NAME["squeal"], severities=(-100.0, -90.0, -80.0, 0.0, 10.0, 20.0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems of one machine: a profile of levels, and the error of a prediction from neighbouring frames."""
    root = tmp_path_factory.mktemp("detectability")
    for number in range(12):
        soundfile.write(root / f"{number}.wav", MACHINE.clip(number, CLIP_S), MACHINE.rate_hz)
    recordings = sorted(root.glob("*.wav"))
    make_bundle(root / "models", "pump-levels", "1", constant_graph(), recordings, kind="spectrum_profile")
    make_bundle(root / "models", "pump-error", "1", neighbour_graph(), recordings, kind="mse")
    return root / "models"


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings that calibrated nothing; the second holds two clips."""
    folder = tmp_path_factory.mktemp("held-out")
    for number, seconds in ((100, CLIP_S), (101, 2.2 * CLIP_S), (102, CLIP_S)):
        soundfile.write(folder / f"{number}.wav", MACHINE.clip(number, seconds), MACHINE.rate_hz)
    return folder


@pytest.fixture
def levels_system(models: Path) -> System:
    return System.read(ModelRepository(models), "pump-levels")


@pytest.fixture
def clips(normal: Path) -> list[HeldOutClip]:
    return held_out_clips(find_recordings([normal]), clip_s=CLIP_S, count=3)


def curve(scores: list[list[float]], severities: tuple[float, ...] = (-10.0, 0.0, 10.0)) -> DetectionCurve:
    return DetectionCurve(np.array(severities), np.array(scores), np.arange(len(scores)))


NONE, ALL = -np.inf, np.inf
QUIET = np.zeros(4)


# ---- curves


def test_levels_are_interpolated_between_severities():
    found = curve([[NONE, 0.5, 2], [NONE, 1.0, 2], [NONE, 0.2, 2], [NONE, 0.3, 0.1]])
    np.testing.assert_array_equal(found.rates(1.0), [0.0, 0.25, 0.75])
    half = found.crossing(1.0, 0.5, QUIET)
    assert (half.status, half.severity) == ("reached", pytest.approx(5.0))
    assert half.low is not None
    assert half.low <= 5.0
    assert found.crossing(1.0, 0.9, QUIET).status == "not_reached"
    assert found.crossing(0.25, 0.9, QUIET).status == "not_reached"
    assert found.crossing(0.05, 0.9, QUIET).severity == pytest.approx(-1.0)


def test_a_rate_that_falls_again_counts_from_where_it_stays():
    found = curve([[2, 0, 2], [2, 0, 2]])
    assert found.crossing(1.0, 0.5, QUIET).severity == pytest.approx(5.0)


def test_what_the_grid_does_not_reach_is_said():
    detected_at_once, never = curve([[ALL, ALL, ALL]] * 3), curve([[NONE, NONE, NONE]] * 3)
    assert detected_at_once.crossing(1.0, 0.9, QUIET).status == "at_or_below_lowest"
    assert detected_at_once.crossing(1.0, 0.9, QUIET).severity == -10.0
    assert (never.crossing(1.0, 0.5, QUIET).status, never.crossing(1.0, 0.5, QUIET).severity) == ("not_reached", None)
    assert never.crossing(1.0, 0.5, np.array([2.0, 2.0, 0.0])).status == "always"
    assert never.crossing(1.0, 0.9, np.array([2.0, 2.0, 0.0])).status == "not_reached"


def test_clips_that_cannot_hold_a_fault_are_not_counted():
    found = curve([[0, 2, np.nan], [0, 2, np.nan], [0, np.nan, np.nan], [0, 0, 2]])
    np.testing.assert_array_equal(found.holding, [4, 3, 1])
    np.testing.assert_array_equal(found.rates(1.0), [0, 2 / 3, np.nan])
    assert found.crossing(1.0, 0.5, QUIET).severity == pytest.approx(-10 + 10 * 0.75)
    assert curve([[np.nan] * 3] * 2).crossing(1.0, 0.5, QUIET).status == "not_reached"


def test_the_interval_counts_recordings_and_is_repeatable():
    rng = np.random.default_rng(0)
    limits = rng.normal(0.0, 4.0, (20, 1))
    severities = np.arange(-15.0, 16.0, 3.0)
    scores = np.where(severities >= limits, 2.0, 0.0)
    apart = DetectionCurve(severities, scores, np.arange(20))
    together = DetectionCurve(severities, scores, np.arange(20) // 5)
    one, again = (apart.crossing(1.0, 0.5, QUIET, seed=1) for _ in range(2))
    assert one == again
    assert one.low < one.severity < one.high
    assert 1.0 < one.high - one.low < 8.0
    every = DetectionCurve(severities, scores, np.zeros(20, np.int64)).crossing(1.0, 0.5, QUIET)
    assert every.low == every.high == every.severity
    assert together.crossing(1.0, 0.5, QUIET).severity == one.severity


def test_an_interval_may_end_off_the_grid():
    found = curve([[2, 2, 2], [0, 0, 2], [0, 0, 0], [0, 0, 0]]).crossing(1.0, 0.5, QUIET)
    assert (found.low, found.high) == (None, None)


def test_every_detector_counts_the_detections_that_it_decided():
    scores = np.array([[NONE, 0.9, 1.2, ALL], [0.2, 1.1, 1.5, ALL], [0.3, 1.4, np.nan, np.nan]])
    names = np.array(
        [[None, "lines", "profile", None], ["lines", "rhythm", "rhythm", None], ["lines", None, None, None]]
    )
    found = DetectionCurve(np.arange(4.0), scores, np.arange(3), names)
    assert list(found.detections_by(1.0).items()) == [("rhythm", 2), ("profile", 1)]
    assert found.detections_by(0.25) == {"lines": 2, "rhythm": 2, "profile": 1}
    assert found.detections_by(2.0) == {}
    assert curve([[0, 2, 2]]).detections_by(1.0) == {}


def test_the_share_detected_is_over_all_severities_that_clips_can_hold():
    scores = [[0, 2, ALL, np.nan], [NONE, 0, 2, np.nan]]
    assert curve(scores, (0.0, 1.0, 2.0, 3.0)).share_detected(1.0) == pytest.approx((0 + 0.5 + 1) / 3)
    assert curve([[np.nan] * 3] * 2).share_detected(1.0) is None


def test_the_interval_of_a_rate_is_exact():
    none, one = RateEstimate.of(0, 10), RateEstimate.of(1, 10)
    assert (none.rate, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - 0.05 ** (1 / 10)))
    assert (one.rate, one.low) == (0.1, pytest.approx(1 - 0.95 ** (1 / 10)))
    assert one.high == pytest.approx(0.39416, abs=1e-5)  # tables of Clopper and Pearson
    assert (RateEstimate.of(3, 3).low, RateEstimate.of(3, 3).high) == (pytest.approx(0.05 ** (1 / 3)), 1.0)


def test_just_above_is_reached_by_no_untouched_clip():
    scores = np.array([-0.1, 0.7, 0.3])
    assert not (scores >= just_above(scores)).any()
    assert just_above(scores) == pytest.approx(0.7 + 0.05 * 0.4)
    assert 0.5 < just_above(np.array([0.5])) < 0.5 + 1e-9


# ---- held-out clips


def test_clips_come_from_as_many_recordings_as_there_are(normal: Path):
    files = find_recordings([normal])
    clips = held_out_clips(files, clip_s=CLIP_S, count=10)
    assert [clip.recording for clip in clips] == ["100.wav", "101.wav", "102.wav", "101.wav"]
    assert all(clip.samples.shape == (4 * 16_000,) and clip.samples.dtype == np.float32 for clip in clips)
    assert [clip.recording for clip in held_out_clips(files, clip_s=CLIP_S, count=2)] == [
        "100.wav",
        "101.wav",
    ]
    assert not np.array_equal(clips[1].samples, clips[3].samples)


def test_what_a_run_has_seen_is_left_out(normal: Path, tmp_path: Path):
    files = find_recordings([normal])
    entries = [RecordingEntry(path=name, sha256=sha256_of(path)) for name, path in files.items()]
    split = tmp_path / "split.json"
    split.write_text(Split(train=(entries[0],), calibration=(entries[1],), test=(entries[2],)).model_dump_json())
    clips = held_out_clips(files, clip_s=CLIP_S, count=10, known=seen_by([split]))
    assert [clip.recording for clip in clips] == ["102.wav"]
    known = frozenset(entry.sha256 for entry in entries)
    with pytest.raises(TrainingDataError, match="3 of which were trained or calibrated on"):
        held_out_clips(files, clip_s=CLIP_S, count=10, known=known)
    split.write_bytes(b"\xff")
    with pytest.raises(TrainingDataError, match="not a split"):
        seen_by([split])


def test_copies_count_once_and_short_recordings_not_at_all(normal: Path, tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes((normal / "100.wav").read_bytes())
    files = find_recordings([tmp_path])
    assert len(held_out_clips(files, clip_s=CLIP_S, count=10)) == 1
    with pytest.raises(TrainingDataError, match=r"no clip of 60 s can be cut from 2 recording"):
        held_out_clips(files, clip_s=60.0, count=10)


def test_a_rate_too_low_for_the_faults_is_named(tmp_path: Path):
    soundfile.write(tmp_path / "low.wav", MACHINE.clip(0, CLIP_S)[::2], 8_000)
    with pytest.raises(TrainingDataError, match=r"low\.wav: 8000 Hz"):
        held_out_clips(find_recordings([tmp_path]), clip_s=CLIP_S, count=1)


# ---- scoring


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_clip_scores_what_the_recording_scores(levels_system: System, tmp_path: Path, rate_hz: int):
    samples = SyntheticMachine(seed=3, rate_hz=rate_hz).clip(200, CLIP_S)
    soundfile.write(tmp_path / "clip.wav", samples, rate_hz, subtype="FLOAT")
    bundle = levels_system.bundle
    expected = score_recording(
        tmp_path / "clip.wav",
        bundle.manifest.listening,
        lambda rate, channel: bundle.monitor(levels_system.predictor, source_rate_hz=rate, channel=channel),
    )
    assert expected.scale == "clip"
    assert levels_system.score(samples, rate_hz) == (expected.worst.score, "profile")


def test_samples_beyond_full_scale_are_heard_as_they_are(levels_system: System):
    loud = MACHINE.clip(200, CLIP_S) * np.float32(100)
    assert np.abs(loud).max() > 2.0
    assert levels_system.score(loud, 16_000).score > levels_system.score(np.clip(loud, -1, 1), 16_000).score


def test_what_cannot_be_judged_is_no_detection_and_no_normal_clip(
    levels_system: System, clips: list[HeldOutClip], tmp_path: Path
):
    silence = np.zeros_like(clips[0].samples)
    book = ScoreBook(tmp_path / "scores.jsonl")
    assert book.score(levels_system, silence, 16_000) == (-np.inf, None)
    assert ScoreBook(tmp_path / "scores.jsonl").score(levels_system, silence, 16_000) == (-np.inf, None)
    for unfit in (replace(clips[0], samples=silence), replace(clips[0], sample_bits=8)):
        with pytest.raises(TrainingDataError, match=r"100\.wav: pump-levels@1 cannot judge it"):
            Sweep(levels_system, [unfit], book).measure([])


def test_too_short_a_sound_is_named(levels_system: System):
    with pytest.raises(TrainingDataError, match="less than a clip"):
        levels_system.score(MACHINE.clip(0, 2.0), 16_000)


def test_loud_faults_are_detected_and_faint_ones_are_not(models: Path, clips: list[HeldOutClip], tmp_path: Path):
    systems = [System.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error@1")]
    told: list[tuple[str, int, int]] = []
    measured = measure_systems(
        systems,
        clips,
        [replace(SQUEAL, severities=(-100.0, -90.0, -80.0, 20.0, 50.0, 60.0))],  # an error of neighbours hears it late
        ScoreBook(tmp_path / "scores.jsonl"),
        seed=0,
        progress=lambda name, done, total: told.append((name, done, total)),
    )
    for one in measured:
        assert one.false_alarms("alarm") == one.false_alarms("matched") == 0
        for at in ("alarm", "matched"):
            np.testing.assert_array_equal(one.curves["squeal"].rates(one.threshold(at))[[0, -1]], [0.0, 1.0])
    assert [row for row in told if row[1] == row[2]] == [("pump-levels@1", 21, 21), ("pump-error@1", 21, 21)]


def test_every_system_hears_the_same_sounds(models: Path, clips: list[HeldOutClip], tmp_path: Path):
    systems = [System.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error")]
    fault = replace(BY_NAME["rub"], severities=(-10.0, 0.0))
    for system in systems:
        Sweep(system, clips, ScoreBook(tmp_path / system.name)).measure([fault])
    books = [(tmp_path / system.name).read_text().splitlines() for system in systems]
    heard = [{json.loads(line)["sound"] for line in lines} for lines in books]
    assert heard[0] == heard[1]
    assert len(heard[0]) == 3 * (1 + 2)


def test_the_sweep_stops_where_nothing_changes_any_more(
    levels_system: System, clips: list[HeldOutClip], tmp_path: Path
):
    fault = replace(SQUEAL, severities=(-110.0, -100.0, -90.0, -80.0, 20.0, 30.0, 40.0, 50.0))
    book = ScoreBook(tmp_path / "scores.jsonl")
    squeal = Sweep(levels_system, clips, book).measure([fault]).curves["squeal"]
    np.testing.assert_array_equal(squeal.measured, [False, False, True, True, True, True, False, False])
    np.testing.assert_array_equal(squeal.rates(1.0), [0, 0, 0, 0, 1, 1, 1, 1])
    assert book.fresh == 3 * (1 + 4)


def test_severities_that_a_clip_cannot_hold_are_left_out(
    levels_system: System, clips: list[HeldOutClip], tmp_path: Path
):
    fault = replace(BY_NAME["shifted_harmonic"], severities=(-40.0, 3.5, 10.0))
    limits = [fault.limit(clip.samples, 16_000, clip=i) for i, clip in enumerate(clips)]
    found = Sweep(levels_system, clips, ScoreBook(tmp_path / "s")).measure([fault]).curves[fault.name]
    np.testing.assert_array_equal(np.isnan(found.scores), np.array(limits)[:, None] < found.severities)
    assert np.isnan(found.scores[:, -1]).all()


def test_a_stopped_report_goes_on_where_it_was(levels_system: System, clips: list[HeldOutClip], tmp_path: Path):
    path = tmp_path / "scores.jsonl"
    first = Sweep(levels_system, clips, ScoreBook(path)).measure([SQUEAL])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], "[]", lines[5][:40]]))  # stopped in the middle of a line
    book = ScoreBook(path)
    again = Sweep(levels_system, clips, book).measure([SQUEAL])
    assert book.fresh == len(lines) - 5
    np.testing.assert_array_equal(again.curves["squeal"].scores, first.curves["squeal"].scores)
    whole = ScoreBook(path)
    Sweep(levels_system, clips, whole).measure([SQUEAL])
    assert whole.fresh == 0


def test_who_decided_is_kept_and_scores_of_before_are_still_read(
    levels_system: System, clips: list[HeldOutClip], tmp_path: Path
):
    path = tmp_path / "scores.jsonl"
    fault = replace(SQUEAL, severities=(-100.0, 0.0, 20.0))
    first = Sweep(levels_system, clips, ScoreBook(path)).measure([fault]).curves["squeal"]
    assert first.detections_by(1.0) == {"profile": 6}
    again = Sweep(levels_system, clips, ScoreBook(path)).measure([fault]).curves["squeal"]
    np.testing.assert_array_equal(again.detectors, first.detectors)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line.pop("detector") for line in lines} == {"profile"}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    book = ScoreBook(path)
    old = Sweep(levels_system, clips, book).measure([fault]).curves["squeal"]
    assert book.fresh == 0
    np.testing.assert_array_equal(old.scores, first.scores)
    assert old.detections_by(1.0) == {}
    path.write_text("".join(f"{json.dumps({**line, 'detector': 'ghost'})}\n" for line in lines))
    assert Sweep(levels_system, clips, ScoreBook(path)).measure([fault]).curves["squeal"].detections_by(1.0) == {}


def test_systems_that_cannot_be_compared_are_refused(models: Path):
    one, other = (System.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error"))
    assert common_ground([one, other], None) == (CLIP_S, 0)
    assert common_ground([one, other], 2) == (CLIP_S, 2)
    manifest = other.bundle.manifest
    elsewhere = replace(other, bundle=replace(other.bundle, manifest=manifest.model_copy(update={"channel": 1})))
    with pytest.raises(BundleInvalid, match="different channels; choose one with --channel"):
        common_ground([one, elsewhere], None)
    assert common_ground([one, elsewhere], 1) == (CLIP_S, 1)
    windows = manifest.windows.model_copy(update={"clip_seconds": 10.0})
    longer = replace(other, bundle=replace(other.bundle, manifest=manifest.model_copy(update={"windows": windows})))
    with pytest.raises(BundleInvalid, match="clips of different lengths"):
        common_ground([one, longer], None)


# ---- report


@pytest.fixture
def make_report(models: Path, clips: list[HeldOutClip]) -> Callable[..., Report]:
    """A report of two systems with curves that are given."""

    def make(first: DetectionCurve, second: DetectionCurve, fault: Fault = BY_NAME["rub"]) -> Report:
        fault = replace(fault, severities=tuple(first.severities.tolist()))
        systems = [System.read(ModelRepository(models), name) for name in ("pump-levels", "pump-error")]
        measured = [
            Measured(system, np.array([0.1, -0.2, 0.4]), {fault.name: found})
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


# ---- the command


def detectability(*words: object) -> Result:
    return CliRunner().invoke(app, ["detectability", *map(str, words)])


def test_the_command_compares_systems_and_resumes(models: Path, normal: Path, tmp_path: Path):
    words = ("--normal", normal, "--models", models, "--machine", "pump-levels", "--machine", "pump-error@1")
    words = (*words, "--machine", "pump-error", "--clips", 2, "--faults", "rub,level_drift", "--levels", "-20:10:15")
    words = (*words, "--out", tmp_path / "out")
    result = detectability(*words, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [system["machine_id"] for system in told["systems"]] == ["pump-levels", "pump-error"]
    assert told["faults"][0]["severities"] == [-20.0, -5.0, 10.0]
    assert told["faults"][1]["severities"] == list(BY_NAME["level_drift"].severities)
    assert told["systems"][0]["faults"]["rub"]["alarm"]["half"]["status"] != "not_reached"
    assert told == json.loads((tmp_path / "out" / "detectability.json").read_text())
    scored = (tmp_path / "out" / "scores.jsonl").read_text()
    again = detectability(*words, "--at", "matched")
    assert again.exit_code == 0, again.output
    assert again.stdout.startswith("Detected at a level just above the highest untouched clip; 2 clips of 2 recordings")
    assert (tmp_path / "out" / "scores.jsonl").read_text() == scored


def test_the_report_goes_beside_the_versions_and_harms_no_bundle(models: Path, normal: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    words = ("--models", models, "--machine", "pump-levels", "--clips", 1, "--faults", "rub", "--levels", "0:10:10")
    result = detectability("--normal", normal, *words, "--out", tmp_path / "out", "--with-bundle")
    assert result.exit_code == 0, result.output
    beside = models / "pump-levels" / "detectability" / "1"
    assert sorted(path.suffix for path in beside.iterdir()) == [".json", ".md", ".png"]
    assert all(path.read_bytes() == data for path, data in before.items())
    assert ModelRepository(models).machine_ids() == ["pump-error", "pump-levels"]
    assert ModelRepository(models).versions("pump-levels") == ["1"]
    assert (models / "pump-levels" / "1" / MANIFEST).is_file()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--machine", "nobody"), "machine_not_found"),
        (("--machine", "pump-levels@7"), "version_not_found"),
        (("--machine", "pump-levels", "--channel", 3), "audio_channel_missing"),
        (("--machine", "pump-levels", "--split", "gone.json"), "os_error"),
    ],
)
def test_failures_are_named(models: Path, normal: Path, tmp_path: Path, words: tuple[object, ...], code: str):
    result = detectability("--normal", normal, "--models", models, "--out", tmp_path, *words, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == code


def test_anomalous_recordings_are_refused(models: Path, normal: Path, tmp_path: Path):
    (tmp_path / "abnormal").mkdir()
    (tmp_path / "abnormal" / "0.wav").write_bytes((normal / "100.wav").read_bytes())
    result = detectability("--normal", tmp_path / "abnormal", "--models", models, "--machine", "pump-levels")
    assert result.exit_code == 1
    assert "error: training_data: " in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--faults", "rust"),
        ("--levels", "0:10"),
        ("--levels", "10:0:5"),
        ("--levels", "0:10:0"),
        ("--levels", "0:nan:1"),
        ("--levels", "0:1000:1"),
        ("--at", "night"),
        ("--clips", 0),
    ],
)
def test_bad_usage_has_exit_code_2(models: Path, normal: Path, words: tuple[object, ...]):
    result = detectability("--normal", normal, "--models", models, "--machine", "pump-levels", *words)
    assert result.exit_code == 2


def test_levels_are_a_grid():
    assert parse_levels("-30:10:5") == tuple(float(level) for level in range(-30, 11, 5))
    assert parse_levels("-1:0.2:0.5") == (-1.0, -0.5, 0.0)


def test_every_fault_is_documented_with_its_figures():
    rows = {row.split("`")[1]: row for row in DOCS.read_text("utf-8").splitlines() if row.startswith("| `")}
    assert set(rows) == set(BY_NAME)
    for name, fault in BY_NAME.items():
        figures = [value for value in fault.parameters.values() if isinstance(value, float)]
        told = {float(figure) for figure in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", rows[name].replace(",", ""))}
        assert set(figures) <= told, name
        assert f"{fault.severities[0]:g} to {fault.severities[-1]:g} {fault.unit}" in rows[name]
