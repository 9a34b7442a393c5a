"""Predictor of a bundle: an ONNX graph in ONNX Runtime.

The only module of core that imports an inference engine, so that thresholds are fitted through the code that later
serves (ADR 0005). The engine itself comes with the ``service``, ``gpu`` or ``training`` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime

from humwatch.arrays import Float32
from humwatch.errors import PredictorError
from humwatch.predictor import Prediction

OUTPUTS: Final = ("target_index", "mean", "std")
BATCH_KEY: Final = "humwatch.batch_windows"
"""Key in a graph's metadata: the best number of windows at a time on a CPU."""
DEFAULT_BATCH: Final = 2
"""Windows at a time of a graph without that key: attention over 512 points takes 8 MiB a window and matrix."""
MAX_BATCH: Final = 4096
LEAST_BATCH: Final = 2
"""A single window is run twice: matrix products of one row take another path, and round differently."""
GPU_BATCHES: Final = 32
"""Batches of a CPU that go through a GPU at once: it has so many times the arithmetic units."""

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
_PROVIDER_OPTIONS: Final[dict[str, dict[str, str]]] = {CUDA: {"use_tf32": "0"}}
"""TF32 keeps 10 bits of a factor: levels would be off by 0.05 dB."""
_SLOWER: Final = ("SkipLayerNormFusion",)
"""Optimisations of ONNX Runtime that slow our graphs down: its fused norm of a sum takes three times as long."""


class OnnxPredictor:
    """Predictor graph: ``windows`` (B, L, F) in, ``target_index``, ``mean`` and ``std`` out.

    Safe to share between threads. The prediction of a window does not depend on the windows that go through the graph
    beside it, to the bit on a CPU (:meth:`is_row_exact`), so the windows of many streams may share a run.

    Attributes:
        batch: windows that go through the graph at a time: ``max_batch``, or the number in the graph's metadata.
        providers: execution providers of ONNX Runtime in use.
        window_shape: shape of a window, (L, F).

    Raises:
        PredictorError: the graph does not have the interface, or a provider that was asked for is not in use.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import OnnxPredictor, read_bundle
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> predictor = OnnxPredictor(bundle.graph)
        >>> prediction = predictor.predict(bundle.golden.windows[:2])
        >>> predictor.window_shape, len(prediction.mean)
        ((5, 128), 2)
    """

    def __init__(
        self, graph: bytes, *, providers: Sequence[str] = (CPU,), threads: int = 1, max_batch: int | None = None
    ) -> None:
        self._session = _session(graph, providers, threads)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        # ONNX Runtime falls back to the CPU with no more than a log line.
        missing = [name for name in providers if name not in self.providers]
        if missing:
            raise PredictorError(f"asked for {', '.join(missing)}, but {', '.join(self.providers)} is in use")
        self.window_shape = self._check_interface()
        self.batch = max_batch or self._advised_batch()
        self._on_gpu = CUDA in self.providers

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB. Raises :class:`PredictorError`."""
        starts = range(0, len(windows), self.batch)
        try:
            parts = [self._run(windows[start : start + self.batch]) for start in starts]
        except Exception as error:  # the engine raises bare classes of its own, and ValueError
            raise PredictorError(f"the predictor graph cannot be run: {error}") from error
        return Prediction.concatenate(parts)

    def is_row_exact(self, windows: Float32) -> bool:
        """Return True if predictions are the same to the bit in batches of any size, tried on float32 (n, L, F) in dB.

        It also warms the engine up: memory is taken and kernels are chosen at the first run of a size.
        """
        full = np.resize(windows, (max(self.batch, LEAST_BATCH), *windows.shape[1:]))
        together = self.predict(full)
        sizes = {1, LEAST_BATCH, 3, len(full) // 2 + 1}
        return all(_agree(self.predict(full[-size:]), together, size) for size in sizes if size < len(full))

    def _run(self, windows: Float32) -> Prediction:
        count = len(windows)
        wanted = self.batch if self._on_gpu else LEAST_BATCH  # a GPU's kernels are chosen by the size: one for all
        if count < wanted:
            windows = np.concatenate([windows, np.broadcast_to(windows[:1], (wanted - count, *windows.shape[1:]))])
        run = self._run_bound if self._on_gpu else self._run_plainly
        index, mean, std = run(np.ascontiguousarray(windows, np.float32))
        return Prediction(index, mean, std)[:count]

    def _run_plainly(self, windows: Float32) -> list[Any]:
        return list(self._session.run(OUTPUTS, {"windows": windows}))

    def _run_bound(self, windows: Float32) -> list[Any]:
        """Run with inputs and outputs bound to memory of this host; on a CPU it gains nothing."""
        binding = self._session.io_binding()
        binding.bind_cpu_input("windows", windows)
        for name in OUTPUTS:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())

    def _check_interface(self) -> tuple[int, int]:
        inputs = self._session.get_inputs()
        outputs = {output.name for output in self._session.get_outputs()}
        if [node.name for node in inputs] != ["windows"] or not outputs.issuperset(OUTPUTS):
            raise PredictorError("a predictor graph takes 'windows' and gives " + ", ".join(OUTPUTS))
        shape = inputs[0].shape
        if len(shape) != 3 or not all(isinstance(size, int) for size in shape[1:]):
            raise PredictorError(f"'windows' has to be (B, L, F) with fixed L and F, not {shape}")
        return int(shape[1]), int(shape[2])

    def _advised_batch(self) -> int:
        text = self._session.get_modelmeta().custom_metadata_map.get(BATCH_KEY, str(DEFAULT_BATCH))
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_BATCH):
            raise PredictorError(f"the graph's {BATCH_KEY} has to be a number from 1 to {MAX_BATCH}, not {text[:40]!r}")
        return min(MAX_BATCH, int(text) * GPU_BATCHES) if CUDA in self.providers else int(text)


def _session(graph: bytes, providers: Sequence[str], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            graph,
            options,
            providers=[(name, _PROVIDER_OPTIONS.get(name, {})) for name in providers],
            disabled_optimizers=list(_SLOWER),
        )
    except Exception as error:  # the engine raises bare classes of its own, and ValueError
        raise PredictorError(f"the predictor graph cannot be loaded: {error}") from error


def _agree(few: Prediction, many: Prediction, size: int) -> bool:
    """Return True if ``few`` equals the last windows of ``many``."""
    return np.array_equal(few.mean, many.mean[-size:]) and np.array_equal(few.std, many.std[-size:])
