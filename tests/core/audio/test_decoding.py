from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from humwatch.audio.decoding import DecodeLimits, MonoResampler, open_recording, read_mono
from humwatch.errors import (
    AudioChannelMissing,
    AudioEmpty,
    AudioError,
    AudioFormatUnsupported,
    AudioHeaderInvalid,
    AudioNotFinite,
    AudioRateUnsupported,
    AudioTooLarge,
    AudioTooLong,
    AudioTooManyChannels,
    AudioTruncated,
)


def wav(samples: np.ndarray, rate_hz: int = 16_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, subtype=subtype, format=format)
    return buffer.getvalue()


def header(
    channels: int = 1,
    rate_hz: int = 16_000,
    bits: int = 16,
    tag: int = 1,
    data: bytes = b"\0" * 64_000,
    claimed: int | None = None,
    block: int | None = None,
) -> bytes:
    block = channels * bits // 8 & 0xFFFF if block is None else block
    fmt = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block, bits)
    size = len(data) if claimed is None else claimed
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read(data: bytes, limits: DecodeLimits | None = None) -> np.ndarray:
    with open_recording(io.BytesIO(data), limits) as recording:
        return np.concatenate([block.samples for block in recording.blocks()])


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-0.5, 0.5, (20_000, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("subtype", "format", "tolerance"),
    [
        ("PCM_U8", "WAV", 1 / 128),
        ("PCM_16", "WAV", 1 / 32_768),
        ("PCM_24", "WAV", 2**-23),
        ("PCM_32", "WAV", 2**-23),
        ("FLOAT", "WAV", 0.0),
        ("DOUBLE", "WAV", 0.0),
        ("PCM_16", "WAVEX", 1 / 32_768),
        ("PCM_24", "WAVEX", 2**-23),
        ("PCM_16", "RF64", 1 / 32_768),
        ("PCM_16", "FLAC", 1 / 32_768),
        ("PCM_24", "FLAC", 2**-23),
    ],
)
def test_every_encoding_gives_the_samples(noise: np.ndarray, subtype: str, format: str, tolerance: float) -> None:
    assert np.abs(read(wav(noise, subtype=subtype, format=format)) - noise).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 2, 8, 16])
def test_the_chosen_channel_is_read(rng: np.random.Generator, channels: int) -> None:
    samples = rng.uniform(-0.5, 0.5, (5000, channels)).astype(np.float32)
    data = io.BytesIO(wav(samples, subtype="FLOAT"))
    assert np.array_equal(read_mono(data, rate_hz=16_000, channel=channels - 1), samples[:, -1])


def test_a_missing_channel_is_named(noise: np.ndarray) -> None:
    with pytest.raises(AudioChannelMissing, match="channel 3 of a recording with 1"):
        read_mono(io.BytesIO(wav(noise)), rate_hz=16_000, channel=3)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("chunk", [1, 160, 1024, 7919])
def test_streamed_resampling_equals_one_shot_to_the_bit(noise: np.ndarray, rate_hz: int, chunk: int) -> None:
    samples = noise[:6000] if chunk == 1 else noise
    mono = MonoResampler(source_rate_hz=rate_hz, rate_hz=16_000)
    pieces = [mono.push(samples[start : start + chunk]) for start in range(0, len(samples), chunk)]
    expected = soxr.resample(samples[:, 0], rate_hz, 16_000, quality=soxr.VHQ)
    assert np.array_equal(np.concatenate([*pieces, mono.flush()]), expected)


def test_the_resampler_starts_anew_after_flush(noise: np.ndarray) -> None:
    mono = MonoResampler(source_rate_hz=48_000, rate_hz=16_000)
    first = np.concatenate([mono.push(noise), mono.flush()])
    assert np.array_equal(np.concatenate([mono.push(noise), mono.flush()]), first)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", AudioEmpty),
        (b"this is no sound, whatever it is called" * 10, AudioFormatUnsupported),
        (b"RIFF", AudioFormatUnsupported),
        (b"RIFF\x24\0\0\0WAVE", AudioHeaderInvalid),
        (header(data=b""), AudioEmpty),
        (header(rate_hz=0), AudioRateUnsupported),
        (header(rate_hz=2_000_000_000), AudioRateUnsupported),
        (header(channels=0, block=2), AudioHeaderInvalid),
        (header(channels=65_535), AudioTooManyChannels),
        (header(channels=17), AudioTooManyChannels),
        (header(block=3), AudioHeaderInvalid),
        (header(claimed=640_000), AudioTruncated),
        (header()[:20], AudioHeaderInvalid),
        (header(tag=0x0055, bits=0, block=1), AudioFormatUnsupported),
        (b"RIFF\xff\0\0\0WAVEdata\x10\0\0\0" + b"\0" * 200, AudioHeaderInvalid),
        (wav(np.zeros((9000, 1)), format="FLAC")[:60], AudioError),
    ],
)
def test_what_cannot_be_a_recording_is_refused_by_name(data: bytes, error: type[AudioError]) -> None:
    with pytest.raises(error):
        read(data)


