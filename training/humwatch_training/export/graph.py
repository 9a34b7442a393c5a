"""Export from torch to the predictor graph, refused where the two do not predict the same."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import torch

from humwatch.arrays import Float32
from humwatch.onnx_predictor import BATCH_KEY, OUTPUTS, OnnxPredictor
from humwatch.predictor import Prediction
from humwatch_training.errors import ExportParityError
from humwatch_training.export.folding import fold
from humwatch_training.export.torch_predictor import TorchPredictor
from humwatch_training.networks.strategies import Strategy

OPSET = 18
FUSED_OPSET = 23
"""Opset with attention as one operator; on a CPU it gains 3 % (``humwatch-train bench``)."""
PARITY_RTOL = 1e-4
"""Largest difference of torch and ONNX Runtime, relative to the larger of the value and 1 dB."""

MAX_BATCH = 4096
BATCH_OF_KIND = {"anp": 2, "latent_anp": 8, "autoencoder": 64, "idnn": 64, "constant": 64}
"""Windows that a graph is best given at a time on a CPU, by the network's kind (``humwatch-train bench`` shows it):
attention over 512 points fills the caches with two, small products need many rows before they are worth starting."""


@dataclass(frozen=True)
class Parity:
    """Largest relative differences of two predictors over some windows, and the number of windows."""

    mean: float
    std: float
    windows: int

    def as_figures(self) -> dict[str, float]:
        """Return the figures for a manifest."""
        return {f"max_relative_{name}" if name != "windows" else name: value for name, value in asdict(self).items()}


def export_graph(strategy: Strategy, *, straight: bool = False, opset: int = OPSET) -> bytes:
    """Return the strategy as one self-contained ONNX file: ``windows`` (B, L, F) to the outputs of a predictor.

    All that does not depend on the sound is computed now (``humwatch_training.export.folding``); ``straight`` leaves
    it in the graph.
    """
    config = strategy.network.config
    example = torch.full((2, config.n_frames, config.n_mels), config.mean_db)
    with _quiet_exporter():
        program = torch.onnx.export(
            strategy if straight else fold(strategy),
            (example,),
            input_names=["windows"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"windows": {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}},
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportParityError("torch's exporter gave no program")
    model = _without_metadata(program.model_proto)
    kind = getattr(config, "kind", "")
    onnx.helper.set_model_props(model, {BATCH_KEY: str(BATCH_OF_KIND.get(kind, 1))})
    serialised: bytes = model.SerializeToString()
    return serialised


def _without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's metadata, which name source files on this disk in every node."""
    nodes = [node for part in (model.graph, *model.functions) for node in part.node]
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for item in (model, model.graph, *model.functions, *nodes, *values):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    return model


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's messages off stdout, and disable the attention fast path, which cannot be exported."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    torch.backends.mha.set_fastpath_enabled(False)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of torch's own deprecations
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_parity(strategy: Strategy, graph: bytes, windows: Float32) -> Parity:
    """Compare torch with the graph on ``windows``, float32 (n, L, F) in dB, alone and in batches.

    Raises ExportParityError where a mean or standard deviation differs by more than ``PARITY_RTOL``.
    """
    expected = TorchPredictor(strategy).predict(windows)
    worst = {"mean": 0.0, "std": 0.0}
    for max_batch in (1, 3, 8):
        got = OnnxPredictor(graph, max_batch=max_batch).predict(windows)
        if not np.array_equal(got.target_index, expected.target_index):
            raise ExportParityError("the graph predicts other bins than the model")
        for name, difference in relative_differences(expected, got).items():
            worst[name] = max(worst[name], difference)
    for name, difference in worst.items():
        if not difference <= PARITY_RTOL:
            raise ExportParityError(
                f"torch and ONNX Runtime differ by {difference:.2g} of the {name}, {PARITY_RTOL:g} is allowed"
            )
    return Parity(worst["mean"], worst["std"], len(windows))


def relative_differences(expected: Prediction, got: Prediction) -> dict[str, float]:
    """Return the largest difference of mean and std, relative to the larger of value and 1 dB; infinite for NaN."""
    result = {}
    for name, a, b in (("mean", expected.mean, got.mean), ("std", expected.std, got.std)):
        difference = np.abs(a.astype(np.float64) - b) / np.maximum(1.0, np.abs(a))
        result[name] = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return result
