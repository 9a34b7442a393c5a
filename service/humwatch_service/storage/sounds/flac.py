"""Sound as FLAC."""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from humwatch.arrays import Float32, Float64, Int16

MAX_CHANNELS: Final = 8
MAX_RATE_HZ: Final = 655_350
"""Limits of FLAC."""

Samples = Int16 | Float32


def flac_of(samples: Samples, rate_hz: int, *, fit: bool = False) -> bytes:
    """Return sound as FLAC.

    Args:
        samples: int16 (n,) or (n, channels), kept bit for bit; or float32, full scale 1, kept to 24 bits (what is
            beyond full scale is clipped, NaN becomes 0).
        rate_hz: samples a second and channel, 1 to 655,350.
        fit: whether floats beyond full scale, as in Pa, are multiplied by a power of two below 1, which the file's
            comment states: clipped, they would be another sound.

    Raises:
        ValueError: no samples, another dtype or shape, more than 8 channels, a rate that FLAC has not.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[-1]
    if samples.ndim not in (1, 2) or not len(samples) or not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"samples of shape {samples.shape}: (n,) or (n, channels), 1 to {MAX_CHANNELS} channels")
    if not 1 <= rate_hz <= MAX_RATE_HZ:
        raise ValueError(f"{rate_hz} Hz: FLAC has 1 to {MAX_RATE_HZ} Hz")
    buffer = io.BytesIO()
    if samples.dtype == np.int16:
        soundfile.write(buffer, samples, rate_hz, format="FLAC", subtype="PCM_16")
    elif samples.dtype == np.float32:
        scaled, scale = _within_full_scale(samples.astype(np.float64), fit=fit)
        with soundfile.SoundFile(buffer, "w", rate_hz, channels, "PCM_24", format="FLAC") as file:
            if scale != 1.0:
                file.comment = f"samples are multiplied by {scale:g}"
            file.write(_to_24_bits(scaled))
    else:
        raise ValueError(f"samples of {samples.dtype}: int16 or float32")
    return buffer.getvalue()


def _within_full_scale(samples: Float64, *, fit: bool) -> tuple[Float64, float]:
    """Return samples without NaN, and the factor that brought them within full scale where they are to fit."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    peak = float(np.abs(finite).max())
    scale = 1.0 if peak <= 1.0 or not fit else 2.0 ** -math.ceil(math.log2(peak))
    return finite * scale, scale


def _to_24_bits(samples: Float64) -> npt.NDArray[np.int32]:
    """Return samples, full scale 1, as int32 whose lowest byte is 0."""
    full = float(1 << 23)
    return np.clip(np.rint(samples * full), -full, full - 1).astype(np.int32) << 8