def test_a_truncated_flac_is_refused(rng: np.random.Generator) -> None:
    data = wav(rng.normal(0, 0.1, (50_000, 1)), format="FLAC")
    with pytest.raises(AudioTruncated):
        read(data[: len(data) // 2])


def without_length(flac: bytes) -> bytes:
    """Return a FLAC file as a pipe gives it: the total of STREAMINFO is 0."""
    data = bytearray(flac)
    at = 4 + 4 + 13  # magic, block header, and the fields before the 36 bits of the total
    data[at] &= 0xF0
    data[at + 1 : at + 5] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize(("frames", "channels"), [(1, 1), (4096, 1), (50_000, 1), (300_001, 2)])
def test_a_flac_that_does_not_know_its_length_is_counted(rng: np.random.Generator, frames: int, channels: int) -> None:
    data = wav(rng.normal(0, 0.1, (frames, channels)), format="FLAC")
    with open_recording(io.BytesIO(without_length(data))) as recording:
        assert recording.info.frames == frames
    assert np.array_equal(read(without_length(data)), read(data))


def test_limits_hold_where_no_header_says_how_long_it_is(rng: np.random.Generator) -> None:
    data = without_length(wav(rng.normal(0, 0.1, (400_000, 2)), format="FLAC"))
    with pytest.raises(AudioTooLong):
        read(data, DecodeLimits(max_duration_s=24.9))
    with pytest.raises(AudioTooLarge):
        read(data, DecodeLimits(max_samples=799_999))
    assert len(read(data, DecodeLimits(max_duration_s=25.0, max_samples=800_000))) == 400_000


def test_a_truncated_wav_is_refused_and_one_from_a_pipe_is_not(noise: np.ndarray) -> None:
    data = wav(noise)
    with pytest.raises(AudioTruncated, match="40000 bytes of samples, 39000 are there"):
        read(data[:-1000])
    at = data.index(b"data") + 4
    for unknown in (0xFFFFFFFF, 0x7FFFF000):
        assert len(read(data[:at] + struct.pack("<I", unknown) + data[at + 4 :])) == 20_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(noise: np.ndarray, bad: float) -> None:
    noise[12_345] = bad
    with pytest.raises(AudioNotFinite):
        read(wav(noise, subtype="FLOAT"))


def test_limits_are_checked_from_the_header(noise: np.ndarray) -> None:
    with pytest.raises(AudioTooLong, match=r"1\.2 s; at most 1 s"):
        read(wav(noise), DecodeLimits(max_duration_s=1.0))
    with pytest.raises(AudioTooLarge):
        read(wav(noise), DecodeLimits(max_samples=19_999))
    with pytest.raises(AudioRateUnsupported):
        read(wav(noise, rate_hz=3999))


@pytest.mark.parametrize(("format", "subtype"), [("NIST", "PCM_16"), ("VOC", "PCM_16"), ("PVF", "PCM_16")])
def test_other_containers_are_refused(noise: np.ndarray, format: str, subtype: str) -> None:
    with pytest.raises(AudioFormatUnsupported, match=f"{format} files are not read"):
        read(wav(noise, format=format, subtype=subtype))


def test_other_encodings_are_refused(noise: np.ndarray) -> None:
    with pytest.raises(AudioFormatUnsupported, match="GSM610 samples are not read"):
        read(wav(noise[:, 0], rate_hz=8_000, subtype="GSM610"))
    with pytest.raises(AudioFormatUnsupported, match="samples without a header are not taken"):
        read(np.arange(40_000, dtype="<i2").tobytes())


def test_a_path_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_recording(tmp_path / "none.wav"):
        pass


def test_blocks_are_bounded_and_in_order(rng: np.random.Generator) -> None:
    samples = rng.uniform(-0.5, 0.5, (100_000, 8)).astype(np.float32)
    with open_recording(io.BytesIO(wav(samples, subtype="FLOAT"))) as recording:
        blocks = list(recording.blocks())
    assert max(block.samples.size for block in blocks) <= 1 << 18
    assert [block.start_sample for block in blocks] == list(np.cumsum([0] + [len(b.samples) for b in blocks[:-1]]))
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), samples)
