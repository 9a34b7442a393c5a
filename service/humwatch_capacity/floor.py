"""The theoretical floor: what the arithmetic of a model costs alone, in arrays over many streams, in one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from humwatch.arrays import Float32
from humwatch.audio.features import LogMel
from humwatch.audio.windows import Windower
from humwatch.bundle.bundle import Bundle
from humwatch.detectors.lines import FRAME_SAMPLES, HOP_SAMPLES, line_power
from humwatch.onnx_predictor import OnnxPredictor
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Prediction
from humwatch.scoring.evidence import EvidenceExtractor
from humwatch_capacity.floor_scores import ScoreArithmetic
from humwatch_capacity.played_sound import PlayedSound
from humwatch_capacity.report import FloorReport

SECONDS: Final = 64
"""Sound that a stage works on, of all streams together, seconds."""
TRIES: Final = 3
"""The least of so many measurements counts: others only add."""
BATCHES: Final = (1, 2, 4, 8)
"""Times the number of windows that the graph is best given."""
EVIDENCE_WINDOWS: Final = 128
LINE_FRAMES: Final = 32
SCORED_STREAMS: Final = 64

Work = Callable[[], object]


def measure_floor(bundle: Bundle, sound: PlayedSound) -> FloorReport:
    """Measure the arithmetic of a model on a sound: front end, predictor, evidence, lines and scores."""
    spec = bundle.manifest.pipeline
    integers = np.frombuffer(sound.piece(0, SECONDS * sound.rate_hz), "<i2")
    samples = integers.astype(np.float32) / np.float32(32_768)
    with threadpool_limits(1):
        windows, front_end_ms = _front_end(spec, samples)
        batch, prediction, predictor_ms = _predictor(bundle.graph, windows)
        stages = {
            "front end": front_end_ms,
            "predictor": predictor_ms,
            "evidence": _evidence_ms(spec, windows, prediction),
            "lines": _lines_ms(spec, samples) if spec.uses_lines else 0.0,
            "scores": _scores_ms(bundle, spec),
        }
    return FloorReport(stages=stages, batch_windows=batch, ms_a_stream_second=sum(stages.values()))


def least_ms(work: Work, seconds: float, tries: int = TRIES) -> float:
    """Return the processor time that work on so many seconds of sound takes a second of it, milliseconds."""
    work()  # memory is taken and plans are made at the first run
    spent_s = []
    for _ in range(tries):
        started_s = time.process_time()
        work()
        spent_s.append(time.process_time() - started_s)
    return 1e3 * min(spent_s) / seconds


def _front_end(spec: PipelineSpec, samples: Float32) -> tuple[Float32, float]:
    """Return all windows, float32 (n, L, F), and what frames and windows cost a second."""

    def work() -> Float32:
        blocks = Windower(spec.windows, spec.features).push(LogMel(spec.features).push(samples))
        return np.concatenate(blocks)

    return work(), least_ms(work, SECONDS)


def _predictor(graph: bytes, windows: Float32) -> tuple[int, Prediction, float]:
    """Return the batch that is fastest, the prediction of all windows, and what it costs a second."""
    advised = OnnxPredictor(graph).batch
    costs: dict[int, float] = {}
    for factor in BATCHES:
        predictor = OnnxPredictor(graph, max_batch=advised * factor)
        costs[predictor.batch] = least_ms(partial(predictor.predict, windows), SECONDS)
    best = min(costs, key=costs.__getitem__)
    return best, OnnxPredictor(graph, max_batch=best).predict(windows), costs[best]


def _evidence_ms(spec: PipelineSpec, windows: Float32, prediction: Prediction) -> float:
    hop = spec.windows.hop_frames if spec.scoring.kind == "consensus" else None
    extractor = EvidenceExtractor(spec.scoring.kind, spec.scoring.bands(spec.features), profiles_hop=hop)

    def work() -> None:
        for start in range(0, len(windows), EVIDENCE_WINDOWS):
            some = slice(start, start + EVIDENCE_WINDOWS)
            extractor.evidence(windows[some], prediction[some])

    return least_ms(work, SECONDS)


def _lines_ms(spec: PipelineSpec, samples: Float32) -> float:
    """Return what the line spectra of a stream's blocks cost a second; blocks overlap, so frames are counted."""
    advance, length = spec.block_samples
    frames_a_second = ((length - FRAME_SAMPLES) // HOP_SAMPLES + 1) * spec.features.rate_hz / advance
    piece = (LINE_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES
    pieces = [samples[start : start + piece] for start in range(0, len(samples) - piece, piece)]

    def work() -> None:
        for some in pieces:
            line_power(some, spec.features.rate_hz)

    return least_ms(work, len(pieces) * LINE_FRAMES / frames_a_second)


def _scores_ms(bundle: Bundle, spec: PipelineSpec) -> float:
    advance, _ = spec.block_samples
    scores = ScoreArithmetic(bundle.calibration, spec, SCORED_STREAMS)
    return least_ms(scores.step, SCORED_STREAMS * advance / spec.features.rate_hz)
