"""`humwatch replay`: what is sent are the files' own samples."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from humwatch.audio.decoding import open_recording
from humwatch_service.cli import replay as commands_replay
from humwatch_service.cli.main import app
from humwatch_service.client import Patience
from humwatch_service.protocol.pcm import PcmDecoder, encoded
from humwatch_service.sources.sequence import RecordingSequence
from tests.processes import interrupted
from tests.stream_server import MACHINE, StreamServer, served

RATE_HZ = 16_000


def humwatch(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def noise(seconds: float, channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (round(seconds * RATE_HZ), channels))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of two channels, of 16 bits, together 11 s, the first longer than a block that is decoded at a time."""
    for seed, (name, seconds) in enumerate({"b.flac": 2.0, "a.wav": 9.0}.items()):
        soundfile.write(tmp_path / name, noise(seconds, 2, seed), RATE_HZ, subtype="PCM_16")
    (tmp_path / "notes.txt").write_text("not sound")
    return tmp_path


def own_samples(*paths: Path) -> bytes:
    return b"".join(soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes() for path in paths)


def test_a_folder_is_one_stream_of_its_files_own_samples(folder: Path) -> None:
    with served(StreamServer()) as service:
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url, "--speed", 0)
    assert result.exit_code == 0, result.output
    stream = service.stream
    stream.check(own_samples(folder / "a.wav", folder / "b.flac"))
    assert stream.samples == 11 * RATE_HZ
    hello = stream.hello
    assert (hello.rate_hz, hello.channels, hello.format, hello.realtime) == (RATE_HZ, 2, "s16le", False)
    assert result.stdout == "pump-2: normal, worst score 0.500; 176000 samples were heard, 0 are missing\n"


def test_breaks_lose_nothing(folder: Path) -> None:
    service = StreamServer()
    service.drops.extend([10_000, 60_000, 5_000])
    service.rewinds.extend([0, 16_000, 3])
    with served(service):
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url, "--speed", 0, "--json")
    assert result.exit_code == 0, result.output
    service.stream.check(own_samples(folder / "a.wav", folder / "b.flac"))
    assert (service.stream.samples, len(service.hellos)) == (11 * RATE_HZ, 4)
    assert result.stderr.count("trying again") == 3


def test_files_longer_than_the_buffer_are_sent_as_fast_as_they_are_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_replay, "BUFFER_S", 4.0)
    with served(StreamServer()) as service:
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url, "--speed", 0)
    assert result.exit_code == 0, result.output
    service.stream.check(own_samples(folder / "a.wav", folder / "b.flac"))
    assert service.stream.gaps == []


@pytest.mark.parametrize(
    ("subtype", "sample_format"),
    [("PCM_U8", "s16le"), ("PCM_16", "s16le"), ("PCM_24", "s24le"), ("PCM_32", "s32le"), ("FLOAT", "f32le")],
)
def test_samples_are_sent_bit_for_bit_as_they_are_decoded(tmp_path: Path, subtype: str, sample_format: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([noise(0.5, 1, 1), [[-1.0], [0.0], [1.0]]]), RATE_HZ, subtype=subtype)
    recordings = RecordingSequence([path])
    sent = b"".join(recordings.blocks())
    with open_recording(path) as recording:
        decoded = np.concatenate([block.samples for block in recording.blocks()])[:, 0]
    assert recordings.format == sample_format
    assert np.array_equal(PcmDecoder(recordings.format, 1).push(sent)[:, 0], decoded)


def test_sixteen_bits_the_other_way_round() -> None:
    samples = np.array([[0.5, -1.0]], np.float32)
    assert encoded(samples, "s16be") == b"\x40\x00\x80\x00"
    assert encoded(samples, "s16le") == b"\x00\x40\x00\x80"


@pytest.mark.parametrize(("subtype", "sample_format"), [("PCM_24", "s24le"), ("PCM_32", "s32le"), ("DOUBLE", "f32le")])
def test_one_file_of_more_bits_makes_all_of_them_such(folder: Path, subtype: str, sample_format: str) -> None:
    soundfile.write(folder / "c.wav", noise(0.1, 2, 9), RATE_HZ, subtype=subtype)
    assert RecordingSequence([folder]).format == sample_format


