"""When a recording was taken, as its name, its header and its file say."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile

from humwatch_service.sources.folder.file_head import FileHead, read_head
from humwatch_service.sources.folder.recorded_time import RecordedTimes

NOW_S = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
COPIED_S = NOW_S - 3_600.0
TEN_S = FileHead(10.0, None)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def taken(path: str, *, zone: str = "UTC", head: FileHead = TEN_S, modified_s: float = COPIED_S) -> float | None:
    """What a name says; None where it says nothing that counts."""
    found = RecordedTimes("auto", ZoneInfo(zone)).of(path, head, modified_s, NOW_S)
    return found.time_s if found.origin == "name" else None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("20261130_134500.WAV", "2026-11-30T13:45:00"),  # AudioMoth, Zoom, Tascam
        ("SM4_20261130_134500.wav", "2026-11-30T13:45:00"),  # Wildlife Acoustics
        ("2026-11-30T13-45-00Z.wav", "2026-11-30T13:45:00"),
        ("2026-11-30T13:45:00+01:00.flac", "2026-11-30T12:45:00"),
        ("20261130T134500.250-0500.wav", "2026-11-30T18:45:00.250"),
        ("2026-11-30 13.45.00.wav", "2026-11-30T13:45:00"),
        ("Recording 2026-11-30 at 1.45.07 PM.wav", "2026-11-30T13:45:07"),
        ("pump 2026-11-30 12-05-09 AM.wav", "2026-11-30T00:05:09"),
        ("2026_11_30_13_45_00_001.wav", "2026-11-30T13:45:00"),
        ("20261130134500123.wav", "2026-11-30T13:45:00.123"),
        ("202611301345.wav", "2026-11-30T13:45:00"),
        ("2026-11-30_13h45m07s.wav", "2026-11-30T13:45:07"),
        ("231130_134500.WAV", "2023-11-30T13:45:00"),
        ("30.11.2026 13-45-00.wav", "2026-11-30T13:45:00"),
        ("11-30-2026_13-45-00.wav", "2026-11-30T13:45:00"),
        ("20261130_134500-20261130_135500.wav", "2026-11-30T13:45:00"),
        ("20261130_134500-0001.wav", "2026-11-30T13:45:00"),  # a counter, no zone
        ("1796046300.wav", "2026-11-30T13:45:00"),
        ("mic1_1796046300250.wav", "2026-11-30T13:45:00.250"),
        ("1796046300.5.wav", "2026-11-30T13:45:00.500"),
        ("5C3D2A10.WAV", "2019-01-15T00:32:16"),  # the first AudioMoth
        ("2026/11/30/134500.wav", "2026-11-30T13:45:00"),
        ("2026-11-30/cam-13-45-00.wav", "2026-11-30T13:45:00"),
        ("20261130/13/45.wav", "2026-11-30T13:45:00"),
        ("2026-11-30-birdnet-13:45:00.wav", "2026-11-30T13:45:00"),  # BirdNET-Pi
        ("Wind_Mill-80-2026-11-30-birdnet-RTSP_1-13:45:00.wav", "2026-11-30T13:45:00"),
        ("2026-11-30/001/dav/13/13.45.00-13.46.00[M][0@0][0].wav", "2026-11-30T13:45:00"),  # Dahua
        ("2026-11-30/13/yard_2/45.07.mp4", "2026-11-30T13:45:07"),  # Frigate
        ("2026-11-30/mic 2/13-45-00.wav", "2026-11-30T13:45:00"),
        ("13-45-00_2026-11-30.wav", "2026-11-30T13:45:00"),
        ("30-Nov-2026_13-45-00.wav", "2026-11-30T13:45:00"),
        ("Monday 3 August 2026 13:45:00.wav", "2026-08-03T13:45:00"),
        ("20261130T144500+01.wav", "2026-11-30T13:45:00"),
        ("fan.1796046300.wav", "2026-11-30T13:45:00"),
        ("camera-1796046300.25-ab12.wav", "2026-11-30T13:45:00.250"),
        ("2026/11/30/20251231_235959.wav", "2025-12-31T23:59:59"),  # the name before the folders
    ],
)
def test_names_of_recorders_say_when_a_recording_was_taken(path: str, said: str) -> None:
    assert taken(path) == pytest.approx(at(said), abs=1e-3)


@pytest.mark.parametrize(
    "path",
    [
        "rec_10.wav",
        "ZOOM0001.WAV",
        "20261130_0001.wav",  # the first of a day
        "20261330_134500.wav",
        "20261130_256000.wav",
        "2026/11/30/rec_0001.wav",
        "59121530.WAV",  # eight digits may be a counter
        "9999999999.wav",
        "000123.wav",
        "2611301345.wav",
        "2026-11-30_unit_12-34-56.wav",
        "2026-11-30_b8:27:eb:12:34:56.wav",  # a network address
        "134500_20261130.wav",
        "20261130/13/0007.wav",
    ],
)
def test_counters_are_no_times(path: str) -> None:
    assert taken(path) is None


def test_digits_that_may_be_a_counter_are_a_time_where_the_file_agrees() -> None:
    said_s = at("2026-11-30T13:45:00")
    assert taken("20261130_1345.wav", modified_s=said_s + 20) == said_s
    assert taken("231130_1345.mp3", modified_s=at("2023-11-30T13:45:30")) == at("2023-11-30T13:45:00")
    assert taken("20261130/13/4500.wav", modified_s=said_s + 20) == said_s
    assert taken("134500_20261130.wav", modified_s=said_s + 20) == said_s
    assert taken("59121530.WAV", modified_s=0x59121530 + 15.0) == 0x59121530


def test_the_zone_of_names_is_a_setting_unless_they_say_it() -> None:
    assert taken("20260730_134500.wav", zone="Europe/Zurich") == at("2026-07-30T11:45:00")
    assert taken("20260730T134500Z.wav", zone="Europe/Zurich") == at("2026-07-30T13:45:00")
    assert taken("1796046300.wav", zone="Europe/Zurich") == 1_796_046_300


def test_an_hour_that_comes_twice_is_told_by_the_time_of_the_file() -> None:
    first, second = at("2026-10-25T00:30:00"), at("2026-10-25T01:30:00")
    for said_s in (first, second):
        assert taken("2026-10-25_02-30-00.wav", zone="Europe/Zurich", modified_s=said_s + 12) == said_s


def test_times_that_cannot_be_are_not_taken_and_say_why() -> None:
    times = RecordedTimes("auto", ZoneInfo("UTC"))
    never_set = times.of("19800101_000012.wav", TEN_S, COPIED_S, NOW_S)
    assert (never_set.origin, never_set.time_s) == ("file", COPIED_S - 10.0)
    assert "never set" in never_set.doubt
    early = times.of("20261201_090000.wav", TEN_S, COPIED_S, NOW_S)
    assert (early.origin, "future: is `time_zone` right" in early.doubt) == ("file", True)
    assert "time_zone" not in never_set.doubt
    assert "time_zone" not in times.of("20261201T090000Z.wav", TEN_S, COPIED_S, NOW_S).doubt
    nothing = times.of("rec_1.wav", TEN_S, 315_532_800.0, NOW_S)  # 1980, as on a card of a recorder without a clock
    assert (nothing.origin, nothing.time_s) == ("now", NOW_S - 10.0)
    assert "never set" in nothing.doubt


def test_a_setting_says_which_time_is_taken() -> None:
    path, made = "20261130_134500.wav", datetime(2026, 11, 30, 8, 0, 0)
    head = FileHead(10.0, made)

    def origin(source: str, name: str = path) -> tuple[str, float]:
        found = RecordedTimes(source, ZoneInfo("UTC")).of(name, head, COPIED_S, NOW_S)  # type: ignore[arg-type]
        return found.origin, found.time_s

    assert origin("auto") == ("name", at("2026-11-30T13:45:00"))
    assert origin("auto", "rec_7.wav") == ("bext", at("2026-11-30T08:00:00"))
    assert origin("file") == ("file", COPIED_S - 10.0)
    assert origin("now") == ("now", NOW_S - 10.0)
    assert origin("name", "rec_7.wav") == ("now", NOW_S - 10.0)


def test_the_head_of_a_broadcast_wave_file_says_when_it_was_made(tmp_path: Path) -> None:
    plain, broadcast = tmp_path / "plain.wav", tmp_path / "broadcast.wav"
    soundfile.write(plain, np.zeros(48_000), 16_000, subtype="PCM_16")
    data = plain.read_bytes()
    bext = b"\0" * 320 + b"2026-11-30" + b"13:45:07" + b"\0" * 264
    broadcast.write_bytes(data[:12] + b"bext" + struct.pack("<I", len(bext)) + bext + data[12:])
    head = read_head(broadcast, broadcast.stat().st_size)
    assert head.made == datetime(2026, 11, 30, 13, 45, 7)
    assert head.length_s == pytest.approx(3.0, abs=0.05)
    assert read_head(plain, plain.stat().st_size).made is None


@pytest.mark.parametrize("date", [b"0000-00-00", b"\xff" * 10, b"2026-13-40", b" " * 10])
def test_a_bext_chunk_without_a_date_says_nothing(tmp_path: Path, date: bytes) -> None:
    bext = b"\0" * 320 + date + b"13:45:07"
    path = tmp_path / "odd.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVEbext" + struct.pack("<I", len(bext)) + bext)
    assert read_head(path, path.stat().st_size) == FileHead(None, None)


@pytest.mark.parametrize(
    ("name", "apart_s", "hint"),
    [
        ("20261130_080000.wav", 5 * 3_600.0, "5 h before"),  # a recorder in New York, a service in UTC
        ("20261130_080000.wav", -3_600.0 + 4.0, "1 h after"),
        ("20261130_080000.wav", 5 * 3_600.0 + 300.0, ""),  # copied later
        ("20261130_080000.wav", 2.0, ""),
        ("20261130T080000Z.wav", 5 * 3_600.0, ""),
    ],
)
def test_names_in_another_zone_than_the_files_own_times_are_named(name: str, apart_s: float, hint: str) -> None:
    said_s = at("2026-11-30T08:00:00")
    found = RecordedTimes("auto", ZoneInfo("UTC")).of(name, TEN_S, said_s + 10.0 + apart_s, NOW_S)
    assert (found.origin, found.time_s) == ("name", said_s)
    assert (hint in found.doubt and "time_zone" in found.doubt) if hint else not found.doubt
