"""Interface of a predictor: windows of sound in, expected levels of some of their bins out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from humwatch.arrays import Float32, Int64


@dataclass(frozen=True)
class Prediction:
    """Gaussian predictions for the target bins of each window (eq. 2 of the paper).

    Attributes:
        target_index: int64 (T,) or (B, T), flat index ``frame * F + band`` of each target bin.
        mean: float32 (B, T), expected level in dB.
        std: float32 (B, T), standard deviation in dB; 1 where a predictor has none.
    """

    target_index: Int64
    mean: Float32
    std: Float32

    def __getitem__(self, windows: slice) -> Prediction:
        """Return the predictions of some of the windows."""
        index = self.target_index if self.target_index.ndim == 1 else self.target_index[windows]
        return Prediction(index, self.mean[windows], self.std[windows])

    @staticmethod
    def concatenate(parts: Sequence[Prediction]) -> Prediction:
        """Join predictions of one predictor, one after the other; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0].target_index
        return Prediction(
            first if first.ndim == 1 else np.concatenate([part.target_index for part in parts]),
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.std for part in parts]),
        )


class Predictor(Protocol):
    """Trained model, or the constant that stands for none; an ONNX graph in practice."""

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        ...


class SharedPredictor(ABC):
    """Predictor of one of several callers that share a graph, whose windows may go through it together.

    Attributes:
        shared: predictor that they share; None where the prediction of a window depends on its company.
    """

    shared: Predictor | None

    @abstractmethod
    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""

    @abstractmethod
    def predict_with(self, others: Sequence[SharedPredictor], windows: Sequence[Float32]) -> list[Prediction]:
        """Predict for this caller and for others that share its graph, at once.

        Args:
            others: predictors of the other callers.
            windows: float32 (B, L, F) in dB of each caller, this one first.
        """


class PredictionJob:
    """Prediction of one caller's windows, beside those of others that share the graph."""

    leaves_python: ClassVar[bool] = True

    def __init__(self, predictor: Predictor, windows: Float32) -> None:
        """Ask for the targets of ``windows``, float32 (B, L, F) in dB."""
        self._predictor = predictor
        self._windows = windows
        shared = predictor.shared if isinstance(predictor, SharedPredictor) else None
        self.company: Hashable = id(self if shared is None else shared)

    @classmethod
    def results(cls, jobs: Sequence[PredictionJob]) -> list[Prediction]:
        """Return the prediction of each. Raises :class:`humwatch.errors.PredictorError`."""
        if len(jobs) == 1:
            return [jobs[0]._predictor.predict(jobs[0]._windows)]
        callers = [job._predictor for job in jobs if isinstance(job._predictor, SharedPredictor)]
        return callers[0].predict_with(callers[1:], [job._windows for job in jobs])
