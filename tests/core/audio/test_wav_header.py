from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from humwatch.audio.decoding import AudioInfo, DecodeLimits, open_recording
from humwatch.audio.wav_chunks import MAX_CHUNKS
from humwatch.audio.wav_opening import WavOpening, read_wav_opening
from humwatch.errors import (
    AudioEmpty,
    AudioError,
    AudioFormatUnsupported,
    AudioHeaderInvalid,
    AudioTooLong,
    AudioTruncated,
)

RATE_HZ = 22_050
PCM = np.random.default_rng(3).integers(-20_000, 20_000, 30_000).astype("<i2")
PCM[29_000:29_004] = np.frombuffer(b"LIST\4\0\0\0", "<i2")  # no chunk: what follows is none
DATA = PCM.tobytes()
GUID_PCM = bytes.fromhex("0100000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, *, size: int | None = None, pad: bool = True, order: str = "<") -> bytes:
    filled = b"\0" if pad and len(body) % 2 else b""
    return name + struct.pack(order + "I", len(body) if size is None else size) + body + filled


def fmt(
    bits: int = 16, *, channels: int = 1, tag: int = 1, block: int | None = None, more: bytes = b"", order: str = "<"
) -> bytes:
    block = channels * bits // 8 if block is None else block
    values = struct.pack(order + "HHIIHH", tag, channels, RATE_HZ, RATE_HZ * block, block, bits)
    return chunk(b"fmt ", values + more, order=order)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None, order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(order + "I", len(body) if size is None else size) + body


def ds64(data: int, *, riff_bytes: int = 0) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", riff_bytes, data, 0, 0))


def unsized(size: int) -> bytes:
    return chunk(b"data", DATA, size=size)


def wave64(size: int, samples: bytes = DATA, *, tail: bytes = b"") -> bytes:
    guid = {
        name: name + bytes.fromhex("f3acd3118cd100c04f8edb8a") for name in (b"wave", b"fmt ", b"data", b"fact", b"levl")
    }
    body = guid[b"wave"] + guid[b"fmt "] + struct.pack("<Q", 24 + 16) + fmt()[8:] + guid[b"data"]
    body += struct.pack("<Q", size) + samples + tail
    return b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000") + struct.pack("<Q", 24 + len(body)) + body


def opened(data: bytes, limits: DecodeLimits | None = None) -> tuple[AudioInfo, np.ndarray]:
    with open_recording(io.BytesIO(data), limits) as recording:
        return recording.info, np.concatenate([block.samples for block in recording.blocks()])


LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 8) + b"Recorder")
ODD = b"INFOISFT" + struct.pack("<I", 7) + b"Logger2"
EXT = struct.pack("<HHI", 22, 16, 4)