def test_files_that_differ_are_not_one_stream(folder: Path) -> None:
    soundfile.write(folder / "c.wav", noise(0.1, 1, 9), 8_000)
    result = humwatch("replay", folder, "--machine", MACHINE)
    assert result.exit_code == 1
    assert "error: request_invalid: " in result.stderr
    assert "c.wav has 8000 Hz and 1 channels" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(("name", "code"), [("gone.wav", "file_unreadable"), ("notes.txt", "audio_format_unsupported")])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str, code: str) -> None:
    result = humwatch("replay", folder / name, "--machine", MACHINE, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == code
    assert name in error["message"]


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    result = humwatch("replay", tmp_path, "--machine", MACHINE)
    assert (result.exit_code, "has no recording" in result.stderr) == (1, True)


@pytest.mark.slow
def test_a_file_that_ends_early_ends_it_with_its_name(folder: Path) -> None:
    samples = noise(1.0, 2, 5)
    samples[8_000] = np.nan
    soundfile.write(folder / "c.wav", samples, RATE_HZ, subtype="FLOAT")
    with served(StreamServer()) as service:
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url, "--speed", 0)
    assert result.exit_code == 1
    assert "error: audio_not_finite: " in result.stderr
    assert "c.wav" in result.stderr


def test_nobody_there_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (commands_replay.PATIENCE.first_s, commands_replay.PATIENCE.lost_s) == (10.0, 300.0)
    monkeypatch.setattr(commands_replay, "PATIENCE", Patience(base_s=0.02, first_s=0.1))
    result = humwatch("replay", folder, "--machine", MACHINE, "--url", "http://127.0.0.1:9", "--speed", 0)
    assert result.exit_code == 1
    assert "error: service_unreachable: http://127.0.0.1:9" in result.stderr


@pytest.mark.parametrize("url", ["", "/halls/3/humwatch", "/humwatch/"])
def test_a_proxy_that_drops_upgrade_ends_it_with_what_to_set(folder: Path, url: str) -> None:
    service = StreamServer()
    service.refusals.append((426, {}, b'{"code": "upgrade_required", "detail": "set proxy_http_version 1.1"}'))
    with served(service):
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url + url, "--speed", 0)
    assert result.exit_code == 1
    assert "error: service_refused: upgrade_required: set proxy_http_version 1.1" in result.stderr


def test_the_pace_is_kept(folder: Path) -> None:
    """At speed 20, 11 s take 0.55 s, and the pieces are as long as asked for."""

    async def work() -> tuple[float, list[int]]:
        started_s = time.monotonic()
        stop = asyncio.Event()
        chunks = RecordingSequence([folder]).chunks(1_600, speed=20.0, loop=False, stop=stop)
        sizes = [len(chunk) async for chunk in chunks]
        return time.monotonic() - started_s, sizes

    took_s, sizes = asyncio.run(work())
    assert took_s >= 0.55
    assert sum(sizes) == 11 * RATE_HZ * 4
    assert max(sizes) == 1_600 * 4


def test_a_loop_goes_on_until_it_is_told_to_stop(folder: Path) -> None:
    service = StreamServer()
    with (
        served(service),
        interrupted(signal.SIGINT, lambda: service.streams and service.stream.samples >= 30 * RATE_HZ),
    ):
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", service.url, "--speed", 200, "--loop")
    assert result.exit_code == 0, result.output
    stream = service.stream
    once = own_samples(folder / "a.wav", folder / "b.flac")
    stream.check(once * (stream.samples // (11 * RATE_HZ) + 1))
    assert stream.samples >= 30 * RATE_HZ


def test_a_stuck_service_does_not_keep_it_from_stopping(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_replay, "GOODBYE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.listen()
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started_s = time.monotonic()
        result = humwatch("replay", folder, "--machine", MACHINE, "--url", url, "--speed", 0)
        timer.join()
    assert result.exit_code == 1
    assert "error: service_unreachable: the service did not take the rest" in result.stderr
    assert time.monotonic() - started_s < 5


def test_at_real_time_the_clock_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1.3, 1, 2), RATE_HZ, subtype="PCM_16")
    with served(StreamServer()) as service:
        result = humwatch("replay", tmp_path, "--machine", MACHINE, "--url", service.url)
    assert result.exit_code == 0, result.output
    assert service.stream.hello.realtime
    first, second = [message for message in service.stream.messages if message.type == "clock"]
    assert second.sample - first.sample == RATE_HZ
    assert 0.9 < second.time_s - first.time_s < 1.1
