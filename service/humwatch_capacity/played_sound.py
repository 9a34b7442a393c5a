"""The sound that is played: encoded beforehand, and a loop that each stream enters at a moment of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from humwatch.arrays import Float32
from humwatch.audio.decoding import MonoResampler, read_mono
from humwatch.errors import HumwatchError
from humwatch.synthetic import SyntheticMachine
from humwatch_capacity.frames import MASK, binary_header
from humwatch_service.errors import FileUnreadable, RequestInvalid
from humwatch_service.protocol.pcm import encoded

SAMPLE_BYTES: Final = 2
SYNTHETIC_SEED: Final = 7
SYNTHETIC_NUMBER: Final = 5_000
SYNTHETIC_S: Final = 300.0


class PlayedSound:
    """One channel of 16 bits (``s16le``) without an end: behind the last sample comes the first.

    Attributes:
        rate_hz: sample rate, Hz.
        samples: until it starts over.
    """

    def __init__(self, mono: Float32, rate_hz: int) -> None:
        """Encode float32 (n,) in [-1, 1]. Raises :class:`RequestInvalid` for less than a second."""
        if len(mono) < rate_hz:
            raise RequestInvalid(f"{len(mono) / rate_hz:.2f} s of sound; at least a second is needed to play")
        self.rate_hz = rate_hz
        self.samples = len(mono)
        self._pcm = encoded(mono[:, None], "s16le")
        masked = np.frombuffer(self._pcm, np.uint16) ^ np.frombuffer(MASK[:SAMPLE_BYTES], np.uint16)
        self._masked = masked.tobytes()

    def piece(self, start: int, count: int) -> bytes:
        """Return ``count`` samples from sample ``start`` of the endless sound on."""
        return b"".join(self._parts(self._pcm, start, count))

    def frame(self, start: int, count: int) -> bytes:
        """Return these samples as a client's WebSocket frame; they were masked once, for all streams."""
        return b"".join([binary_header(SAMPLE_BYTES * count), *self._parts(self._masked, start, count)])

    def _parts(self, data: bytes, start: int, count: int) -> list[bytes]:
        at, left = start % self.samples, count
        parts = []
        while left:
            part = data[SAMPLE_BYTES * at : SAMPLE_BYTES * (at + left)]
            parts.append(part)
            left -= len(part) // SAMPLE_BYTES
            at = 0
        return parts

    def wav(self, seconds: float) -> bytes:
        """Return a WAV file of its beginning."""
        integers = np.frombuffer(self.piece(0, round(seconds * self.rate_hz)), "<i2")
        file = io.BytesIO()
        soundfile.write(file, integers, self.rate_hz, format="WAV", subtype="PCM_16")
        return file.getvalue()


def normal_sound(recording: Path | None, rate_hz: int) -> PlayedSound:
    """Return a recording's first channel, or five minutes of the synthetic machine with the seed 7.

    Args:
        recording: path of a recording; None for the synthetic machine.
        rate_hz: sample rate to play at, Hz.

    Raises:
        AudioError: it cannot be decoded.
        FileUnreadable: it is not there.
        RequestInvalid: it is too short.
    """
    if recording is None:
        machine = SyntheticMachine(SYNTHETIC_SEED)
        clip = machine.clip(SYNTHETIC_NUMBER, SYNTHETIC_S)
        resampler = MonoResampler(source_rate_hz=machine.rate_hz, rate_hz=rate_hz, channel=0)
        return PlayedSound(np.concatenate([resampler.push(clip[:, None]), resampler.flush()]), rate_hz)
    try:
        return PlayedSound(read_mono(recording, rate_hz=rate_hz), rate_hz)
    except HumwatchError as error:
        raise type(error)(f"{recording}: {error}") from error
    except OSError as error:
        raise FileUnreadable(f"{recording} cannot be read: {error.strerror}") from error
