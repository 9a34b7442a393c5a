"""What a picture needs of a recording: its level and its departure from normal, over time and frequency."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from humwatch.calibration import Calibration
from humwatch.monitor import ListeningSpec, Step
from humwatch.scoring import ScoreKind, evidence_of

Float32 = npt.NDArray[np.float32]

MAX_COLUMNS: Final = 1500
"""Of a spectrogram: more than a picture has pixels. Up to twice as many are held, 1.5 MB."""


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
        """Take float32 (n, bands)."""
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


class SoundTrace:
    """Collects the steps of one recording, in memory that does not grow with its length.

    The departure is what the score looks at: level or residual, less the mean of the machine's normal clips; NaN in
    bands that do not count. A score that has no mean in dB shows the residual itself.
    """

    def __init__(self, listening: ListeningSpec, calibration: Calibration) -> None:
        self.listening = listening
        bands = listening.features.n_mels
        self.level = Columns(bands)
        self.departure = Columns(bands)
        self._all_bands = np.arange(bands)
        scoring = listening.scoring
        self._kind: ScoreKind = scoring.kind if scoring.signed_is_score else "residual_profile"
        self._usual = np.zeros(bands)
        if scoring.signed_is_score:
            self._usual = np.full(bands, np.nan)
            self._usual[scoring.bands(listening.features)] = calibration.clip.normal.mean

    @property
    def reference(self) -> str:
        """What the departure is measured from, in words."""
        return "normal" if self.listening.scoring.signed_is_score else "what the model expects"

    def push(self, step: Step) -> None:
        """Take what was heard since the step before."""
        block = step.block
        evidence = evidence_of(block.windows, block.prediction, self._kind, self._all_bands)
        counts = evidence.counts
        values = np.divide(evidence.sums, counts, out=np.full_like(counts, np.nan), where=counts > 0)
        middle = self.listening.windows.length_frames // 2
        self.level.push(block.windows[:, middle, :])
        self.departure.push((values - self._usual).astype(np.float32))

    def seconds(self, columns: Columns) -> tuple[float, float]:
        """Where the first column starts, and how long one is: a column shows its window's middle frame."""
        features, windows = self.listening.features, self.listening.windows
        window_s = windows.hop_frames * features.hop_samples / features.rate_hz
        middle = (windows.length_frames // 2) * features.hop_samples + features.frame_samples / 2
        return middle / features.rate_hz - window_s / 2, window_s * columns.every
