from __future__ import annotations

import io

import numpy as np
import soundfile

from humwatch_service.protocol.pcm import PcmDecoder
from humwatch_service.storage.sounds.flac import flac_of
from humwatch_service.streams.audio_ring import SoundRing


def ramp(start: int, n: int) -> np.ndarray:
    return (np.arange(start, start + n) % 30_000 / 32_768).astype(np.float32)


def test_it_gives_back_integers_as_they_were_sent() -> None:
    ring = SoundRing(1000, integers=True)
    for start in range(0, 900, 90):
        ring.push(start, ramp(start, 90))
    got = ring.between(100, 205)
    assert got.dtype == np.int16
    assert got.tolist() == list(range(100, 205))
    assert ring.end == 900


def test_sound_of_24_bits_is_24_bits_as_evidence_too() -> None:
    sent = np.random.default_rng(2).integers(-(1 << 23), 1 << 23, 5_000)
    packed = b"".join(int(value).to_bytes(3, "little", signed=True) for value in sent)
    ring = SoundRing(8_000, integers=False)
    ring.push(0, PcmDecoder("s24le", 1).push(packed)[:, 0])
    flac = io.BytesIO(flac_of(ring.between(0, 5_000), 16_000))
    assert soundfile.info(flac).subtype == "PCM_24"
    flac.seek(0)
    assert np.array_equal(soundfile.read(flac, dtype="int32")[0] >> 8, sent)


def test_it_keeps_no_more_than_its_capacity_and_a_piece() -> None:
    ring = SoundRing(1000, integers=False)
    for start in range(0, 50_000, 100):
        ring.push(start, ramp(start, 100))
    kept = ring.between(0, 60_000)
    assert 1000 <= len(kept) < 1100
    assert kept[-1] == ramp(49_999, 1)[0]
    assert kept.dtype == np.float32


def test_gaps_are_left_out() -> None:
    ring = SoundRing(1000, integers=True)
    ring.push(0, ramp(0, 10))
    ring.push(100, ramp(100, 10))
    assert ring.between(5, 103).tolist() == [5, 6, 7, 8, 9, 100, 101, 102]
    ring.reset()
    assert len(ring.between(0, 1000)) == 0
    assert ring.end == 0
