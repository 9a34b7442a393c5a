from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
import soundfile

from humwatch.audio.decoding import AudioInfo, DecodeLimits, open_recording
from humwatch.errors import (
    AudioEmpty,
    AudioError,
    AudioFormatUnsupported,
    AudioHeaderInvalid,
    AudioTooLarge,
    AudioTooLong,
    AudioTruncated,
)
from tests.coded_sounds import THROUGH_LIBSNDFILE, THROUGH_PYAV, coded

RATES_HZ = {"3gp": 8_000, "amr": 8_000}
LOSSY = {
    "m4a": "AAC",
    "aac": "AAC",
    "3gp": "AMR",
    "amr": "AMR",
    "wma": "WMA",
    "mka": "Opus",
    "mp3": "MP3",
    "ogg": "Vorbis",
    "opus": "Opus",
    "mulaw": "mu-law",
    "adpcm": "IMA ADPCM",
}
KINDS = [*THROUGH_PYAV, *THROUGH_LIBSNDFILE]


def sound(kind: str, seconds: float = 2.0) -> tuple[np.ndarray, int]:
    rate_hz = RATES_HZ.get(kind, 48_000)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(1).normal(0, 0.02, len(time_s))
    return (0.2 * np.sin(2 * np.pi * 440 * time_s) + noise).astype(np.float32), rate_hz


def opened(data: bytes, limits: DecodeLimits | None = None) -> tuple[AudioInfo, np.ndarray]:
    with open_recording(io.BytesIO(data), limits) as recording:
        return recording.info, np.concatenate([block.samples for block in recording.blocks()])


@pytest.mark.parametrize("kind", KINDS)
def test_what_phones_and_recorders_write_is_read(kind: str) -> None:
    samples, rate_hz = sound(kind)
    info, heard = opened(coded(samples, rate_hz, kind))
    assert (info.rate_hz, info.channels, info.frames) == (rate_hz, 1, len(heard))
    assert info.lossy == LOSSY.get(kind)
    assert -0.05 * rate_hz < info.frames - len(samples) < 0.08 * rate_hz
    if info.lossy is None:
        np.testing.assert_allclose(heard[:, 0], samples, atol=2**-15)
    else:
        spectrum = np.abs(np.fft.rfft(heard[: len(samples), 0]))
        assert np.argmax(spectrum) * rate_hz / min(len(samples), len(heard)) == pytest.approx(440, abs=1)
        assert np.std(heard) == pytest.approx(np.std(samples), rel=0.1)


@pytest.mark.parametrize("kind", ["m4a", "mp3", "ogg", "opus", "mka"])
def test_the_lead_of_an_encoder_is_no_part_of_the_recording(kind: str) -> None:
    samples, rate_hz = sound(kind)
    _, heard = opened(coded(samples, rate_hz, kind))
    middle = slice(rate_hz // 2, rate_hz)
    assert np.corrcoef(heard[middle, 0], samples[middle])[0, 1] > 0.95  # a lead of 1024 samples turns its sign


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("aac", "amr")])
@pytest.mark.parametrize("share", [0.4, 0.75])
def test_half_a_recording_is_never_taken_for_the_whole(kind: str, share: float) -> None:
    samples, rate_hz = sound(kind, 4.0)
    data = coded(samples, rate_hz, kind)
    with pytest.raises((AudioTruncated, AudioHeaderInvalid)):
        opened(data[: int(share * len(data))])


