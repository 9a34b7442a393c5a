"""The predictor that runs everywhere: an ONNX graph in ONNX Runtime.

The only module of core that knows an inference engine, so that thresholds are fitted through the very code that
later serves (ADR 0005). The engine itself comes with the ``service``, ``gpu`` or ``training`` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from humwatch.errors import PredictorError
from humwatch.predictor import Prediction

Float32 = npt.NDArray[np.float32]

OUTPUTS: Final = ("target_index", "mean", "std")


class OnnxPredictor:
    """Runs a predictor graph: ``windows`` (B, L, F) to ``target_index``, ``mean`` and ``std``.

    Safe to share between threads. ``max_batch`` windows go through the graph at a time: attention over 512 points
    takes 8 MiB a window and matrix, larger batches are no faster on a CPU, and the engine keeps what it once took.

    Raises:
        PredictorError: the graph does not have the interface, or a provider that was asked for is not in use.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 1,
        max_batch: int = 2,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        except Exception as error:  # the engine raises bare classes of its own, and ValueError
            raise PredictorError(f"the predictor graph cannot be loaded: {error}") from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        # ONNX Runtime falls back to the CPU with no more than a log line.
        missing = [name for name in providers if name not in self.providers]
        if missing:
            raise PredictorError(f"asked for {', '.join(missing)}, but {', '.join(self.providers)} is in use")
        self._max_batch = max_batch
        self.window_shape = self._check_interface()

    def _check_interface(self) -> tuple[int, int]:
        inputs = self._session.get_inputs()
        outputs = {output.name for output in self._session.get_outputs()}
        if [node.name for node in inputs] != ["windows"] or not outputs.issuperset(OUTPUTS):
            raise PredictorError("a predictor graph takes 'windows' and gives " + ", ".join(OUTPUTS))
        shape = inputs[0].shape
        if len(shape) != 3 or not all(isinstance(size, int) for size in shape[1:]):
            raise PredictorError(f"'windows' has to be (B, L, F) with fixed L and F, not {shape}")
        return int(shape[1]), int(shape[2])

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB. Raises :class:`PredictorError`."""
        starts = range(0, len(windows), self._max_batch)
        try:
            parts = [self._session.run(OUTPUTS, {"windows": windows[i : i + self._max_batch]}) for i in starts]
        except Exception as error:  # the engine raises bare classes of its own, and ValueError
            raise PredictorError(f"the predictor graph cannot be run: {error}") from error
        index = parts[0][0] if parts[0][0].ndim == 1 else np.concatenate([part[0] for part in parts])
        mean, std = (np.concatenate([part[output] for part in parts]) for output in (1, 2))
        return Prediction(index, mean, std)
