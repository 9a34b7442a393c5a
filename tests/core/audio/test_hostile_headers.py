"""Whatever a file says of itself: samples within the limits or an error with a name, in bounded time and memory."""

from __future__ import annotations

import io
import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humwatch.audio.decoding import DecodeLimits, open_recording
from humwatch.errors import AudioError
from tests.coded_sounds import THROUGH_LIBSNDFILE, THROUGH_PYAV, coded
from tests.core.audio.test_wav_header import WHOLE

LIMITS = DecodeLimits(max_duration_s=20.0, max_samples=2_000_000)
HEADER_BYTES = 400


@cache
def whole(kind: str) -> bytes:
    if kind in WHOLE:
        return WHOLE[kind]
    rate_hz = 8_000 if kind in ("3gp", "amr") else 16_000
    noise = np.random.default_rng(4).normal(0, 0.1, rate_hz).astype(np.float32)
    return coded(noise, 48_000 if kind == "mka" else rate_hz, kind)


def heard(data: bytes) -> int:
    """Return the number of samples that were read; 0 where it was refused by name."""
    try:
        with open_recording(io.BytesIO(data), LIMITS) as recording:
            count = sum(block.samples.size for block in recording.blocks())
            assert count == recording.info.frames * recording.info.channels
            return count
    except AudioError:
        return 0


@pytest.mark.parametrize("kind", ["plain", "RF64", "BW64", "Wave64", "RIFX", *THROUGH_PYAV, *THROUGH_LIBSNDFILE])
def test_damage_to_a_header_is_refused_or_read_within_the_limits(kind: str) -> None:
    data = whole(kind)
    places = st.integers(0, min(HEADER_BYTES, len(data)) - 1)
    tails = st.integers(max(0, len(data) - HEADER_BYTES), len(data) - 1)

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(
        st.lists(st.tuples(st.one_of(places, tails), st.integers(0, 255)), min_size=1, max_size=6),
        st.one_of(st.none(), st.integers(0, len(data))),
    )
    def damaged(changes: list[tuple[int, int]], length: int | None) -> None:
        changed = bytearray(data)
        for at, value in changes:
            changed[at] = value
        assert heard(bytes(changed[:length])) <= LIMITS.max_samples

    damaged()


def test_random_bytes_behind_a_magic_take_no_memory() -> None:
    rng = np.random.default_rng(6)
    magics = [
        *(
            b"RIFF\xff\xff\xff\xffWAVE",
            b"RF64\xff\xff\xff\xffWAVEds64",
            b"fLaC\0\0\0\x22",
            b"FORM\0\xff\xff\xffAIFFCOMM",
        ),
        *(b"OggS\0\2", b".snd\0\0\0\x18", b"caff\0\1\0\0desc", b"ID3\3\0\0\0\0\0\0\xff\xfb", b"\0\0\0\x18ftypM4A "),
        *(b"#!AMR\n", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), b"\x1a\x45\xdf\xa3", b"\xff\xf1\x50\x80"),
    ]
    tracemalloc.start()
    for magic in magics:
        for _ in range(5):
            assert heard(magic + rng.bytes(5_000)) <= LIMITS.max_samples
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
