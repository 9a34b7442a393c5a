"""Log-mel frames of samples: the front end of every model (method.md; DCASE 2020 Task 2 baseline).

16 kHz, frames of 1024 samples with a hop of 512, 128 Slaney mel bands of the power spectrum, in dB, nothing
normalised by the clip. ``center=False``: a frame exists once all its samples have arrived, so that a stream
and a file give the same numbers. A constant offset, which is the converter's and not the machine's, is taken out
(docs/adr/0016-offset.md).
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.signal
import scipy.sparse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from humwatch.arrays import Float32, Float64
from humwatch.errors import AudioError

BLOCK_FRAMES: Final = 32
"""Most frames that are worked on together: all their arrays (0.6 MiB) stay in a core's own cache."""

OFFSET_S: Final = 0.2
"""Time constant of the running mean that counts as offset: short against an offset that settles behind a start, and
long against the lowest band, so that sound without offset keeps its numbers (scores move by 0.003 at most)."""


class FeatureSpec(BaseModel):
    """What a log-mel frame is; travels in every checkpoint and bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_hz: int = Field(16_000, gt=0, description="sample rate of the samples, Hz")
    frame_samples: int = Field(1024, gt=0, description="length of a frame and of its Hann window, samples")
    hop_samples: int = Field(512, gt=0, description="distance between frames, samples")
    n_mels: int = Field(128, gt=0, description="mel bands (Slaney scale, area-normalised)")
    low_hz: float = Field(0.0, ge=0, description="lower edge of the lowest band, Hz")
    high_hz: float = Field(8_000.0, gt=0, description="upper edge of the highest band, Hz")
    floor_db: float = Field(-100.0, description="quieter bins are clamped to this, dB (16-bit silence is near -90)")

    @model_validator(mode="after")
    def _edges_fit(self) -> FeatureSpec:
        if not self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise ValueError("0 <= low_hz < high_hz <= rate_hz / 2 does not hold")
        if self.frame_samples % self.hop_samples:
            raise ValueError("frame_samples has to be a multiple of hop_samples")
        return self

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.rate_hz / self.hop_samples

    def frames_in(self, n_samples: int) -> int:
        """Return the number of whole frames in ``n_samples`` samples."""
        return max(0, 1 + (n_samples - self.frame_samples) // self.hop_samples)

    def samples_in(self, n_frames: int) -> int:
        """Return the number of samples that ``n_frames`` consecutive frames cover."""
        return (n_frames - 1) * self.hop_samples + self.frame_samples if n_frames > 0 else 0

    @property
    def band_edges_hz(self) -> Float64:
        """Lower and upper edge of each band, Hz: float64 (n_mels, 2). Neighbouring triangles overlap by half."""
        return _band_edges_hz(self)


def hz_to_mel(hz: npt.ArrayLike) -> Float64:
    """Return frequencies on Slaney's mel scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    hz = np.asarray(hz, dtype=np.float64)
    above = 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) * (27.0 / np.log(6.4))
    return np.where(hz >= 1000.0, above, hz * 3.0 / 200.0)