WHOLE = {
    "plain": riff(fmt(), chunk(b"data", DATA)),
    "size 0": riff(fmt(), unsized(0), size=0),
    "size 0, riff size right": riff(LIST, fmt(), unsized(0)),
    "size 0, riff size of an empty file": riff(fmt(), unsized(0), size=36),
    "4 GiB - 1": riff(fmt(), unsized(0xFFFF_FFFF), size=0xFFFF_FFFF),
    "4 GiB - 37": riff(fmt(), unsized(0xFFFF_FFDB), size=0xFFFF_FFFF),
    "2 GiB": riff(fmt(), unsized(0x8000_0000), size=0x8000_0024),
    "2 GiB - 4096": riff(fmt(), unsized(0x7FFF_F000), size=0x7FFF_F024),
    "RF64, ds64 of zeros": riff(ds64(0), fmt(), unsized(0xFFFF_FFFF), magic=b"RF64", size=0xFFFF_FFFF),
    "RF64, ds64 of ones": riff(ds64(2**64 - 1), fmt(), unsized(0xFFFF_FFFF), magic=b"RF64", size=0xFFFF_FFFF),
    "RF64, 2^63 - 1": riff(ds64(2**63 - 1), fmt(), unsized(0xFFFF_FFFF), magic=b"RF64", size=0xFFFF_FFFF),
    "RF64 without ds64": riff(fmt(), unsized(0xFFFF_FFFF), magic=b"RF64", size=0xFFFF_FFFF),
    "RF64, JUNK where ds64 was to be": riff(chunk(b"JUNK", bytes(28)), fmt(), unsized(0), magic=b"RF64", size=0),
    "RF64": riff(ds64(len(DATA)), fmt(), unsized(0xFFFF_FFFF), LIST, magic=b"RF64", size=0xFFFF_FFFF),
    "RF64, a short size of its own": riff(ds64(0), fmt(), chunk(b"data", DATA), LIST, magic=b"RF64", size=0xFFFF_FFFF),
    "RF64, ds64 and data 0": riff(ds64(len(DATA)), fmt(), unsized(0), LIST, magic=b"RF64", size=0xFFFF_FFFF),
    "BW64": riff(ds64(len(DATA)), fmt(), chunk(b"chna", bytes(4)), unsized(0xFFFF_FFFF), LIST, magic=b"BW64"),
    "BW64, unknown": riff(ds64(2**64 - 1), fmt(), unsized(0xFFFF_FFFF), magic=b"BW64", size=0xFFFF_FFFF),
    "4 GiB - 1, chunks behind": riff(fmt(), unsized(0xFFFF_FFFF), LIST, chunk(b"id3 ", bytes(31), pad=False)),
    "size 0, chunks behind": riff(fmt(), unsized(0), chunk(b"bext", bytes(602)), LIST),
    "RF64, unknown, chunks behind": riff(ds64(0), fmt(), unsized(0xFFFF_FFFF), LIST, magic=b"RF64"),
    "Wave64": wave64(24 + len(DATA)),
    "Wave64, 0": wave64(0),
    "Wave64, 2^63 - 1": wave64(2**63 - 1),
    "Wave64, 2^64 - 1": wave64(2**64 - 1),
    "20 bytes too many": riff(fmt(), unsized(len(DATA) + 20)),
    "a header too many": riff(LIST, fmt(), unsized(len(DATA) + len(riff(LIST, fmt())) + 8)),
    "odd chunk, filled": riff(chunk(b"LIST", ODD), fmt(), chunk(b"data", DATA)),
    "odd chunk, not filled": riff(chunk(b"LIST", ODD, pad=False), fmt(), chunk(b"data", DATA)),
    "odd chunk, not filled, unknown length": riff(fmt(), chunk(b"LIST", ODD, pad=False), unsized(0)),
    "trailing chunks": riff(fmt(), chunk(b"data", DATA), LIST, chunk(b"id3 ", bytes(99)), chunk(b"cue ", bytes(4))),
    "tag behind": riff(fmt(), chunk(b"data", DATA)) + b"TAG" + bytes(125),
    "large APE tag behind": riff(fmt(), chunk(b"data", DATA)) + b"APETAGEX" + b"picture" * 5_000,
    "ID3 in front": b"ID3\3\0\0\0\0\1\5" + bytes(133) + riff(fmt(), chunk(b"data", DATA)),
    "zeros to the cluster": riff(fmt(), chunk(b"data", DATA)) + bytes(65_536),
    "vendor bytes behind": riff(fmt(), chunk(b"data", DATA)) + b"\xff\x01" * 1_000,
    "three data chunks": riff(
        fmt(), chunk(b"data", DATA[:101]), LIST, chunk(b"data", DATA[101:7_000]), chunk(b"data", DATA[7_000:])
    ),
    "an empty data chunk first": riff(fmt(), chunk(b"data", b""), chunk(b"data", DATA)),
    "block 0": riff(fmt(block=0), chunk(b"data", DATA)),
    "bits 0": riff(fmt(0, block=2), chunk(b"data", DATA)),
    "14 bits in 2 bytes": riff(fmt(14, block=2), chunk(b"data", DATA)),
    "extensible": riff(fmt(tag=0xFFFE, more=EXT + GUID_PCM), chunk(b"data", DATA)),
    "extensible, nothing filled in": riff(fmt(tag=0xFFFE, more=bytes(24)), chunk(b"data", DATA)),
    "extensible, chunk of 16": riff(fmt(tag=0xFFFE), chunk(b"data", DATA)),
    "extensible, valid bits 0": riff(
        fmt(tag=0xFFFE, more=struct.pack("<HHI", 22, 0, 0) + GUID_PCM), chunk(b"data", DATA)
    ),
    "RIFX": riff(fmt(order=">"), chunk(b"data", PCM.astype(">i2").tobytes(), order=">"), magic=b"RIFX", order=">"),
    "RIFX, size 0": riff(
        fmt(order=">"), chunk(b"data", PCM.astype(">i2").tobytes(), size=0, order=">"), magic=b"RIFX", order=">"
    ),
    "S24_LE": riff(fmt(24, block=4), chunk(b"data", (PCM.astype("<i4") << 8).tobytes())),
    "S24_LE, upper byte zero": riff(fmt(24, block=4), chunk(b"data", ((PCM.astype("<i4") << 8) & 0xFFFFFF).tobytes())),
    "S24_LE, upper byte undefined": riff(
        fmt(24, block=4), chunk(b"data", ((PCM.astype("<i4") << 8) & 0xFFFFFF | 0x5A000000).tobytes())
    ),
    "24 bits in the upper bytes": riff(fmt(24, block=4), chunk(b"data", (PCM.astype("<i4") << 16).tobytes())),
    "24 of 32, extensible": riff(
        fmt(32, tag=0xFFFE, more=struct.pack("<HHI", 22, 24, 4) + GUID_PCM),
        chunk(b"data", (PCM.astype("<i4") << 16).tobytes()),
    ),
}


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_whole_recording_is_read_whole(name: str) -> None:
    info, samples = opened(WHOLE[name])
    assert info.frames == len(PCM)
    np.testing.assert_array_equal(samples[:, 0], PCM / np.float32(32768))


