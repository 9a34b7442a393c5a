"""The level of a recording and its departure from normal, over time and frequency, for a picture."""

from __future__ import annotations

from typing import Final

import numpy as np

from humwatch.arrays import Float32, Int64
from humwatch.monitor import Step
from humwatch.pipeline import PipelineSpec, WindowBlock
from humwatch.scoring.calibration import Calibration

MAX_COLUMNS: Final = 1500
"""Columns of a spectrogram: more than a picture has pixels. Up to twice as many are held, 1.5 MB."""


class Columns:
    """Columns of a spectrogram, of which never more than ``2 * MAX_COLUMNS`` are kept.

    When there are more, neighbours are averaged in pairs, and from then on as they come.
    """

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.every = 1
        self._kept: list[Float32] = []
        self._count = 0
        self._rest: Float32 = np.zeros((0, self._bands), np.float32)

    def push(self, columns: Float32) -> None:
        """Add columns, float32 (n, bands)."""
        held = np.concatenate([self._rest, columns])
        whole = len(held) // self.every * self.every
        self._rest = held[whole:].copy()
        pooled = held[:whole].reshape(-1, self.every, self._bands).mean(axis=1)  # (n, bands)
        self._kept.append(pooled)
        self._count += len(pooled)
        while self._count > 2 * MAX_COLUMNS:
            self._halve()

    def flush(self) -> Float32:
        """Return all columns, float32 (m, bands), the last one of what was left, and forget them."""
        rest = [self._rest.mean(axis=0, keepdims=True)] if len(self._rest) else []
        columns = np.concatenate([np.zeros((0, self._bands), np.float32), *self._kept, *rest])
        self.reset()
        return columns

    def _halve(self) -> None:
        kept = np.concatenate(self._kept)
        pairs = len(kept) // 2
        self._rest = np.concatenate([np.repeat(kept[2 * pairs :], self.every, axis=0), self._rest])
        self._kept = [kept[: 2 * pairs].reshape(pairs, 2, self._bands).mean(axis=1)]  # (pairs, bands)
        self._count = pairs
        self.every *= 2


class StepView:
    """The two quantities that are drawn of the steps of one model: the level, and its departure from the usual.

    The departure is that of the quantity that is scored: level or residual, less the mean of the machine's normal
    clips; NaN in bands that do not count. A score that has no mean in dB shows the residual itself.
    """

    def __init__(self, pipeline: PipelineSpec, calibration: Calibration) -> None:
        self.pipeline = pipeline
        scoring = pipeline.scoring
        self._middle = pipeline.windows.length_frames // 2
        bands = scoring.bands(pipeline.features)
        in_a_row = bool((np.diff(bands) == 1).all())
        self._bands = slice(int(bands[0]), int(bands[-1]) + 1) if in_a_row else bands
        self._usual = calibration.clip.normal.mean if scoring.signed_is_score else np.zeros(len(bands))

    @property
    def window_s(self) -> float:
        """Time from one window to the next, seconds."""
        return self.pipeline.windows.hop_frames * self.pipeline.features.hop_samples / self.pipeline.features.rate_hz

    @property
    def lead_s(self) -> float:
        """Time from a window's first sample to the middle of its middle frame, which is shown of it, seconds."""
        features = self.pipeline.features
        return (self._middle * features.hop_samples + features.frame_samples / 2) / features.rate_hz

    def level(self, block: WindowBlock) -> Float32:
        """Return the level of each window, dB: float32 (n, F)."""
        level: Float32 = block.windows[:, self._middle, :]
        return level

    def departure(self, block: WindowBlock, starts: Int64 | None = None) -> Float32:
        """Return the departure of each window, dB: float32 (n, F); with ``starts``, of each group that begins there."""
        sums, counts = block.evidence.signed, block.evidence.counts
        if starts is not None:
            sums, counts = np.add.reduceat(sums, starts), np.add.reduceat(counts, starts)
        if counts.min(initial=1.0) > 0:
            values = sums / counts
        else:
            values = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        departure = np.full((len(values), self.pipeline.features.n_mels), np.nan, np.float32)
        departure[:, self._bands] = values - self._usual
        return departure


class SoundTrace:
    """The steps of one recording, in memory that does not grow with its length."""

    def __init__(self, pipeline: PipelineSpec, calibration: Calibration) -> None:
        self.pipeline = pipeline
        self.level = Columns(pipeline.features.n_mels)
        self.departure = Columns(pipeline.features.n_mels)
        self._view = StepView(pipeline, calibration)

    @property
    def reference(self) -> str:
        """Reference of the departure, in words."""
        return "normal" if self.pipeline.scoring.signed_is_score else "what the model expects"

    def push(self, step: Step) -> None:
        """Add the windows since the step before."""
        self.level.push(self._view.level(step.block))
        self.departure.push(self._view.departure(step.block))

    def seconds(self, columns: Columns) -> tuple[float, float]:
        """Return start and length of the first column, seconds: a column shows its window's middle frame."""
        return self._view.lead_s - self._view.window_s / 2, self._view.window_s * columns.every
