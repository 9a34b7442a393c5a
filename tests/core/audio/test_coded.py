from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest

from humwatch.audio.decoding import AudioInfo, DecodeLimits, open_recording
from humwatch.errors import (
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


def test_an_au_file_from_a_pipe_is_read_to_its_end() -> None:
    samples, rate_hz = sound("au")
    data = bytearray(coded(samples, rate_hz, "au"))
    data[8:12] = b"\xff" * 4
    assert opened(bytes(data))[0].frames == len(samples)


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
