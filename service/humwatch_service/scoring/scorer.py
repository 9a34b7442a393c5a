"""One recording, scored: what the HTTP service and ``humwatch score`` have in common."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from humwatch.audio.decoding import DecodeLimits
from humwatch.errors import PredictorError
from humwatch.monitor import Monitor
from humwatch.predictor import Prediction, Predictor
from humwatch.recording import RecordingScore, score_recording
from humwatch_service.models.registry import Machine
from humwatch_service.scoring.answers import ScoreAnswer, answer_of
from humwatch_service.scoring.picture import Painter
from humwatch_service.scoring.sound_trace import SoundTrace
from humwatch_service.telemetry.tracing import stage_span

Float32 = npt.NDArray[np.float32]


MAX_RUN_SPANS: Final = 32
"""Runs of the predictor that have a span of their own in the trace of a request."""


class WatchedPredictor:
    """A predictor that counts and times, and that looks before each batch whether anybody still waits."""

    def __init__(self, predictor: Predictor, look: Callable[[], None]) -> None:
        self._predictor = predictor
        self._look = look
        self._runs = 0
        self.windows = 0
        self.seconds = 0.0

    def predict(self, windows: Float32) -> Prediction:
        """Predict the targets of ``windows``, float32 (B, L, F) in dB."""
        self._look()
        started_s = time.perf_counter()
        self._runs += 1
        with stage_span("predict", windows=len(windows)) if self._runs <= MAX_RUN_SPANS else nullcontext():
            prediction = self._predictor.predict(windows)
        self.seconds += time.perf_counter() - started_s
        self.windows += len(windows)
        return prediction


@dataclass(frozen=True)
class ScoreJob:
    """What is to be scored, and how.

    Attributes:
        source: a path or a seekable binary file.
        machine: whose model judges it.
        channel: counted from 0; None takes the one that the model was calibrated for.
        limits: of decoding.
        picture: whether a picture is wanted.
        request_id: that the answer carries.
    """

    source: Path | BinaryIO
    machine: Machine
    channel: int | None = None
    limits: DecodeLimits | None = None
    picture: bool = False
    request_id: str | None = None


@dataclass(frozen=True)
class Scored:
    """A scored recording.

    Attributes:
        png: the picture, if one was asked for.
        windows: that went through the predictor.
        stage_seconds: of `predict`, `score` and, with a picture, `picture`.
    """

    answer: ScoreAnswer
    png: bytes | None
    windows: int
    stage_seconds: dict[str, float]


def _never() -> None:
    return None


class Scorer:
    """Scores recordings, in any thread."""

    def __init__(self) -> None:
        self._painter: Final = Painter()

    def score(self, job: ScoreJob, look: Callable[[], None] = _never) -> Scored:
        """Score a recording (blocking); ``look`` is called between steps and may raise to give up.

        Raises:
            AudioError: the recording cannot be used.
            PredictorError: the graph cannot be run, or gives numbers that are not finite.
        """
        started_s = time.perf_counter()
        predictor = WatchedPredictor(job.machine.predictor, look)
        trace = SoundTrace(job.machine.manifest.listening, job.machine.bundle.calibration) if job.picture else None
        with stage_span("score", machine_id=job.machine.manifest.machine_id) as note:
            answer = answer_of(job.machine, _score(job, predictor, trace), job.request_id)
            note(model_version=answer.model_version, state=answer.state, windows=predictor.windows)
        scored_s = time.perf_counter()
        stages = {"predict": predictor.seconds, "score": scored_s - started_s - predictor.seconds}
        png = None
        if trace is not None:
            look()
            with stage_span("picture"):
                png = self._painter.paint(answer, trace)
            stages["picture"] = time.perf_counter() - scored_s
        return Scored(answer, png, predictor.windows, stages)


def _score(job: ScoreJob, predictor: WatchedPredictor, trace: SoundTrace | None) -> RecordingScore:
    def monitor_for(source_rate_hz: int, channel: int) -> Monitor:
        return job.machine.bundle.monitor(predictor, source_rate_hz=source_rate_hz, channel=channel)

    result = score_recording(
        job.source,
        job.machine.manifest.listening,
        monitor_for,
        channel=job.channel,
        default_channel=job.machine.manifest.channel,
        limits=job.limits,
        on_step=None if trace is None else trace.push,
    )
    numbers = (result.worst.raw_score, *(step.step.raw_score for step in result.steps))
    if not all(math.isfinite(number) for number in numbers):
        raise PredictorError("the model's score is not a finite number")
    return result