EMPTY = {
    "nothing behind": riff(fmt(), chunk(b"data", b"")),
    "nothing behind 4 GiB": riff(fmt(), chunk(b"data", b"", size=0xFFFF_FFFF)),
    "chunks behind": riff(fmt(), chunk(b"data", b""), LIST, chunk(b"cue ", bytes(4))),
    "odd chunk behind, not filled": riff(fmt(), chunk(b"data", b""), chunk(b"LIST", ODD, pad=False)),
    "RF64": riff(ds64(0), fmt(), chunk(b"data", b"", size=0xFFFF_FFFF), LIST, magic=b"RF64", size=0xFFFF_FFFF),
    "Wave64": wave64(24, b""),
    "less than a frame": riff(fmt(channels=4), chunk(b"data", b"1234567")),
}


@pytest.mark.parametrize("name", list(EMPTY))
def test_an_empty_recording_stays_empty(name: str) -> None:
    with pytest.raises(AudioEmpty, match="no samples"):
        opened(EMPTY[name])


REFUSED: dict[str, tuple[bytes, type[AudioError], str]] = {
    "100 bytes too few": (riff(fmt(), chunk(b"data", DATA))[:-100], AudioTruncated, "59900 are there"),
    "half": (riff(fmt(), chunk(b"data", DATA))[: len(DATA) // 2], AudioTruncated, "claims 60000 bytes"),
    "RF64": (
        riff(ds64(len(DATA)), fmt(), unsized(0xFFFF_FFFF), magic=b"RF64")[:-5_000],
        AudioTruncated,
        "55000 are there",
    ),
    "BW64": (riff(ds64(2**40), fmt(), unsized(0xFFFF_FFFF), magic=b"BW64"), AudioTruncated, "60000 are there"),
    "Wave64": (wave64(24 + len(DATA))[:-1_000], AudioTruncated, "59000 are there"),
    "second data chunk": (
        riff(fmt(), chunk(b"data", DATA[:1_000]), chunk(b"data", DATA[1_000:]))[:-40],
        AudioTruncated,
        "58960 are there",
    ),
    "header of the first half": (
        riff(fmt(), chunk(b"data", DATA[:30_000]), size=30_036) + DATA[30_000:],
        AudioHeaderInvalid,
        "longer than its header says",
    ),
    "two files": (2 * riff(fmt(), chunk(b"data", DATA)), AudioFormatUnsupported, "several WAV files"),
    "list of waves": (
        riff(fmt(), chunk(b"LIST", b"wavl" + chunk(b"data", DATA))),
        AudioFormatUnsupported,
        "list of waves",
    ),
    "no data": (riff(fmt(), LIST), AudioHeaderInvalid, "before its 'data'"),
    "no fmt": (riff(chunk(b"data", DATA)), AudioHeaderInvalid, "before the 'fmt '"),
    "short fmt": (riff(chunk(b"fmt ", bytes(12)), chunk(b"data", DATA)), AudioHeaderInvalid, "12 bytes"),
    "16 bits in 4 bytes": (riff(fmt(16, block=4), chunk(b"data", DATA)), AudioHeaderInvalid, "4 bytes a frame"),
    "64-bit integers": (riff(fmt(64), chunk(b"data", DATA)), AudioHeaderInvalid, "64 bits a sample"),
    "16-bit floats": (riff(fmt(16, tag=3), chunk(b"data", DATA)), AudioHeaderInvalid, "no float has"),
    "integers or floats?": (riff(fmt(32, tag=0xFFFE), chunk(b"data", DATA)), AudioHeaderInvalid, "integers or floats"),
    "unknown sub-format": (
        riff(fmt(tag=0xFFFE, more=EXT + b"0123456789abcdef"), chunk(b"data", DATA)),
        AudioFormatUnsupported,
        "sub-format",
    ),
    "coded, length unknown": (
        riff(fmt(4, tag=0x11, block=1024), unsized(0)),
        AudioFormatUnsupported,
        "without a length",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_whole_is_refused_by_name(name: str) -> None:
    data, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        opened(data)


def test_an_unknown_length_keeps_the_limits() -> None:
    with pytest.raises(AudioTooLong):
        opened(WHOLE["RF64, ds64 of ones"], DecodeLimits(max_duration_s=1.3))


def test_the_bits_that_say_something_are_the_resolution() -> None:
    valid = struct.pack("<HHI", 22, 12, 4)
    assert opened(riff(fmt(tag=0xFFFE, more=valid + GUID_PCM), chunk(b"data", DATA)))[0].sample_bits == 12
    assert opened(WHOLE["24 of 32, extensible"])[0].sample_bits == 24
    assert opened(WHOLE["S24_LE"])[0].sample_bits == 24


def test_a_size_that_started_again_at_4_gib_is_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    head = riff(fmt(), chunk(b"data", b"", size=len(DATA)))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + len(DATA) + (1 << 32))  # sparse: takes no room
    with open_recording(path, DecodeLimits(max_duration_s=1e9, max_samples=1 << 40)) as recording:
        assert recording.info.frames == (len(DATA) + (1 << 32)) // 2
        assert len(next(recording.blocks()).samples) == 1 << 18


def test_more_chunks_than_any_recorder_writes_are_refused_at_once() -> None:
    with pytest.raises(AudioHeaderInvalid, match="chunks"):
        opened(riff(fmt(), *[chunk(b"JUNK", b"")] * (MAX_CHUNKS + 1), chunk(b"data", DATA)))


def test_names_without_end_among_samples_of_unknown_length_are_looked_at_once() -> None:
    names = b"LIST\0\0\0\0" * 8_000 + b"\xff" * 16
    reads = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    with open_recording(Counted(riff(fmt(), chunk(b"data", DATA + names, size=0)))) as recording:
        assert recording.info.frames == len(PCM) + len(names) // 2
    assert reads < 50_000


def test_the_rate_of_bytes_is_known_from_the_first_of_them() -> None:
    whole = read_wav_opening(io.BytesIO(WHOLE["BW64"][:200]))
    assert whole is not None
    assert whole.format is not None
    assert whole.format.bytes_per_s == 2 * RATE_HZ
    assert read_wav_opening(io.BytesIO(WHOLE["plain"][:20])) == WavOpening(None, None)
    assert read_wav_opening(io.BytesIO(b"fLaC" + os.urandom(100))) is None
