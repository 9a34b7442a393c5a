"""PCM on the wire: decoded however its bytes were cut, and encoded so that it comes back bit for bit."""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt

from humwatch.arrays import Float32, Int16
from humwatch.audio.integers import to_int16
from humwatch.errors import AudioNotFinite
from humwatch_service.protocol.messages import FLOAT_FORMATS, SAMPLE_BYTES, SampleFormat

_Bytes = npt.NDArray[np.uint8]
_Int32 = npt.NDArray[np.int32]

_INT16_STEP: Final = np.float32(1.0 / (1 << 15))
_INT32_STEP: Final = np.float32(1.0 / (1 << 31))
"""Powers of two, as libsndfile has them: integers of up to 24 bits become float32 exactly, those of 32 bits rounded."""


class PcmDecoder:
    """A decoder from bytes of interleaved samples to float32 (n, channels), which keeps the bytes of half a frame.

    Integers are divided by their full scale, as libsndfile does, so that a stream and a file give the same samples.
    """

    def __init__(self, form: SampleFormat, channels: int) -> None:
        self.frame_bytes = SAMPLE_BYTES[form] * channels
        self._form = form
        self._channels = channels
        self._integers = {"s16le": np.dtype("<i2"), "s16be": np.dtype(">i2")}.get(form)
        self.reset()

    @property
    def rest_bytes(self) -> int:
        """Number of bytes of a frame that is not whole yet."""
        return len(self._rest)

    def reset(self) -> None:
        """Forget half a frame."""
        self._rest = b""

    def push(self, data: bytes) -> Float32:
        """Add bytes; return the whole frames, float32 (n, channels), integers in [-1, 1].

        Raises:
            AudioNotFinite: there are NaN or infinite samples, or such that float32 does not hold.
        """
        return floats(self.cut(data))

    def cut(self, data: bytes) -> Int16 | Float32:
        """Add bytes; return the whole frames as :meth:`push` does, but those of 16 bits as the integers that came."""
        if self._rest:
            data = self._rest + data
        if rest_bytes := len(data) % self.frame_bytes:
            self._rest, data = data[-rest_bytes:], data[:-rest_bytes]
        else:
            self._rest = b""
        if self._integers is not None:
            return np.frombuffer(data, self._integers).reshape(-1, self._channels)
        return _decoded(data, self._form).reshape(-1, self._channels)


def floats(samples: Int16 | Float32) -> Float32:
    """Return samples as float32; integers of 16 bits in [-1, 1], exactly."""
    if samples.dtype == np.float32:
        return cast("Float32", samples)
    return _scaled(cast("Int16", samples), _INT16_STEP)


def encoded(samples: Float32, form: SampleFormat) -> bytes:
    """Return samples as they are sent; those of a file of as many bits or fewer are its own, bit for bit.

    Args:
        samples: samples of shape (n, channels); integers have the full scale [-1, 1], beyond it they are clipped.
        form: format of the bytes.
    """
    order = ">" if form.endswith("be") else "<"
    if form in FLOAT_FORMATS:
        return samples.astype(f"{order}f{SAMPLE_BYTES[form]}").tobytes()
    if SAMPLE_BYTES[form] == 2:
        return to_int16(samples).astype(f"{order}i2").tobytes()
    if form in ("s32le", "s32be"):
        return _integers(samples, 32).astype(f"{order}i4").tobytes()
    words = _integers(samples, 24).astype(f"{order}i4")
    if SAMPLE_BYTES[form] == 4:
        return words.tobytes()
    return _bytes_of(words)[:, 1:4].tobytes() if order == ">" else _bytes_of(words)[:, :3].tobytes()


def _decoded(data: bytes, form: SampleFormat) -> Float32:
    order = ">" if form.endswith("be") else "<"
    if form in FLOAT_FORMATS:
        return _finite(np.frombuffer(data, f"{order}f{SAMPLE_BYTES[form]}"))
    if SAMPLE_BYTES[form] == 3:
        return _scaled(_widened(data, order), _INT32_STEP)
    words = np.frombuffer(data, f"{order}i4").astype(np.int32)
    if form in ("s24_32le", "s24_32be"):
        words <<= 8  # what the highest byte holds is the sender's own: the sign, zeros, or a channel's number
    return _scaled(words, _INT32_STEP)


def _scaled(integers: npt.NDArray[np.signedinteger], step: np.float32) -> Float32:
    scaled: Float32 = np.multiply(integers, step, dtype=np.float32)
    return scaled


def _widened(data: bytes, order: str) -> _Int32:
    """Return packed samples of 24 bits as int32 whose lowest byte is 0."""
    packed = np.frombuffer(data, np.uint8).reshape(-1, 3)
    words = np.zeros((len(packed), 4), np.uint8)
    if order == ">":
        words[:, :3] = packed
    else:
        words[:, 1:] = packed
    return words.view(f"{order}i4")[:, 0].astype(np.int32)


def _finite(samples: npt.NDArray[np.floating]) -> Float32:
    with np.errstate(over="ignore"):
        single: Float32 = samples.astype(np.float32)
    if not np.isfinite(single).all():
        raise AudioNotFinite("NaN or infinite samples in the stream")
    return single


def _integers(samples: Float32, bits: int) -> _Int32:
    full = float(1 << (bits - 1))
    return np.clip(np.rint(samples.astype(np.float64) * full), -full, full - 1).astype(np.int32)


def _bytes_of(words: _Int32) -> _Bytes:
    return words.reshape(-1, 1).view(np.uint8)
