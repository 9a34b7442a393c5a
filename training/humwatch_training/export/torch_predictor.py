"""A strategy in torch behind core's predictor interface, for comparison with the exported graph."""

from __future__ import annotations

import torch

from humwatch.arrays import Float32
from humwatch.predictor import Prediction
from humwatch_training.networks.strategies import Strategy


class TorchPredictor:
    """Predictor that runs a strategy in torch, ``max_batch`` windows at a time."""

    def __init__(self, strategy: Strategy, max_batch: int = 8) -> None:
        self._strategy = strategy
        self._max_batch = max_batch

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of windows, float32 (B, L, F) in dB."""
        with torch.no_grad():
            parts = [self._strategy(part) for part in torch.split(torch.from_numpy(windows), self._max_batch)]
        index = parts[0][0] if parts[0][0].ndim == 1 else torch.cat([part[0] for part in parts])
        mean, std = (torch.cat([part[output] for part in parts]).numpy() for output in (1, 2))
        return Prediction(index.numpy(), mean, std)
