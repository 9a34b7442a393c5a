"""What a predictor is: it sees windows of sound and says what it expects at some of their bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Gaussian predictions for the target bins of each window (eq. 2 of the paper).

    Attributes:
        target_index: int64 (T,) or (B, T), flat index ``frame * F + band`` of each target bin.
        mean: float32 (B, T), expected level in dB.
        std: float32 (B, T), standard deviation in dB; 1 where a predictor has none.
    """

    target_index: npt.NDArray[np.int64]
    mean: Float32
    std: Float32


class Predictor(Protocol):
    """A trained model, or the constant that stands for none; an ONNX graph in practice."""

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        ...
