"""Files that are sent as samples are known by their first bytes; sound is not taken for one."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from humwatch_service.errors import StreamInvalid
from humwatch_service.protocol.containers import LONGEST_BYTES, StreamHead, sniff

RNG = np.random.default_rng(16)


def file_of(form: str, subtype: str, endian: str = "FILE") -> bytes:
    buffer = io.BytesIO()
    noise = RNG.uniform(-0.9, 0.9, 30_000)
    soundfile.write(buffer, noise, 16_000, subtype=subtype, format=form, endian=endian)
    return buffer.getvalue()


WRITTEN = {
    "wav": ("WAV", file_of("WAV", "PCM_16")),
    "wav of 24 bits": ("WAV", file_of("WAV", "PCM_24")),
    "extensible": ("WAV", file_of("WAVEX", "FLOAT")),
    "rf64": ("WAV", file_of("RF64", "PCM_16")),
    "rifx": ("WAV", file_of("WAV", "PCM_16", "BIG")),
    "bw64": ("WAV", b"BW64\xff\xff\xff\xffWAVEds64"),
    "w64": ("Wave64", file_of("W64", "PCM_16")),
    "flac": ("FLAC", file_of("FLAC", "PCM_16")),
    "vorbis": ("Ogg", file_of("OGG", "VORBIS")),
    "opus": ("Ogg", file_of("OGG", "OPUS")),
    "mp3": ("MP3", file_of("MP3", "MPEG_LAYER_III")),
    "mp3 with a tag": ("MP3", b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE\x00\x00\x00\x0f\x00\x00\x03Lavf59.27.100"),
    "aiff": ("AIFF", file_of("AIFF", "PCM_16")),
    "aifc": ("AIFF", file_of("AIFF", "FLOAT")),
    "caf": ("CAF", file_of("CAF", "PCM_16")),
    "au": ("AU", file_of("AU", "PCM_16")),
    "m4a": ("MP4 (M4A)", b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00"),
    "webm": ("WebM", b"\x1aE\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01"),
    "webm of a browser": ("WebM", b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f\x42\x86\x81\x01\x42\xf7"),
    "wma": ("ASF (WMA)", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
    "amr": ("AMR", b"#!AMR\n\x3c"),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("size", [1, 2, 5, 11, 4_096])
def test_a_file_is_named_wherever_its_bytes_are_cut(name: str, size: int) -> None:
    container, data = WRITTEN[name]
    head = StreamHead()
    passed = b""
    with pytest.raises(StreamInvalid, match=f"this is an? {container} file".replace("(", r"\(").replace(")", r"\)")):
        for at in range(0, len(data), size):
            passed += head.push(data[at : at + size])
    assert passed == b"", "not one byte of the header is heard"


def test_sound_passes_whole_however_it_is_cut() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        data = rng.integers(0, 256, 100, np.uint8).tobytes()
        head = StreamHead()
        passed, at = b"", 0
        while at < len(data):
            size = int(rng.integers(1, 9))
            passed += head.push(data[at : at + size])
            at += size
        assert passed + head.rest() == data


@pytest.mark.parametrize(
    "near",
    [
        b"RIFF\x24\x00\x00\x00WAVX" + bytes(50),
        b"RIFF" + bytes(60),
        b"ID3\x01" + bytes(60),
        b"fLaC\x00\x00\x00\x23" + bytes(60),
        b"fLaC" + b"\x10\x20" * 30,
        b"OggS\x00\x02" + b"\x01" * 60,
        b"\xff\xfb\x90\x64" + bytes(60),
        struct.pack("<4h", 0, 0, 29_798, 1_000) + bytes(60),
        b"FORM\x00\x00\x10\x00AIFX" + bytes(60),
        bytes(64),
    ],
)
def test_sound_that_begins_nearly_as_a_file_does_is_heard(near: bytes) -> None:
    head = StreamHead()
    assert b"".join(head.push(near[i : i + 1]) for i in range(len(near))) + head.rest() == near


def test_what_is_held_back_at_the_end_is_sound() -> None:
    head = StreamHead()
    assert head.push(b"RIFF") == b""
    assert head.rest() == b"RIFF"
    assert head.push(b"#!AMR\n") == b"#!AMR\n", "behind its first bytes a stream is sound"


@pytest.mark.parametrize("size", [1, 7, 11, 5_000])
def test_the_header_of_a_wav_file_is_named_within_the_samples(size: int) -> None:
    samples = np.random.default_rng(3).integers(0, 256, 2_000, np.uint8).tobytes()
    data = samples + WRITTEN["wav"][1]
    head, passed = StreamHead(), b""
    with pytest.raises(StreamInvalid, match="another WAV file"):
        for at in range(0, len(data), size):
            passed += head.push(data[at : at + size])
    assert samples.startswith(passed[: len(samples)])
    assert len(passed) < len(samples) + 12
    near = b"WAVE" + b"RIFF....WAV" + b"WAVE"
    assert StreamHead().push(samples + near) == samples + near


def test_no_more_is_held_back_than_the_longest_header() -> None:
    for _, data in WRITTEN.values():
        assert not sniff(data[:LONGEST_BYTES]).in_doubt