def mel_to_hz(mel: npt.ArrayLike) -> Float64:
    """Invert :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel >= 15.0, 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0)), mel * 200.0 / 3.0)


def mel_corners_hz(spec: FeatureSpec) -> Float64:
    """Return the corners of the triangular bands, equally spaced in mel: float64 (n_mels + 2,), Hz."""
    low, high = hz_to_mel([spec.low_hz, spec.high_hz])
    return mel_to_hz(np.linspace(low, high, spec.n_mels + 2))


@lru_cache(maxsize=8)
def _band_edges_hz(spec: FeatureSpec) -> Float64:
    """Return the edges; cached here, as an array among the attributes would make two specs incomparable."""
    corners = mel_corners_hz(spec)
    edges = np.stack([corners[:-2], corners[2:]], axis=1)
    edges.flags.writeable = False
    return edges


@lru_cache(maxsize=8)
def mel_filter_bank(spec: FeatureSpec) -> Float64:
    """Return triangular filters of equal area, power to mel power: float64 (frame_samples // 2 + 1, n_mels)."""
    bins_hz = np.arange(spec.frame_samples // 2 + 1) * (spec.rate_hz / spec.frame_samples)
    corners = mel_corners_hz(spec)
    widths = np.diff(corners)
    ramps = corners[None, :] - bins_hz[:, None]  # (bins, n_mels + 2)
    rising = -ramps[:, :-2] / widths[:-1]
    falling = ramps[:, 2:] / widths[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (corners[2:] - corners[:-2]))
    bank.flags.writeable = False
    return bank


def frames_of(samples: Float32, length: int, hop: int) -> Float32:
    """Return the frames that lie whole in samples, float32 (n,), n >= length: a view, float32 (frames, length)."""
    count = 1 + (len(samples) - length) // hop
    whole = np.ascontiguousarray(samples)
    strides = hop * whole.itemsize, whole.itemsize
    return np.ndarray((count, length), whole.dtype, whole, strides=strides)


class _Workspace(threading.local):
    """Arrays in which frames become decibels, of each thread its own; all streams share them.

    Memory that is new for each push costs more than the calculation in it. No number depends on how many frames
    are worked on together: each has a transform of its own, and a band's few bins (two to twenty) are added in their
    order. A dense matrix product, which rounds differently for other shapes, would also be ten times the work.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._window = scipy.signal.get_window("hann", spec.frame_samples, fftbins=True)
        self._offset = np.fft.rfft(self._window)[:2].real.copy()  # a Hann window has no more
        self._bank = scipy.sparse.csr_array(mel_filter_bank(spec).T)  # (n_mels, bins)
        self._floor = 10.0 ** (spec.floor_db / 10.0)
        self._bins = spec.frame_samples // 2 + 1
        self._framed = np.empty((BLOCK_FRAMES, spec.frame_samples))
        self._spectrum = np.empty((BLOCK_FRAMES, self._bins), np.complex128)
        self._power = np.empty(BLOCK_FRAMES * self._bins)

    def decibels(self, frames: Float32, offsets: Float64, out: Float32) -> None:
        """Write the log-mel levels of frames without their offsets.

        Args:
            frames: float32 (k, frame_samples).
            offsets: float64 (k,), what is taken from the samples of each.
            out: float32 (k, n_mels), where the levels go, dB.
        """
        for start in range(0, len(frames), BLOCK_FRAMES):
            some = frames[start : start + BLOCK_FRAMES]
            powers = self._powers(some, offsets[start : start + BLOCK_FRAMES])
            mel = np.asarray(self._bank @ powers, np.float64)  # (n_mels, k)
            np.maximum(mel, self._floor, out=mel)
            np.log10(mel, out=mel)
            np.multiply(mel, 10.0, out=mel)
            out[start : start + len(some)] = mel.T  # (k, n_mels)

    def _powers(self, frames: Float32, offsets: Float64) -> Float64:
        """Return the power spectrum of a few frames without their offsets: float64 (bins, k)."""
        k = len(frames)
        framed = np.multiply(frames, self._window, out=self._framed[:k])
        spectrum = np.fft.rfft(framed, axis=1, out=self._spectrum[:k])
        spectrum[:, :2] -= offsets[:, None] * self._offset
        parts = spectrum.view(np.float64)  # real and imaginary parts, one beside the other
        np.multiply(parts, parts, out=parts)
        power = self._power[: self._bins * k].reshape(self._bins, k)
        np.add(parts[:, ::2], parts[:, 1::2], out=power.T)
        return power


@lru_cache(maxsize=8)
def _workspace(spec: FeatureSpec) -> _Workspace:
    return _Workspace(spec)


class _RunningMean:
    """Hops of samples in, the offset of each frame that ends with one of them out.

    The mean of the first frame, then an average over ``OFFSET_S``; each is that of the sound up to the frame's end.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._hop, self._hops = spec.hop_samples, spec.frame_samples // spec.hop_samples
        self._gain = 1.0 - math.exp(-spec.hop_samples / spec.rate_hz / OFFSET_S)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._count = 0
        self._mean = 0.0

    def push(self, samples: Float32, frames: int) -> Float64:
        """Take the samples of as many frames, of which only the last hop of each is new; return float64 (frames,)."""
        hops = frames + self._hops - 1
        wide = samples[: hops * self._hop].astype(np.float64).reshape(hops, self._hop)
        means = (wide.sum(axis=1) / self._hop).tolist()
        found = np.empty(frames)
        if not self._count:
            self._count, self._mean = self._hops - 1, sum(means[: self._hops - 1]) / max(1, self._hops - 1)
        for frame, mean in enumerate(means[self._hops - 1 :]):
            self._count += 1
            self._mean += max(self._gain, 1.0 / self._count) * (mean - self._mean)
            found[frame] = self._mean
        return found


class LogMel:
    """Samples in, log-mel frames out; keeps the samples left over between pushes, less than a frame.

    A frame leaves with its last sample, and its numbers do not depend on how the samples were cut.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._workspace = _workspace(spec)
        self._running_mean = _RunningMean(spec)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._rest: Float32 = np.zeros(0, np.float32)
        self._running_mean.reset()

    def samples_until(self, n_frames: int) -> int:
        """Return the number of samples that are missing until ``push`` has returned so many frames more."""
        return max(0, self.spec.samples_in(n_frames) - self._rest.size)

    def push(self, samples: Float32) -> Float32:
        """Take mono samples in [-1, 1], float32 (n,); return the finished frames, float32 (k, n_mels) in dB."""
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise AudioError(f"mono float32 samples expected, got {samples.dtype} of shape {samples.shape}")
        held = np.concatenate([self._rest, samples])
        spec = self.spec
        k = spec.frames_in(held.size)
        found = np.empty((k, spec.n_mels), np.float32)
        if k:
            frames = frames_of(held, spec.frame_samples, spec.hop_samples)
            self._workspace.decibels(frames, self._running_mean.push(held, k), found)
        self._rest = held[k * spec.hop_samples :].copy()
        return found

    def flush(self) -> Float32:
        """Return the whole frames still held, float32 (0, n_mels): none; forget the rest."""
        self.reset()
        return np.empty((0, self.spec.n_mels), np.float32)


def log_mel(samples: Float32, spec: FeatureSpec) -> Float32:
    """Return all log-mel frames of a mono recording: float32 (n,) in [-1, 1] to float32 (frames, n_mels) in dB."""
    return LogMel(spec).push(samples)