def test_an_index_in_front_does_not_hide_what_is_missing() -> None:
    samples, rate_hz = sound("m4a", 4.0)
    data = coded(samples, rate_hz, "m4a", movflags="faststart")
    assert data.index(b"moov") < data.index(b"mdat")
    with pytest.raises(AudioTruncated):
        opened(data[: len(data) * 3 // 4])


def test_amr_wb_is_read_and_too_coarse() -> None:
    frames = [b"\x44" + np.random.default_rng(number).bytes(60) for number in range(50)]  # mode 8: 23.85 kbit/s
    info, heard = opened(b"#!AMR-WB\n" + b"".join(frames))
    assert (info.rate_hz, info.lossy, info.sample_bits, len(heard)) == (16_000, "AMR-WB", 8, 50 * 320)


def changed(data: bytes, changes: dict[int, bytes]) -> bytes:
    found = bytearray(data)
    for at, patch in changes.items():
        found[at : at + len(patch)] = patch
    return bytes(found)


@pytest.mark.parametrize("size", [b"\xff" * 4, bytes(4)])
def test_an_au_file_from_a_pipe_is_read_to_its_end(size: bytes) -> None:
    samples, rate_hz = sound("au")
    assert opened(changed(coded(samples, rate_hz, "au"), {8: size}))[0].frames == len(samples)
    with pytest.raises(AudioEmpty):
        opened(changed(coded(samples[:0], rate_hz, "au"), {8: size}))


@pytest.mark.parametrize("size", [-1, 0])
def test_a_caf_file_from_a_pipe_is_read_to_its_end(size: int) -> None:
    samples, rate_hz = sound("caf")
    data = coded(samples, rate_hz, "caf")
    info, heard = opened(changed(data, {data.index(b"data") + 4: struct.pack(">q", size)}))
    assert info.frames == len(samples)
    np.testing.assert_array_equal(heard, opened(data)[1])


@pytest.mark.parametrize(("size", "frames"), [(0, 0), (8, 0), (0xFFFF_FFFF, 0xFFFF_FFFF)])
def test_an_aiff_file_from_a_pipe_is_read_to_its_end(size: int, frames: int) -> None:
    samples, rate_hz = sound("aiff")
    data = coded(samples, rate_hz, "aiff")
    places = {4: size, data.index(b"COMM") + 10: frames, data.index(b"SSND") + 4: size}
    info, heard = opened(changed(data, {at: struct.pack(">I", value) for at, value in places.items()}))
    assert info.frames == len(samples)
    np.testing.assert_array_equal(heard, opened(data)[1])


def test_an_mp3_file_that_does_not_say_how_long_it_is_is_decoded_to_its_end() -> None:
    samples, rate_hz = sound("mp3", 4.0)
    data = coded(samples, rate_hz, "mp3")
    at = data.index(b"Xing") if b"Xing" in data[:64] else data.index(b"Info")
    info, _ = opened(changed(data, {at: bytes(4)}))  # libsndfile guesses 2.4 s
    assert info.duration_s == pytest.approx(4.0, abs=0.1)
    assert info.lossy == "MP3"
    with pytest.raises(AudioTruncated, match="last MP3 frame"):
        opened(changed(data, {at: bytes(4)})[: len(data) // 2])


def test_mp3_files_one_behind_the_other_are_decoded_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate_hz = sound("mp3", 2.0)
    both = 2 * coded(samples, rate_hz, "mp3")
    assert opened(both)[0].duration_s == pytest.approx(4.0, abs=0.1)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioFormatUnsupported, match="MP3 of unknown length is read with the extra"):
        opened(both)


def test_two_flac_files_one_behind_the_other_are_refused() -> None:
    samples, rate_hz = sound("flac", 1.0)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="FLAC", subtype="PCM_16")
    assert opened(buffer.getvalue())[0].frames == len(samples)
    with pytest.raises(AudioFormatUnsupported, match="one behind the other"):
        opened(2 * buffer.getvalue())


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_two_streams_one_behind_the_other_are_refused(kind: str) -> None:
    samples, rate_hz = sound(kind, 1.0)
    with pytest.raises(AudioFormatUnsupported, match="one behind the other"):
        opened(2 * coded(samples, rate_hz, kind))


@pytest.mark.parametrize("kind", ["m4a", "opus", "mp3", "mka"])
def test_limits_hold_for_coded_sound(kind: str) -> None:
    samples, rate_hz = sound(kind, 4.0)
    data = coded(samples, rate_hz, kind)
    with pytest.raises(AudioTooLong):
        opened(data, DecodeLimits(max_duration_s=3.5))
    with pytest.raises(AudioTooLarge):
        opened(data, DecodeLimits(max_samples=3 * rate_hz))


@pytest.mark.parametrize(
    ("kind", "bits_per_s", "bits"), [("m4a", 96_000, 16), ("m4a", 32_000, 8), ("mka", 24_000, 8), ("mulaw", 0, 12)]
)
def test_too_few_bits_a_second_are_too_coarse_to_judge(kind: str, bits_per_s: int, bits: int) -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 144_000).astype(np.float32)
    info, _ = opened(coded(noise, 48_000, kind, bits_per_s=bits_per_s))
    assert info.sample_bits == bits
    assert info.bits_per_s is not None


@pytest.mark.parametrize("kind", ["m4a", "amr", "wma", "mka", "aac"])
def test_without_the_extra_the_refusal_names_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate_hz = sound(kind, 1.0)
    data = coded(samples, rate_hz, kind)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioFormatUnsupported, match=r"extra `codecs`: pip install 'humwatch\[codecs\]'"):
        opened(data)


@pytest.mark.parametrize(
    "text", [b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"<?xml?><MPD/>"]
)
def test_what_refers_to_other_files_is_no_recording(text: bytes) -> None:
    with pytest.raises(AudioFormatUnsupported):
        opened(text.ljust(200))


def test_a_file_without_sound_is_named() -> None:
    with pytest.raises(AudioError):
        opened(struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0) + bytes(200))
