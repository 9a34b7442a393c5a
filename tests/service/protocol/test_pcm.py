from __future__ import annotations

import numpy as np
import pytest
import soundfile

from humwatch.errors import AudioNotFinite
from humwatch_service.protocol.messages import SampleFormat
from humwatch_service.protocol.pcm import PcmDecoder

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("form", "dtype"), [("s16le", "<i2"), ("s16be", ">i2"), ("f32le", "<f4")])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_cut_anywhere_give_the_same_samples(form: SampleFormat, dtype: str, channels: int) -> None:
    if dtype == "<f4":
        sent = RNG.uniform(-1, 1, (500, channels)).astype(dtype)
        expected = sent.astype(np.float32)
    else:
        sent = RNG.integers(-32_768, 32_768, (500, channels)).astype(dtype)
        expected = sent.astype(np.float32) / np.float32(32_768)
    data = sent.tobytes()
    decoder = PcmDecoder(form, channels)
    pieces, at = [], 0
    while at < len(data):
        size = int(RNG.integers(1, 50))
        pieces.append(decoder.push(data[at : at + size]))
        at += size
    got = np.concatenate(pieces)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)
    assert decoder.rest_bytes == 0


def test_samples_are_those_of_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("pcm") / "a.wav"
    sent = RNG.integers(-32_768, 32_768, 1000).astype("<i2")
    soundfile.write(path, sent, 16_000, subtype="PCM_16")
    filed, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.array_equal(PcmDecoder("s16le", 1).push(sent.tobytes()), filed)


def test_half_a_frame_waits_and_reset_forgets_it() -> None:
    decoder = PcmDecoder("s16le", 2)
    assert decoder.push(b"\x01\x00\x02").shape == (0, 2)
    assert decoder.rest_bytes == 3
    decoder.reset()
    assert decoder.push(b"\x01\x00\x02\x00").tolist() == [[1 / 32_768, 2 / 32_768]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(AudioNotFinite):
        PcmDecoder("f32le", 1).push(np.array([0.0, bad], "<f4").tobytes())
