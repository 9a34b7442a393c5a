from __future__ import annotations

import io

import numpy as np
import pytest
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


@pytest.mark.parametrize(("bits", "sample_bytes"), [(12, 1.5), (16, 2), (20, 2.5), (24, 3), (None, 4)])
def test_floats_are_kept_in_as_few_bytes_as_give_them_back(bits: int | None, sample_bytes: float) -> None:
    rng = np.random.default_rng(3)
    if bits is None:
        sent = rng.normal(0.0, 0.3, 6_000).astype(np.float32)
    else:
        ends = [-(1 << (bits - 1)), (1 << (bits - 1)) - 1, -1, 0, 1]
        whole = np.append(ends, rng.integers(ends[0], -ends[0], 5_995))
        sent = (whole / (1 << (23 if bits > 16 else 15))).astype(np.float32)
    ring = SoundRing(10_000, integers=False)
    ring.push(0, sent)
    assert ring.nbytes == sample_bytes * len(sent)
    got = ring.between(0, 6_000)
    assert got.dtype == np.float32
    assert np.array_equal(got, sent)


@pytest.mark.parametrize("beyond", [1.0, 3.0, -1.5, np.nan, np.inf])
def test_floats_beyond_full_scale_are_kept_as_they_are(beyond: float) -> None:
    ring = SoundRing(100, integers=False)
    sent = np.array([0.5, beyond, -1.0, 2.0**-23], np.float32)
    ring.push(0, sent)
    assert np.array_equal(ring.between(0, 4), sent, equal_nan=True)


def test_what_is_kept_is_its_own_and_no_view_of_what_came() -> None:
    block = np.full(100, 0.3, np.float32)
    ring = SoundRing(100, integers=False)
    ring.push(0, block)
    block[:] = 0.0
    assert (ring.between(0, 100) == np.float32(0.3)).all()


def test_it_forgets_what_nobody_asks_for_any_more() -> None:
    ring = SoundRing(1000, integers=True)
    for start in range(0, 500, 100):
        ring.push(start, ramp(start, 100))
    ring.keep_from(250)
    assert ring.between(0, 500)[0] == 200  # the piece that holds it stays whole
    ring.keep_from(100)  # a longer delay brings back nothing
    assert ring.between(0, 500)[0] == 200
    ring.keep_from(10_000)
    assert (ring.nbytes, ring.end) == (0, 0)


@pytest.mark.parametrize("peak", [0, 1, 127, 128, 2_047, 2_048, 32_767])
@pytest.mark.parametrize("samples", [0, 1, 2, 999, 1_000])
def test_integers_of_any_loudness_are_given_back_as_they_came(peak: int, samples: int) -> None:
    sent = np.random.default_rng(4).integers(-peak - 1, peak + 1, samples).astype(np.int16)
    sent[:2] = (-peak - 1, peak)[:samples]
    for integers in (True, False):
        ring = SoundRing(10_000, integers=integers)
        ring.push(7, sent.astype(np.float32) / 32_768)
        got = ring.between(0, 2_000)
        assert np.array_equal(got * (1 if integers else 32_768), sent)
        assert ring.nbytes == (samples + (samples + 1) // 2 if peak < 2_048 else 2 * samples)
