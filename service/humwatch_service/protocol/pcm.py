"""The decoding of PCM from the wire, however its bytes were cut."""

from __future__ import annotations

from typing import Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.errors import AudioNotFinite
from humwatch_service.protocol.messages import SAMPLE_BYTES, SampleFormat

_DTYPES: Final[dict[SampleFormat, str]] = {"s16le": "<i2", "s16be": ">i2", "f32le": "<f4"}


class PcmDecoder:
    """A decoder from bytes of interleaved samples to float32 (n, channels), which keeps the bytes of half a frame.

    Integers are divided by 32768, as libsndfile does, so that a stream and a file give the same samples.
    """

    def __init__(self, form: SampleFormat, channels: int) -> None:
        self.frame_bytes = SAMPLE_BYTES[form] * channels
        self._dtype = _DTYPES[form]
        self._channels = channels
        self.reset()

    @property
    def rest_bytes(self) -> int:
        """Number of bytes of a frame that is not whole yet."""
        return len(self._rest)

    def reset(self) -> None:
        """Forget half a frame."""
        self._rest = b""

    def push(self, data: bytes) -> Float32:
        """Add bytes; return the whole frames, float32 (n, channels) in [-1, 1].

        Raises:
            AudioNotFinite: there are NaN or infinite samples.
        """
        held = self._rest + data
        whole = len(held) // self.frame_bytes * self.frame_bytes
        self._rest = held[whole:]
        samples = np.frombuffer(held[:whole], self._dtype).reshape(-1, self._channels)
        if samples.dtype.kind == "i":
            scaled: Float32 = np.multiply(samples, np.float32(1.0 / 32_768.0), dtype=np.float32)  # a power of two
            return scaled
        if not np.isfinite(samples).all():
            raise AudioNotFinite("NaN or infinite samples in the stream")
        return samples.astype(np.float32)
