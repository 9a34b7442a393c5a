"""Recordings as people have them: folders with junk, pipes, coded sound, the same warning for every file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch.audio.decoding import DecodeLimits
from humwatch.bundle.repository import ModelRepository
from humwatch.errors import AudioTooLarge, AudioTooLong
from humwatch_service.cli.given import on_disk
from humwatch_service.cli.main import app
from humwatch_service.cli.said_once import said_once
from tests.coded_sounds import coded
from tests.stream_server import StreamServer, served

pytestmark = pytest.mark.usefixtures("logging_as_before")

RATE_HZ = 16_000


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HUMWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HUMWATCH_MODELS_DIR", str(models))


def humwatch(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def results(result: Result) -> list[dict[str, Any]]:
    return json.loads(result.stdout)["results"]


@pytest.fixture
def folder(tmp_path: Path, workshop: Any) -> Path:
    """Normal recordings as they come from a card that was in a Mac: one of them is a link to another folder."""
    folder, elsewhere = tmp_path / "normal", tmp_path / "tuesday"
    folder.mkdir()
    elsewhere.mkdir()
    for number, path in enumerate(workshop.recordings):
        target = folder if number < 8 else elsewhere
        (target / f"rec_{number}.wav").write_bytes(path.read_bytes())
        (target / f"._rec_{number}.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    (folder / "rec_99.wav").touch()
    (folder / "tuesday").symlink_to(elsewhere)
    return folder


def test_calibrate_leaves_out_what_is_no_recording_and_says_so_once(folder: Path, models: Path, workshop: Any) -> None:
    result = humwatch("calibrate", "pump-2", folder, "--from", "pump-2", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recordings"] == len(workshop.recordings)
    assert f"{len(workshop.recordings) + 1} files are no recordings and were left out: " in result.stderr


def test_calibrate_names_all_that_cannot_be_used_and_goes_on_when_told_to(folder: Path, models: Path) -> None:
    for number in (2, 5):
        path = folder / f"rec_{number}.wav"
        path.write_bytes(path.read_bytes()[:-5_000])
    refused = humwatch("calibrate", "pump-2", folder, "--from", "pump-2", "--json")
    assert refused.exit_code == 1
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == "audio_truncated"
    assert error["message"].startswith("2 recordings cannot be used: ")
    assert "rec_2.wav: " in error["message"]
    assert "rec_5.wav: " in error["message"]
    assert ModelRepository(models).versions("pump-2") == ["1"]

    result = humwatch("calibrate", "pump-2", folder, "--from", "pump-2", "--skip-unusable", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recordings"] == 10
    assert result.stderr.count("left out: ") == 3  # the junk, and each of the two
    assert "5000" not in result.stderr or "are there" in result.stderr


def test_a_project_called_anomaly_detection_can_be_calibrated(folder: Path, models: Path) -> None:
    project = folder.rename(folder.parent / "anomaly-detection")
    assert humwatch("calibrate", "pump-2", project, "--from", "pump-2").exit_code == 0
    labelled = project.rename(folder.parent / "abnormal")
    refused = humwatch("calibrate", "pump-2", labelled, "--from", "pump-2")
    assert (refused.exit_code, "--ignore-names" in refused.stderr) == (1, True)
    assert humwatch("calibrate", "pump-2", labelled, "--from", "pump-2", "--ignore-names").exit_code == 0


def test_score_takes_folders_and_says_the_same_warning_once(folder: Path) -> None:
    result = humwatch("score", folder, "--machine", "pump-2", "--json")
    assert result.exit_code == 0, result.output
    names = [Path(entry["file"]).name for entry in results(result)]
    assert names == [f"rec_{number}.wav" for number in range(12)]  # natural order, links last
    assert all("few_calibration_recordings" in {w["code"] for w in entry["warnings"]} for entry in results(result))
    said = humwatch("score", folder, "--machine", "pump-2").stderr
    assert "all 12 recordings: few_calibration_recordings: " in said
    assert said.count("few_calibration_recordings") == 1


def test_a_picture_is_of_one_recording(folder: Path, tmp_path: Path) -> None:
    assert humwatch("score", folder, "--machine", "pump-2", "--plot", tmp_path / "out.png").exit_code == 2


def test_a_warning_is_said_once_for_all_that_share_it() -> None:
    said = said_once(
        [
            ("a.mp3", "lossy_coded", "coded as MP3 at 64 kbit/s"),
            ("a.mp3", "clipped", "1.2 % of the samples"),
            ("b.mp3", "lossy_coded", "coded as MP3 at 80 kbit/s"),
            ("b.mp3", "clipped", "3.0 % of the samples"),
            ("c.wav", "resampled", "from 8000 to 16000 Hz"),
        ],
        total=3,
    )
    assert said == [
        "2 of 3 recordings: lossy_coded: coded as MP3 at 64 kbit/s",
        "a.mp3: clipped: 1.2 % of the samples",
        "b.mp3: clipped: 3.0 % of the samples",
        "c.wav: resampled: from 8000 to 16000 Hz",
    ]


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_standard_input_is_scored_as_the_file_is(workshop: Any, tmp_path: Path, form: str) -> None:
    data = workshop.encoded(workshop.faulty(), form=form)
    (tmp_path / "sound").write_bytes(data)
    piped = humwatch("score", "-", "--machine", "pump-2", "--json", stdin=data)
    filed = humwatch("score", tmp_path / "sound", "--machine", "pump-2", "--json")
    assert piped.exit_code == 0, piped.output
    assert [{**entry, "file": ""} for entry in results(piped)] == [{**entry, "file": ""} for entry in results(filed)]
    assert results(piped)[0]["file"] == "-"


def test_a_recorder_that_writes_to_a_pipe_does_not_know_the_length(workshop: Any) -> None:
    data = workshop.encoded(workshop.normal())
    at = data.index(b"data") + 4
    for size in (b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80"):
        result = humwatch("score", "-", "--machine", "pump-2", "--json", stdin=data[:at] + size + data[at + 4 :])
        assert results(result)[0]["state"] == "normal", result.output


def written_to(fifo: Path, data: bytes) -> threading.Thread:
    def write() -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever reads has enough
            fifo.write_bytes(data)

    os.mkfifo(fifo)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    return writer


def test_a_named_pipe_is_scored_and_calibrated_from(workshop: Any, tmp_path: Path, models: Path) -> None:
    writer = written_to(tmp_path / "pipe", workshop.encoded(workshop.faulty()))
    result = humwatch("score", tmp_path / "pipe", "--machine", "pump-2", "--json")
    writer.join(10)
    assert (results(result)[0]["state"], results(result)[0]["file"]) == ("alarm", str(tmp_path / "pipe"))
    writer = written_to(tmp_path / "more", workshop.recordings[0].read_bytes())
    result = humwatch("calibrate", "pump-2", *workshop.recordings[1:], tmp_path / "more", "--from", "pump-2", "--json")
    writer.join(10)
    assert json.loads(result.stdout)["recordings"] == len(workshop.recordings)


def test_samples_without_a_header_are_refused_by_name() -> None:
    data = np.arange(64_000, dtype="<i2").tobytes()
    result = humwatch("score", "-", "--machine", "pump-2", stdin=data)
    assert result.exit_code == 1
    assert "error: audio_format_unsupported: -: " in result.stderr
    assert "samples without a header are not taken" in result.stderr


def test_what_comes_through_a_pipe_is_bounded_and_the_copy_goes(
    tmp_path: Path, workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    data = workshop.encoded(workshop.normal(seconds=60.0))
    writer = written_to(tmp_path / "wav", data)
    limits = DecodeLimits(max_duration_s=10.0)
    with pytest.raises(AudioTooLong, match="more than 10 s"), on_disk([tmp_path / "wav"], limits):
        pass
    with (
        pytest.raises(AudioTooLarge, match="800000 bytes"),
        on_disk([Path("/dev/zero")], DecodeLimits(max_samples=100_000)),
    ):
        pass
    writer.join(10)
    assert not list(copies.iterdir())


def test_replay_takes_standard_input_and_leaves_out_junk(tmp_path: Path) -> None:
    folder = tmp_path / "sound"
    folder.mkdir()
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, RATE_HZ * 2)
    soundfile.write(folder / "b.wav", noise, RATE_HZ, subtype="PCM_16")
    (folder / "._b.wav").write_bytes(b"\x00\x05\x16\x07")
    (folder / "a.wav").touch()
    own = soundfile.read(folder / "b.wav", dtype="int16")[0].astype("<i2").tobytes()
    for arguments, stdin in (([folder], None), (["-"], (folder / "b.wav").read_bytes())):
        with served(StreamServer()) as service:
            result = humwatch(
                "replay", *arguments, "--machine", "pump-2", "--url", service.url, "--speed", 0, stdin=stdin
            )
        assert result.exit_code == 0, result.output
        service.stream.check(own)
        assert ("2 files are no recordings and were left out" in result.stderr) is (stdin is None)


def test_replay_names_all_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(tmp_path / name, np.zeros(4_000), RATE_HZ)
    for name in ("a.wav", "c.wav"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2_000])
    result = humwatch("replay", tmp_path, "--machine", "pump-2", "--json")
    message = json.loads(result.stdout)["error"]["message"]
    assert message.startswith("2 recordings cannot be used: ")
    assert "a.wav" in message
    assert "c.wav" in message


def test_a_machine_calibrated_from_a_phone_s_recordings_is_told_what_that_means(
    tmp_path: Path, workshop: Any, models: Path
) -> None:
    for number, path in enumerate(workshop.recordings):
        samples, _ = soundfile.read(path, dtype="float32")
        (tmp_path / f"{number}.m4a").write_bytes(coded(samples, RATE_HZ, "m4a", bits_per_s=64_000))
    result = humwatch("calibrate", "phone", tmp_path, "--from", "pump-2")
    assert result.exit_code == 0, result.output
    assert f"all {len(workshop.recordings)} recordings: lossy_coded: coded as AAC" in result.stderr
    faulty = tmp_path / "faulty.m4a"
    faulty.write_bytes(coded(workshop.faulty(), RATE_HZ, "m4a", bits_per_s=64_000))
    answer = results(humwatch("score", faulty, "--machine", "phone", "--json"))[0]
    assert answer["state"] == "alarm"
    assert "lossy_coded" in {warning["code"] for warning in answer["warnings"]}


def test_too_few_bits_a_second_are_unknown_unless_calibrated_alike(tmp_path: Path, workshop: Any) -> None:
    path = tmp_path / "normal.m4a"
    path.write_bytes(coded(workshop.normal(), RATE_HZ, "m4a", bits_per_s=40_000))
    answer = results(humwatch("score", path, "--machine", "pump-2", "--json"))[0]
    assert answer["state"] == "unknown"
    assert {"coarse_samples", "lossy_coded"} <= {warning["code"] for warning in answer["warnings"]}
    messages = {warning["code"]: warning["message"] for warning in answer["warnings"]}
    assert "most faults are among it" in messages["lossy_coded"]
    for number in range(6):
        (tmp_path / f"{number}.m4a").write_bytes(
            coded(workshop.normal(800 + number), RATE_HZ, "m4a", bits_per_s=40_000)
        )
    folder = [tmp_path / f"{number}.m4a" for number in range(6)]
    calibrated = humwatch("calibrate", "pump-2", *folder, "--from", "pump-2")
    assert calibrated.exit_code == 0, calibrated.output
    alike = results(humwatch("score", path, "--machine", "pump-2", "--json"))[0]
    assert alike["state"] != "unknown"
    assert "coarse_samples" not in {warning["code"] for warning in alike["warnings"]}
