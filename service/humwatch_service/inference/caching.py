"""A cache of predictions: looped sound comes back with the same windows."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32, Int64
from humwatch.predictor import Prediction, Predictor

CACHE_BYTES: Final = 256 << 20
"""About 70,000 windows of 5 frames with a middle frame predicted: half an hour to three hours of sound, by the hop."""


class _Row(NamedTuple):
    """The prediction of one window: int64 (T,), float32 (T,), float32 (T,)."""

    target_index: Int64
    mean: Float32
    std: Float32


class CachedPredictor(Predictor):
    """A predictor with a cache of predictions by the bytes of their windows; the least recently used go first.

    Scores are those of the predictor alone but for rounding in the last digits: a window whose neighbours in the batch
    are cached goes through the graph in a smaller batch, and matrix products of other shapes round differently.

    Args:
        predictor: predictor of the windows that are not cached.
        capacity_bytes: size of windows and predictions that are kept, bytes.

    Attributes:
        size_bytes: size of those kept now, bytes.
        missed: number of windows so far that were not cached.
    """

    def __init__(self, predictor: Predictor, *, capacity_bytes: int = CACHE_BYTES) -> None:
        self._predictor = predictor
        self._capacity_bytes = capacity_bytes
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._one_index_for_all = True
        self.size_bytes = 0
        self.missed = 0

    def __len__(self) -> int:
        """Return the number of windows that are cached."""
        return len(self._rows)

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        keys = [window.tobytes() for window in windows]
        rows = {key: self._rows[key] for key in keys if key in self._rows}
        missing = {key: number for number, key in enumerate(keys) if key not in rows}
        if missing:
            rows |= zip(missing, self._predicted(windows[list(missing.values())]), strict=True)
        for key in keys:
            self._keep(key, rows[key])
        return self._joined([rows[key] for key in keys])

    def _predicted(self, windows: Float32) -> list[_Row]:
        self.missed += len(windows)
        prediction = self._predictor.predict(windows)
        self._one_index_for_all = prediction.target_index.ndim == 1
        index = np.broadcast_to(prediction.target_index, prediction.mean.shape)
        return [
            _Row(
                prediction.target_index if self._one_index_for_all else index[number].copy(),
                prediction.mean[number].copy(),
                prediction.std[number].copy(),
            )
            for number in range(len(windows))
        ]

    def _joined(self, rows: list[_Row]) -> Prediction:
        index = rows[0].target_index if self._one_index_for_all else np.stack([row.target_index for row in rows])
        return Prediction(index, np.stack([row.mean for row in rows]), np.stack([row.std for row in rows]))

    def _keep(self, key: bytes, row: _Row) -> None:
        if key in self._rows:
            self._rows.move_to_end(key)
            return
        self._rows[key] = row
        self.size_bytes += self._cost(key, row)
        while self.size_bytes > self._capacity_bytes:
            self.size_bytes -= self._cost(*self._rows.popitem(last=False))

    def _cost(self, key: bytes, row: _Row) -> int:
        own = row.mean.nbytes + row.std.nbytes + (0 if self._one_index_for_all else row.target_index.nbytes)
        return len(key) + own
