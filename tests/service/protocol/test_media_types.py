"""Content types of streams, as microphones, GStreamer, ALSA and libraries write them."""

from __future__ import annotations

import pytest

from humwatch_service.errors import MediaTypeUnsupported
from humwatch_service.protocol.media_types import AudioFormat, audio_format


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("audio/L16;rate=16000", ("s16be", 16_000, 1)),
        ("audio/l16; Rate=44100; Channels=2", ("s16be", 44_100, 2)),
        ('audio/L16;rate="16000";channels=1', ("s16be", 16_000, 1)),
        ("audio/L16;rate=22050;endianness=little-endian", ("s16le", 22_050, 1)),
        ("audio/L24;rate=48000;channels=2;channel-order=DV.LR", ("s24be", 48_000, 2)),
        ("audio/x-raw;format=S32LE;rate=48000;channels=2", ("s32le", 48_000, 2)),
        ("audio/x-raw;format=s24_32le;rate=48000", ("s24_32le", 48_000, 1)),
        ("audio/x-raw;format=S24_LE;rate=48000", ("s24_32le", 48_000, 1)),
        ("audio/x-raw;format=S24_3LE;rate=48000", ("s24le", 48_000, 1)),
        ("audio/x-raw;format=F64BE;rate=8000;layout=interleaved", ("f64be", 8_000, 1)),
        (
            "audio/x-raw, format=(string)S24LE, layout=(string)interleaved, rate=(int)48000, channels=(int)2",
            ("s24le", 48_000, 2),
        ),
        ("audio/x-raw;format=S16LE;rate=16000;layout=non-interleaved", ("s16le", 16_000, 1)),
    ],
)
def test_what_a_content_type_announces(content_type: str, expected: tuple[str, int, int]) -> None:
    assert audio_format(content_type) == AudioFormat(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content_type",
    ["", "audio/wav", "Audio/X-WAV", "audio/vnd.wave; codecs=1", "application/octet-stream", "binary/octet-stream"],
)
def test_others_leave_it_to_the_sound(content_type: str) -> None:
    assert audio_format(content_type) is None


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("audio/basic", "mu-law of 8 kHz.*audio/L16"),
        ("audio/PCMU;rate=8000", "mu-law"),
        ("audio/PCMA", "A-law"),
        ("audio/L20;rate=48000", "20 bits"),
        ("audio/L8;rate=8000", "8 bits"),
        ("audio/ogg", "no samples"),
        ("text/plain", "no samples"),
        ("multipart/form-data; boundary=x", "no samples"),
        ("audio/x-raw;rate=16000", "format ''"),
        ("audio/x-raw;format=U8;rate=16000", "'u8'.*S24LE"),
        ("audio/x-raw;format=S16LE;rate=16000;channels=2;layout=non-interleaved", "interleaved"),
        ("audio/L16", "rate"),
        ("audio/L24;rate=48k", "rate"),
        ("audio/L16;rate=16000;channels=two", "channels"),
        ("audio/L16;rate=16000;endianness=middle", "endianness"),
    ],
)
def test_what_is_not_heard_is_refused_with_what_is(content_type: str, words: str) -> None:
    with pytest.raises(MediaTypeUnsupported, match=words):
        audio_format(content_type)
