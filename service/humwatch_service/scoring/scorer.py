"""The score of one recording, for the HTTP service and for ``humwatch score``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from humwatch.audio.decoding import DecodeLimits
from humwatch.errors import PredictorError
from humwatch.predictor import Predictor
from humwatch.recording import RecordingScore
from humwatch_service.inference.timing import PredictorRun, TimedPredictor
from humwatch_service.models.registry import LoadedModel
from humwatch_service.scoring.answers import ScoreAnswer, answer_of
from humwatch_service.scoring.picture import Painter
from humwatch_service.scoring.sound_trace import SoundTrace
from humwatch_service.telemetry.tracing import stage_span

MAX_RUN_SPANS: Final = 32
"""Runs of the predictor that have a span of their own in the trace of a request."""


@dataclass(frozen=True)
class ScoreJob:
    """A recording to score, and how.

    Attributes:
        source: path, or seekable binary file.
        model: model to score it by.
        channel: channel to score, counted from 0; None for the one that the model was calibrated for.
        limits: limits of decoding.
        picture: whether to draw a picture.
        request_id: id of the request, for the answer.
        use_level: whether the level shows if the machine runs.
    """

    source: Path | BinaryIO
    model: LoadedModel
    channel: int | None = None
    limits: DecodeLimits | None = None
    picture: bool = False
    request_id: str | None = None
    use_level: bool = True


@dataclass(frozen=True)
class ScoredRecording:
    """The result of a job.

    Attributes:
        answer: answer to the request.
        png: picture, if the job asks for one.
        windows: number of windows that went through the predictor.
        stage_seconds: duration of `predict`, `score` and, with a picture, `picture`, seconds.
    """

    answer: ScoreAnswer
    png: bytes | None
    windows: int
    stage_seconds: dict[str, float]


def _never() -> None:
    return None


class Scorer:
    """Scorer of recordings, in any thread."""

    def __init__(self) -> None:
        self._painter: Final = Painter()

    def score(self, job: ScoreJob, check: Callable[[], None] = _never) -> ScoredRecording:
        """Score a recording (blocking).

        Args:
            job: recording, model and wishes.
            check: callback before and after each run of the predictor, and before the picture; its exception ends the
                job.

        Raises:
            AudioError: the recording cannot be used.
            PredictorError: the graph cannot be run, or gives numbers that are not finite.
        """
        started_s = time.perf_counter()
        model, runs = job.model, list[PredictorRun]()
        trace = SoundTrace(model.manifest.pipeline, model.bundle.calibration) if job.picture else None
        with stage_span("score", machine_id=model.manifest.machine_id) as note:
            answer = answer_of(model, _score(job, _timed(model.predictor, runs, check), trace), job.request_id)
            windows = sum(run.windows for run in runs)
            note(model_version=answer.model_version, state=answer.state, windows=windows)
        scored_s = time.perf_counter()
        predict_s = sum(run.wall_s for run in runs)
        stages = {"predict": predict_s, "score": scored_s - started_s - predict_s}
        png = None
        if trace is not None:
            check()
            with stage_span("picture"):
                png = self._painter.paint(answer, trace)
            stages["picture"] = time.perf_counter() - scored_s
        return ScoredRecording(answer, png, windows, stages)


def _timed(predictor: Predictor, runs: list[PredictorRun], check: Callable[[], None]) -> TimedPredictor:
    """Return a predictor that adds its runs to a list, the first of them to the trace, and calls ``check`` around."""

    def span(windows: int) -> AbstractContextManager[Any]:
        check()
        return stage_span("predict", windows=windows) if len(runs) < MAX_RUN_SPANS else nullcontext()

    def on_run(run: PredictorRun) -> None:
        runs.append(run)
        check()

    return TimedPredictor(predictor, span=span, on_run=on_run)


def _score(job: ScoreJob, predictor: Predictor, trace: SoundTrace | None) -> RecordingScore:
    """Return the score of a recording, whose numbers are finite."""
    on_step = None if trace is None else trace.push
    result = job.model.bundle.score(
        job.source,
        predictor,
        channel=job.channel,
        limits=job.limits,
        on_step=on_step,
        use_level=job.use_level,
    )
    numbers = (result.worst.raw_score, *(step.step.raw_score for step in result.steps))
    if not all(math.isfinite(number) for number in numbers):
        raise PredictorError("the model's score is not a finite number")
    return result
