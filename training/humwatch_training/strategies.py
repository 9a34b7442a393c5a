"""Predictors from a trained ANP: which bins are context and which are target is chosen here, after training.

The same windows in and the same three arrays out as the ONNX graph (`humwatch.predictor`), so that torch can stand
in for the exported file and be compared with it.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from humwatch.predictor import Prediction
from humwatch_training.masks import Partition, idnn_partition
from humwatch_training.model import AttentiveNeuralProcess, grid_coordinates

Float32 = npt.NDArray[np.float32]


class FixedMaskPredictor(nn.Module):
    """An ANP that predicts the same bins of every window from the same others: coordinates are constants."""

    context_index: Tensor
    target_index: Tensor
    context_x: Tensor
    target_x: Tensor

    def __init__(self, model: AttentiveNeuralProcess, partition: Partition) -> None:
        super().__init__()
        self.model = model
        coordinates = grid_coordinates(model.config.n_frames, model.config.n_mels)
        self.register_buffer("context_index", partition.context)
        self.register_buffer("target_index", partition.target)
        self.register_buffer("context_x", coordinates[partition.context])
        self.register_buffer("target_x", coordinates[partition.target])

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map windows (B, L, F) in dB to target_index (T,), mean (B, T) and std (B, T), both in dB."""
        batch = windows.shape[0]
        mean, std = self.model(
            self.context_x.expand(batch, -1, -1),
            windows.flatten(1)[:, self.context_index],
            self.target_x.expand(batch, -1, -1),
        )
        return self.target_index.clone(), mean, std


def idnn_predictor(model: AttentiveNeuralProcess) -> FixedMaskPredictor:
    """ANP-IDNN: the middle frame from its neighbours (section 2.2 of the paper); for inference."""
    partition = idnn_partition(model.config.n_frames, model.config.n_mels)
    return FixedMaskPredictor(model, partition).eval()


class TorchPredictor:
    """Runs a strategy in torch behind core's predictor interface, for comparison with the exported graph."""

    def __init__(self, strategy: FixedMaskPredictor, max_batch: int = 8) -> None:
        self._strategy = strategy
        self._max_batch = max_batch

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of windows, float32 (B, L, F) in dB."""
        with torch.no_grad():
            parts = [self._strategy(part) for part in torch.split(torch.from_numpy(windows), self._max_batch)]
        mean, std = (torch.cat([part[output] for part in parts]).numpy() for output in (1, 2))
        return Prediction(parts[0][0].numpy(), mean, std)
