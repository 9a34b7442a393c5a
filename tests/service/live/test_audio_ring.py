from __future__ import annotations

import numpy as np

from humwatch_service.live.audio_ring import SoundRing


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
