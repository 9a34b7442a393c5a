"""Sound of a machine as columns of a spectrogram, small enough to keep the last minute of every machine.

Made in the worker that scores, of what is there already: windows and evidence. Nothing is drawn, predicted or encoded
here: that is left to viewers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from humwatch.alarm.events import MachineState
from humwatch.alarm.sequential import ChartFinding
from humwatch.arrays import Float32, Int64
from humwatch.live.model import LiveModel
from humwatch.live.step import LiveStep
from humwatch.monitor import ScaleScore
from humwatch_service.live.machine_reading import detection_of
from humwatch_service.protocol.detections import Detection
from humwatch_service.scoring.sound_trace import StepView

MAX_COLUMNS_PER_S: Final = 8.0
HIGHEST_DB: Final = 40.0
"""Level that 255 stands for; a sine or a square wave at full scale has 30 to 37 dB in its mel band."""
DEPARTURE_DB: Final = 24.0
"""Departure that 127 stands for; greater ones are shown as great as this."""
NO_DEPARTURE: Final = -128
"""Departure of a band that does not count."""


@dataclass(frozen=True, slots=True)
class SoundColumns:
    """Sound of one step.

    Attributes:
        columns_of: maker of the columns, which tells their bands.
        start_s: start of the first column, seconds since 1970.
        end_s: end of the last column.
        count: number of columns.
        level: uint8 (count, F) as bytes; 0 to 255 stand for the model's floor to ``HIGHEST_DB``.
        departure: int8 (count, F) as bytes; 127 stands for ``DEPARTURE_DB``, ``NO_DEPARTURE`` for none.
        score: score of the clip that ends here; None without one.
        step_score: score of the step.
        level_dbfs: level of the last second.
        state: state of the machine after it.
        nearest: average of the score that is nearest to its limit after it; None where the on-delay decides.
        contributions: float32 (bands,), part of each band in the clip's score; None without one.
        departures_db: float32 (bands,), departures of the clip; None without one.
        detection: detector that decided the clip's score, with times in seconds since 1970; None without one.
    """

    columns_of: ColumnMaker
    start_s: float
    end_s: float
    count: int
    level: bytes
    departure: bytes
    score: float | None
    step_score: float
    level_dbfs: float
    state: MachineState
    contributions: Float32 | None
    departures_db: Float32 | None
    detection: Detection | None = None
    nearest: ChartFinding | None = None


class ColumnMaker:
    """Maker of the columns of one model's steps."""

    def __init__(self, model: LiveModel) -> None:
        """Make columns for the bands of a model."""
        manifest = model.bundle.manifest
        self.model = model
        self.low_db = manifest.features.floor_db
        self._view = StepView(manifest.pipeline, model.bundle.calibration)
        n, step_s = manifest.pipeline.step_windows, manifest.pipeline.step_windows * self._view.window_s
        self._columns = max(1, min(n, int(MAX_COLUMNS_PER_S * step_s)))
        self.column_s = step_s / self._columns
        tail_s = manifest.features.samples_in(manifest.windows.length_frames) / manifest.features.rate_hz
        self._after_s = tail_s - self._view.lead_s - self._view.window_s / 2

    @property
    def bands_hz(self) -> list[tuple[float, float]]:
        """Edges of all mel bands."""
        edges = self.model.bundle.manifest.features.band_edges_hz
        return [(round(float(low), 1), round(float(high), 1)) for low, high in edges]

    def make(
        self, step: LiveStep, *, end_s: float, state: MachineState, nearest: ChartFinding | None = None
    ) -> SoundColumns | None:
        """Return the columns of a step whose last sample was taken at ``end_s``; None where nothing was scored."""
        if step.scores is None:
            return None
        block, clip = step.scores.block, step.scores.clip
        starts = self._groups(len(block.windows))
        level = self._view.level(block)
        if starts is not None:
            sizes = np.diff(np.append(starts, len(level)))
            level = (np.add.reduceat(level, starts) / sizes[:, None]).astype(np.float32)
        last_s = end_s - self._after_s
        return SoundColumns(
            columns_of=self,
            start_s=last_s - len(block.windows) * self._view.window_s,
            end_s=last_s,
            count=len(level),
            level=self._packed_level(level),
            departure=self._packed_departure(self._view.departure(block, starts)),
            score=step.clip_score,
            step_score=step.scores.step.score,
            level_dbfs=step.level_dbfs,
            state=state,
            contributions=_small(clip, "contributions"),
            departures_db=_small(clip, "departures_db"),
            detection=None if clip is None else detection_of(clip, end_s, step.model),
            nearest=nearest,
        )

    def _groups(self, windows: int) -> Int64 | None:
        """Return where the windows of each column begin; None where each has one of its own."""
        columns = min(windows, self._columns)
        return None if columns == windows else np.arange(columns) * windows // columns

    def _packed_level(self, level: Float32) -> bytes:
        values = level - self.low_db
        values *= 255.0 / (HIGHEST_DB - self.low_db)
        np.rint(values, out=values)
        np.maximum(values, 0.0, out=values)
        np.minimum(values, 255.0, out=values)
        return values.astype(np.uint8).tobytes()

    @staticmethod
    def _packed_departure(departure: Float32) -> bytes:
        values = departure * (127.0 / DEPARTURE_DB)
        np.rint(values, out=values)
        np.maximum(values, -127.0, out=values)
        np.minimum(values, 127.0, out=values)
        values[~np.isfinite(departure)] = NO_DEPARTURE
        return values.astype(np.int8).tobytes()


def _small(clip: ScaleScore | None, name: str) -> Float32 | None:
    return None if clip is None else np.asarray(getattr(clip, name), np.float32)
