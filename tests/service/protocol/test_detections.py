"""Which detector decided is said with its explanation: in an answer, of an alarm, in words and in a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner
from websockets.sync.client import connect

from humwatch.arrays import Float32
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.monitor import ScaleScore
from humwatch.scoring.explain import BandRange
from humwatch_service.cli.main import app
from humwatch_service.protocol.detections import DETECTORS, Detection, explanation_text, line_text, rhythm_text
from tests.detected_sounds import faster, knocked

CLIP_S = 10.0
KNOCKS_S = (3.0, 6.0)
BANDS = (BandRange(low_hz=900.0, high_hz=1100.0, contribution=0.8, departure_db=6.5),)


def stretch(start_s: float, end_s: float, change_db: float = 12.0, share: float = 0.5) -> IrregularTime:
    return IrregularTime(start_s=start_s, end_s=end_s, change_db=change_db, share=share)


@pytest.fixture(scope="module")
def consensus_models(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Path:
    """A machine with all detectors, and one with a single score."""
    folder = tmp_path_factory.mktemp("detections")
    recordings = []
    for number in range(12):
        recordings.append(folder / f"{number:02d}.wav")
        soundfile.write(recordings[-1], workshop.machine.clip(number, CLIP_S), 16_000, subtype="PCM_16")
    for machine_id, kind in (("fan-1", "consensus"), ("fan-2", "mse")):
        workshop.make_bundle(
            folder / "models", machine_id, "1", workshop.constant_graph(), recordings, kind=kind, clip_s=CLIP_S
        )
    return folder / "models"


@pytest.fixture(scope="module")
def hears_all(start_server: Callable[..., Any], consensus_models: Path) -> Any:
    return start_server(models_dir=consensus_models)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LineFinding(change="missing"), "a tone is gone"),
        (
            LineFinding(change="missing", before_hz=340.2, change_db=-12.04),
            "the tone at 340 Hz is gone (-12.0 dB)",
        ),
        (
            LineFinding(change="missing", before_hz=248.0, after_hz=278.0, change_db=-9.0),
            "a tone moved from 248 to 278 Hz, or is gone (-9.0 dB)",
        ),
        (LineFinding(change="speed"), "the machine runs at another speed"),
        (LineFinding(change="speed", shift_percent=3.0), "the machine runs 3.0 % faster"),
        (
            LineFinding(change="speed", before_hz=250.0, after_hz=242.5, shift_percent=-3.0),
            "the machine runs 3.0 % slower (250 to 242 Hz)",
        ),
        (LineFinding(change="drift"), "the pitch drifts within the clip"),
        (LineFinding(change="drift", shift_percent=-2.0), "the pitch drifts down by 2.0 % within the clip"),
    ],
)
def test_a_change_of_tones_is_said_in_words(line: LineFinding, said: str) -> None:
    assert line_text(line) == said


def test_times_are_said_in_order_and_the_least_are_counted() -> None:
    times = [stretch(6.0, 6.1, -9.0), stretch(3.2, 3.4), stretch(1.0, 1.1), stretch(8.0, 8.1), stretch(9.0, 9.1)]
    assert rhythm_text(times[:2]) == "12.0 dB louder from 3.20 to 3.40 s, 9.0 dB quieter from 6.00 to 6.10 s"
    assert rhythm_text(times, 1.0) == (
        "12.0 dB louder from 0.00 to 0.10 s, 12.0 dB louder from 2.20 to 2.40 s, 9.0 dB quieter from 5.00 to 5.10 s"
        " and 2 more"
    )


@pytest.mark.parametrize("detector", [*DETECTORS, None])
def test_bands_are_said_where_nothing_else_was_found(detector: DetectorName | None) -> None:
    class Found:
        irregular_times = ()
        line = None

        def __init__(self) -> None:
            self.detector = detector

    assert explanation_text(Found(), BANDS) == "900-1100 Hz 80%"


def test_a_detection_is_put_on_the_axis_of_time() -> None:
    nothing = np.zeros(1)
    score = ScaleScore(16_000, 176_000, 1.2, 1.2, nothing, nothing, "rhythm", (stretch(3.2, 3.4),))
    assert Detection.of(score, 1.0).irregular_times == (stretch(4.2, 4.4),)
    ending = Detection.ending_at(score, 1_800_000_010.0, 16_000)
    assert ending == Detection("rhythm", (stretch(1_800_000_003.2, 1_800_000_003.4),), None)


def answered(server: Any, workshop: Any, sound: Float32, machine_id: str = "fan-1") -> dict[str, Any]:
    response = server.http.post(f"/score?machine_id={machine_id}", content=workshop.encoded(sound))
    found: dict[str, Any] = response.json()
    assert response.status_code == 200, found
    return found


def test_knocks_are_found_by_rhythm_and_timed_from_the_start_of_the_recording(hears_all: Any, workshop: Any) -> None:
    lead = workshop.normal(53, 4.0)
    sound = knocked(np.concatenate([lead, workshop.normal(52, CLIP_S)]), [7.0, 8.5])
    found = answered(hears_all, workshop, sound)
    assert (found["state"], found["detector"], found["line"]) == ("alarm", "rhythm", None)
    times = sorted(found["irregular_times"], key=lambda time: time["start_s"])
    assert [time["start_s"] for time in times] == pytest.approx([7.0, 8.5], abs=0.1)
    assert all(time["change_db"] > 10.0 and 0.0 < time["end_s"] - time["start_s"] < 0.3 for time in times)
    decided = [moment["detector"] for moment in found["timeline"] if moment["clip_score"] is not None]
    assert "rhythm" in decided
    assert all(moment["detector"] is None for moment in found["timeline"] if moment["clip_score"] is None)


def test_another_speed_is_found_by_lines(hears_all: Any, workshop: Any) -> None:
    found = answered(hears_all, workshop, faster(workshop.machine, 54, CLIP_S))
    assert (found["state"], found["detector"], found["irregular_times"]) == ("alarm", "lines", [])
    assert found["line"]["change"] == "speed"
    assert found["line"]["shift_percent"] == pytest.approx(3.0, abs=0.5)


def test_what_lasts_is_found_by_the_profile_and_a_single_score_has_no_detectors(hears_all: Any, workshop: Any) -> None:
    sound = workshop.faulty(58, CLIP_S)
    found = answered(hears_all, workshop, sound)
    assert (found["state"], found["detector"], found["line"]) == ("alarm", "profile", None)
    assert any(band["low_hz"] < 3_100 < band["high_hz"] for band in found["bands"])
    assert answered(hears_all, workshop, sound, "fan-2")["detector"] == "error"


def test_a_normal_recording_explains_nothing(hears_all: Any, workshop: Any) -> None:
    found = answered(hears_all, workshop, workshop.normal(50, CLIP_S))
    assert (found["state"], found["irregular_times"], found["line"]) == ("normal", [], None)


@pytest.mark.slow
def test_an_alarm_keeps_what_its_detector_found_on_the_clock(hears_all: Any, workshop: Any) -> None:
    sound = np.concatenate([workshop.normal(number, 5.0) for number in range(60, 66)])
    pcm = (knocked(sound, [14.0, 17.0]) * 32_767).astype("<i2").tobytes()
    with connect(f"ws://127.0.0.1:{hears_all.port}/v1/machines/fan-1/stream", proxy=None) as socket:
        socket.send(json.dumps({"type": "hello", "rate_hz": 16_000, "realtime": False}))
        socket.send(pcm)
        scored_s = 0.0
        raised: dict[str, Any] = {}
        while not raised or scored_s < raised["scored_s"]:
            told = json.loads(socket.recv(timeout=20))
            scored_s = told.get("end_sample", 0) / 16_000 or scored_s
            if told.get("event") == "raised":
                raised = {**told, "scored_s": scored_s}
        status = hears_all.http.get("/v1/machines/fan-1/status").json()
        alarm = hears_all.http.get(f"/v1/alarms/{raised['alarm_id']}").json()
    context = alarm["context"]
    assert (context["detector"], context["line"]) == ("rhythm", None)
    before_s = sorted(alarm["raised_s"] - time["start_s"] for time in context["irregular_times"])
    assert before_s == pytest.approx([raised["scored_s"] - at_s for at_s in (17.0, 14.0)][-len(before_s) :], abs=0.2)
    assert status["detector"] in DETECTORS
    assert isinstance(status["irregular_times"], list)
    families = text_string_to_metric_families(hears_all.http.get("/metrics").text)
    (family,) = [family for family in families if family.name == "humwatch_alarms_raised"]
    counted = {
        (sample.labels["machine_id"], sample.labels["detector"]): sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert counted == {(m, d): float((m, d) == ("fan-1", "rhythm")) for m in ("fan-1", "fan-2") for d in DETECTORS}


def test_a_card_names_the_detectors_with_their_shares_and_levels(hears_all: Any) -> None:
    card = hears_all.http.get("/v1/machines/fan-1").json()
    shares = {facts["detector"]: facts["share"] for facts in card["detectors"]}
    assert shares == {"profile": 0.8, "rhythm": 0.1, "lines": 0.1}
    assert [facts["alarm_rate"] for facts in card["detectors"]] == pytest.approx([0.008, 0.001, 0.001])
    assert all(facts["alarm_level"] > 1.0 for facts in card["detectors"])
    assert card["detector_levels"]["profile_alarm"] == card["detectors"][0]["alarm_level"]
    older = hears_all.http.get("/v1/machines/fan-2").json()
    assert (older["detectors"], older["detector_levels"]) == ([], None)
    models = hears_all.http.get("/v1/models").json()["models"]
    assert [(model["score"], model["schema_version"]) for model in models] == [("consensus", 3), ("mse", 3)]
    (version,) = hears_all.http.get("/v1/machines/fan-1/versions").json()["versions"]
    assert version["facts"]["detectors"] == card["detectors"]


def test_the_commands_name_score_and_detector(consensus_models: Path, workshop: Any, tmp_path: Path) -> None:
    def humwatch(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--models", consensus_models)])
        assert result.exit_code == 0, result.output
        return " ".join(result.stdout.split())

    recording, picture = tmp_path / "knocks.wav", tmp_path / "knocks.png"
    recording.write_bytes(workshop.encoded(knocked(workshop.normal(52, CLIP_S), KNOCKS_S)))
    said = humwatch("score", recording, "--machine", "fan-1", "--plot", picture)
    assert "irregularity in time" in said
    assert "dB louder from 2.9" in said
    assert picture.stat().st_size > 10_000
    (found,) = json.loads(humwatch("score", recording, "--machine", "fan-1", "--json"))["results"]
    assert (found["detector"], len(found["irregular_times"])) == ("rhythm", 2)
    listed = humwatch("models", "list")
    assert "fan, consensus, schema 3, 12 normal recordings" in listed
    assert "fan, mse, schema 3, 12 normal recordings" in listed
    shown = humwatch("models", "show", "fan-1")
    assert "detector rhythm 10% of the false alarms (0.10% of normal clips), alarm level" in shown
    assert "detector" not in humwatch("models", "show", "fan-2")


def test_the_doctor_says_how_an_older_score_becomes_the_default_one(
    consensus_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(consensus_models))
    monkeypatch.setenv("HUMWATCH_STATE_DIR", str(tmp_path))
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["findings"]
    details = {finding["check"]: (finding["result"], finding["detail"]) for finding in found}
    assert details["model fan-1"] == ("ok", "version 1, score consensus")
    result, detail = details["model fan-2"]
    assert result == "ok"
    assert detail == (
        "version 1, score mse; `humwatch calibrate fan-2 RECORDINGS` makes a version with the default, consensus"
    )
