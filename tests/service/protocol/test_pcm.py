from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from humwatch.errors import AudioNotFinite
from humwatch_service.protocol.messages import FLOAT_FORMATS, FORMAT_BITS, SAMPLE_BYTES, Hello, SampleFormat
from humwatch_service.protocol.pcm import PcmDecoder, encoded, floats

RNG = np.random.default_rng(5)


SUBTYPES = {"s16": "PCM_16", "s24": "PCM_24", "s24_32": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}


def bytes_of(sent: np.ndarray, form: SampleFormat) -> bytes:
    """Samples as a card, a microphone or GStreamer would lay them out, sample by sample."""
    kind, order = form[:-2], "little" if form.endswith("le") else "big"
    if kind in ("f32", "f64"):
        return sent.astype(f"{'<' if order == 'little' else '>'}f{int(kind[1:]) // 8}").tobytes()
    size = SAMPLE_BYTES[form]
    values = [int(value) for value in sent.ravel()]
    if kind == "s24_32":  # the highest byte says nothing
        words = [value % (1 << 24) | int(RNG.integers(0, 256)) << 24 for value in values]
        return b"".join(word.to_bytes(4, order) for word in words)
    return b"".join(value.to_bytes(size, order, signed=True) for value in values)


def sound_in(form: SampleFormat, channels: int) -> np.ndarray:
    if form in FLOAT_FORMATS:
        return RNG.normal(0, 3, (300, channels))
    bits = 32 if form.startswith("s32") else 16 if form.startswith("s16") else 24
    ends = np.array([-(1 << bits - 1), (1 << bits - 1) - 1, -1, 0, 1], np.int64)
    return np.concatenate([ends, RNG.integers(-(1 << bits - 1), 1 << bits - 1, 300 * channels - 5)]).reshape(
        -1, channels
    )


@pytest.mark.parametrize("form", SAMPLE_BYTES)
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_cut_anywhere_give_the_samples_of_a_file_with_the_same(form: SampleFormat, channels: int) -> None:
    sent = sound_in(form, channels)
    subtype = SUBTYPES[form[:-2]]
    file = io.BytesIO()
    if form in FLOAT_FORMATS:
        soundfile.write(file, sent, 16_000, subtype=subtype, format="WAV")
    else:
        bits = 24 if subtype == "PCM_24" else int(subtype[4:])
        soundfile.write(file, (sent << 32 - bits).astype(np.int32), 16_000, subtype=subtype, format="WAV")
    file.seek(0)
    expected, _ = soundfile.read(file, dtype="float32", always_2d=True)
    data = bytes_of(sent, form)
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


@pytest.mark.parametrize("form", SAMPLE_BYTES)
def test_what_is_encoded_is_decoded_to_the_same_samples(form: SampleFormat) -> None:
    bits = 16 if FORMAT_BITS[form] == 16 else 24
    whole = RNG.integers(-(1 << bits - 1), 1 << bits - 1, (400, 2))
    samples = (whole / (1 << bits - 1)).astype(np.float32)
    data = encoded(samples, form)
    assert len(data) == 800 * SAMPLE_BYTES[form]
    assert np.array_equal(PcmDecoder(form, 2).push(data), samples)


@pytest.mark.parametrize("form", sorted(set(SAMPLE_BYTES) - FLOAT_FORMATS))
def test_integers_beyond_full_scale_are_clipped(form: SampleFormat) -> None:
    bits = FORMAT_BITS[form]
    top = 1.0 if form.startswith("s32") else 1.0 - 2.0 ** (1 - bits)
    got = PcmDecoder(form, 1).push(encoded(np.array([[1.5], [-1.5]], np.float32), form))
    assert got[:, 0].tolist() == [top, -1.0]


@pytest.mark.parametrize(
    ("name", "form"),
    [("S32LE", "s32le"), ("S24_LE", "s24_32le"), ("S24_3LE", "s24le"), ("FLOAT_BE", "f32be"), ("s16le", "s16le")],
)
def test_formats_have_the_names_of_gstreamer_and_of_alsa(name: str, form: SampleFormat) -> None:
    assert Hello.model_validate({"rate_hz": 48_000, "format": name}).format == form


@pytest.mark.parametrize("name", ["U8", "S20LE", "mulaw", "", 24, None])
def test_other_formats_are_refused_with_those_that_are_taken(name: object) -> None:
    with pytest.raises(ValidationError, match="'s24le'"):
        Hello.model_validate({"rate_hz": 48_000, "format": name})


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


def test_numbers_that_float32_does_not_hold_are_refused() -> None:
    with pytest.raises(AudioNotFinite):
        PcmDecoder("f64le", 1).push(np.array([1e300], "<f8").tobytes())


@pytest.mark.parametrize("form", ["s16le", "s16be"])
def test_integers_that_wait_become_the_same_samples_later(form: SampleFormat) -> None:
    data = bytes_of(sound_in(form, 2), form)
    waiting = PcmDecoder(form, 2)
    pieces = [waiting.cut(data[at : at + 77]) for at in range(0, len(data), 77)]
    assert {piece.dtype.itemsize for piece in pieces} == {2}
    assert np.array_equal(floats(np.concatenate(pieces)), PcmDecoder(form, 2).push(data))
    assert waiting.rest_bytes == 0
