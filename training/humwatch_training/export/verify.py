"""Comparison of the scores of torch, ONNX, a file and a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from humwatch.arrays import Float32, Float64
from humwatch.audio.decoding import open_recording
from humwatch.bundle.bundle import Bundle
from humwatch.monitor import Step, StepScores
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.predictor import Predictor
from humwatch.recording import choose_channel
from humwatch_training.errors import ExportParityError
from humwatch_training.export.graph import PARITY_RTOL
from humwatch_training.export.torch_predictor import TorchPredictor
from humwatch_training.networks.strategies import Strategy

STREAM_TRIALS = 3


@dataclass(frozen=True)
class Verified:
    """Comparison of one recording: scores, and the largest difference of torch and ONNX in them."""

    recording: str
    score: float
    state: str
    torch_difference: float
    stream_trials: int


def verify_recording(strategy: Strategy, bundle: Bundle, path: Path, *, seed: int = 0) -> Verified:
    """Score a recording through torch, through ONNX, and as a stream in random chunks.

    Raises ExportParityError where torch and ONNX differ by more than ``PARITY_RTOL`` (of the score or of 1) or decide
    otherwise, or where a stream differs from the file at all.
    """
    graph = OnnxPredictor(bundle.graph)
    by_onnx = bundle.score(path, graph)
    by_torch = bundle.score(path, TorchPredictor(strategy))
    difference = abs(by_torch.worst.score - by_onnx.worst.score) / max(1.0, abs(by_onnx.worst.score))
    if not difference <= PARITY_RTOL or by_torch.state != by_onnx.state:
        raise ExportParityError(
            f"{path.name}: torch says {by_torch.worst.score:.6f} ({by_torch.state}),"
            f" ONNX {by_onnx.worst.score:.6f} ({by_onnx.state})"
        )
    rng = np.random.default_rng(seed)
    expected = _as_numbers(by_onnx.steps)
    for _ in range(STREAM_TRIALS):
        steps = _stream(bundle, graph, path, rng)
        if not np.array_equal(_as_numbers(steps), expected, equal_nan=True):
            raise ExportParityError(f"{path.name}: a stream in random chunks gives other scores than the file")
    return Verified(path.name, by_onnx.worst.score, by_onnx.state, difference, STREAM_TRIALS)


def _stream(bundle: Bundle, predictor: Predictor, path: Path, rng: np.random.Generator) -> list[Step]:
    with open_recording(path) as recording:
        info = recording.info
        samples = np.concatenate([block.samples for block in recording.blocks()])
    channel = choose_channel(info.channels, None, bundle.manifest.channel)
    monitor = bundle.monitor(predictor, source_rate_hz=info.rate_hz, channel=channel)
    steps: list[Step] = []
    for chunk in _random_chunks(samples, rng):
        steps += monitor.push(chunk)
    return steps + monitor.flush()


def _random_chunks(samples: Float32, rng: np.random.Generator) -> Iterator[Float32]:
    start = 0
    while start < len(samples):
        size = int(10 ** rng.uniform(0.0, 4.5))
        yield samples[start : start + size]
        start += size


def _as_numbers(steps: Sequence[StepScores]) -> Float64:
    """Return step and clip scores with their bounds: float64 (steps, 6), NaN where there is no clip yet."""
    rows = []
    for step in steps:
        scales = (step.step, step.clip)
        rows.append(
            [
                value
                for scale in scales
                for value in (
                    (scale.start_sample, scale.end_sample, scale.raw_score) if scale else (np.nan, np.nan, np.nan)
                )
            ]
        )
    return np.array(rows, np.float64).reshape(-1, 6)
