"""A WAV header in front of sound without an end: what it says, and what is not taken."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from humwatch_service.errors import MediaTypeUnsupported
from humwatch_service.protocol.messages import SampleFormat
from humwatch_service.protocol.pcm import PcmDecoder
from humwatch_service.protocol.wav_head import WavHead, read_wav_head


def wav(form: str, subtype: str, channels: int = 2, endian: str = "FILE") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(4).uniform(-0.9, 0.9, (500, channels))
    soundfile.write(buffer, noise, 48_000, subtype=subtype, format=form, endian=endian)
    return buffer.getvalue()


def by_hand(*chunks: tuple[bytes, bytes], data_bytes: int, magic: bytes = b"RIFF") -> bytes:
    inner = b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks)
    return magic + struct.pack("<I", 0xFFFF_FFFF) + b"WAVE" + inner + b"data" + struct.pack("<I", data_bytes)


FMT = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)


@pytest.mark.parametrize(
    ("form", "subtype", "expected"),
    [
        ("WAV", "PCM_16", "s16le"),
        ("WAV", "PCM_24", "s24le"),
        ("WAV", "PCM_32", "s32le"),
        ("WAV", "FLOAT", "f32le"),
        ("WAV", "DOUBLE", "f64le"),
        ("WAVEX", "PCM_24", "s24le"),
        ("RF64", "PCM_16", "s16le"),
    ],
)
def test_the_samples_behind_the_header_are_those_of_the_file(form: str, subtype: str, expected: SampleFormat) -> None:
    data = wav(form, subtype)
    at = next(size for size in range(len(data)) if read_wav_head(data[:size]) is not None)
    head = read_wav_head(data[:at])
    assert head is not None
    assert (head.format, head.rate_hz, head.channels, head.size) == (expected, 48_000, 2, at)
    assert head.data_bytes is not None
    samples = PcmDecoder(head.format, 2).push(data[at : at + head.data_bytes])
    filed, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert np.array_equal(samples, filed)


@pytest.mark.parametrize("data_bytes", [0, 0x7FFF_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_a_length_that_nobody_filled_in_is_none(data_bytes: int) -> None:
    data = by_hand((b"fmt ", FMT), (b"LIST", b"INFOISFT\x05\0\0\0Lavf\0"), data_bytes=data_bytes)
    assert read_wav_head(data) == WavHead("s16le", 16_000, 1, len(data), None)


def test_a_long_length_is_that_of_its_own_chunk() -> None:
    ds64 = struct.pack("<QQQI", 5 << 32, 3 << 32, 0, 0)
    for magic in (b"RF64", b"BW64"):
        head = read_wav_head(by_hand((b"ds64", ds64), (b"fmt ", FMT), data_bytes=0xFFFF_FFFF, magic=magic))
        assert head is not None
        assert head.data_bytes == 3 << 32


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wav("WAV", "PCM_U8"), "8 bits"),
        (wav("WAV", "ULAW"), "format tag 7"),
        (wav("WAV", "PCM_16", endian="BIG"), "little-endian"),
        (by_hand(data_bytes=100), "come before"),
        (by_hand((b"fmt ", FMT[:10]), data_bytes=100), "10 bytes"),
        (by_hand(*[(b"junk", b"")] * 64, (b"fmt ", FMT), data_bytes=100), "64 chunks"),
        (by_hand((b"junk", bytes(70_000)), (b"fmt ", FMT), data_bytes=100), "65536 bytes"),
        (by_hand((b"fmt ", FMT[:12] + b"\x07" + FMT[13:]), data_bytes=100), "not taken"),
    ],
)
def test_what_cannot_be_heard_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(MediaTypeUnsupported, match=words):
        read_wav_head(data)


def test_damage_is_refused_or_waits_for_more() -> None:
    rng = np.random.default_rng(9)
    whole = by_hand((b"ds64", bytes(28)), (b"LIST", bytes(7)), (b"fmt ", FMT), data_bytes=100, magic=b"RF64")
    for _ in range(2_000):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(0, 256)
        try:
            head = read_wav_head(bytes(damaged[: int(rng.integers(0, len(whole) + 1))]))
        except MediaTypeUnsupported:
            continue
        assert head is None or head.size <= len(whole)
