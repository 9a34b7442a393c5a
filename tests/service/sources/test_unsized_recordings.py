"""Recordings whose length nobody filled in, and coded ones, wherever the service fetches them itself."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from humwatch_service.config.sources import FolderSource, LoopSource
from humwatch_service.sources.looped import LoopedRecording
from humwatch_service.sources.sequence import RecordingSequence
from tests.coded_sounds import coded

RATE_HZ = 16_000


def unsized(samples: np.ndarray, form: str) -> bytes:
    """Return a recording as a recorder leaves it that was cut off, or as a pipe gives it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, format=form, subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    if form == "FLAC":
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    else:
        at = data.index(b"data") + 4
        data[at : at + 4] = bytes(4) if form == "WAV" else b"\xff" * 4
    if form == "RF64":
        data[20:44] = b"\xff" * 24
    return bytes(data)


FORMS = {"a.wav": "WAV", "b.flac": "FLAC", "c.rf64": "RF64"}


@pytest.fixture
def folder(tmp_path: Path, workshop: Any) -> Path:
    for number, (name, form) in enumerate(FORMS.items()):
        (tmp_path / name).write_bytes(unsized(workshop.normal(700 + number, 5.0), form))
    return tmp_path


def test_a_sequence_knows_how_long_they_are_and_gives_all_samples(folder: Path) -> None:
    sequence = RecordingSequence([folder / name for name in FORMS])
    assert (sequence.samples, sequence.duration_s, sequence.format) == (15 * RATE_HZ, 15.0, "s16le")
    assert sum(len(block) for block in sequence.blocks()) == 15 * RATE_HZ * sequence.frame_bytes
    looped = LoopedRecording([folder / name for name in FORMS], channel=None, default_channel=0)
    assert looped.place(12 * RATE_HZ) == looped.place(27 * RATE_HZ)
    assert looped.place(12 * RATE_HZ).path.name == "c.rf64"


def test_what_is_coded_is_said_of_a_sequence(tmp_path: Path, workshop: Any) -> None:
    (tmp_path / "a.mp3").write_bytes(coded(workshop.normal(), RATE_HZ, "mp3"))
    (tmp_path / "b.m4a").write_bytes(coded(workshop.normal(), RATE_HZ, "m4a"))
    remarks = RecordingSequence([tmp_path / "a.mp3", tmp_path / "b.m4a"]).remarks
    assert remarks == ["2 of 2 recordings are coded (MP3, AAC): sound was left out"]


def heard(server: Any) -> int:
    stream = server.http.get("/v1/machines/pump-2/status").json()["stream"]
    return int(stream["samples"]) if stream else 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_watched_folder_hears_them_whole(make_server: Callable[..., Any], folder: Path, workshop: Any) -> None:
    (folder / "d.ogg").write_bytes(coded(workshop.normal(703, 5.0), RATE_HZ, "ogg"))
    source = FolderSource(kind="folder", machine="pump-2", folder=folder, settle_s=0.1, delete=True)
    server = make_server(sources=(source,))
    until(lambda: heard(server) == 20 * RATE_HZ)


def test_a_loop_hears_them(make_server: Callable[..., Any], folder: Path) -> None:
    source = LoopSource(kind="loop", machine="pump-2", files=(folder / "a.wav", folder / "b.flac"))
    server = make_server(sources=(source,))
    until(lambda: heard(server) > RATE_HZ)
