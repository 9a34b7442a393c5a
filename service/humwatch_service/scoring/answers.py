"""The answer for a recording, as JSON, with meaning and unit of every field."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.audio.quality import SoundWarning, WarningCode
from humwatch.detectors.detector_set import DetectorName
from humwatch.detectors.normal_lines import LineFinding
from humwatch.detectors.rhythm import IrregularTime
from humwatch.monitor import StepScores
from humwatch.recording import RecordingScore
from humwatch.scoring.decision import State
from humwatch.scoring.explain import BandRange
from humwatch_service.models.levels import FalseAlarms, Levels
from humwatch_service.models.registry import LoadedModel
from humwatch_service.protocol.detections import DETECTOR_MEANING, LINE_MEANING, Detection


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Span(_Answer):
    """A part of the recording."""

    start_s: float = Field(description="seconds from the start of the recording")
    end_s: float = Field(description="seconds from the start of the recording")


class Moment(_Answer):
    """One step of the timeline; steps are due once a second by default."""

    start_s: float = Field(description="start of what the step's score listens to, seconds")
    end_s: float = Field(description="end of it, seconds")
    score: float = Field(description="score of this step alone, on the step scale: 1 is that scale's alarm level")
    clip_score: float | None = Field(
        description="score of the clip that ends here, on the clip scale; null until a whole clip was heard"
    )
    detector: DetectorName | None = Field(None, description="which detector decided `clip_score`; null with it")


class Band(_Answer):
    """A range of frequencies that adds to the score."""

    low_hz: float = Field(description="lower edge, Hz")
    high_hz: float = Field(description="upper edge, Hz")
    contribution: float = Field(description="share of the raw score's excess over all bands, 0 to 1")
    departure_db: float = Field(
        description="mean departure in dB, above 0 is louder: from the machine's normal clips for profiles, from what"
        " the model expects for errors"
    )


class Notice(_Answer):
    """Something that the reader of the score should know."""

    code: WarningCode = Field(description="stable name of the warning, for programs")
    message: str = Field(description="the warning in words")


class ScoreAnswer(_Answer):
    """What Humwatch makes of a recording."""

    machine_id: str = Field(description="machine whose model was used")
    model_version: str = Field(description="version of its model")
    model_sha256: str = Field(description="SHA-256 of the whole bundle, hexadecimal")
    state: State = Field(
        description="`unknown` when the sound cannot be judged, `off` when the machine does not run in it;"
        " `warnings` say why"
    )
    score: float = Field(
        description="score of the worst clip (of the worst step, if the recording is shorter than a clip):"
        " 0 is the median of normal clips, 1 the alarm level"
    )
    raw_score: float = Field(description="the same before normalisation")
    score_scale: Literal["clip", "step"] = Field(description="whether the worst clip or the worst step decided")
    thresholds: Levels = Field(description="levels on the scale of `score`; `alarm` is 1")
    raw_thresholds: Levels = Field(description="levels on the scale of `raw_score`")
    p_value: float = Field(description="share of normal clips with a score at least as high (conformal p-value)")
    expected_false_alarms_a_day: FalseAlarms = Field(description="what the alarm level costs on normal sound")
    duration_s: float = Field(description="length of the recording, seconds")
    level_dbfs: float = Field(description="level of the scored channel, dB relative to full scale")
    worst: Span = Field(description="the clip or step that decided")
    timeline: list[Moment] = Field(description="scores in order of time")
    detector: DetectorName = Field(description=DETECTOR_MEANING)
    irregular_times: list[IrregularTime] = Field(
        description="when the sound was irregular, seconds from the start of the recording, the largest share first;"
        " empty unless `rhythm` decided a score from the warning level on"
    )
    line: LineFinding | None = Field(description=LINE_MEANING)
    bands: list[Band] = Field(
        description="frequencies that add most to the score of `profile` or `error` in `worst`, the largest share first"
    )
    warnings: list[Notice] = Field(description="what the reader of the score should know")
    request_id: str | None = Field(description="the request's id, as in `X-Request-ID` and the log")


def answer_of(machine: LoadedModel, result: RecordingScore, request_id: str | None) -> ScoreAnswer:
    """Translate the core's answer: samples to seconds, thresholds to the scale of the score."""
    manifest = machine.manifest
    rate_hz = manifest.features.rate_hz
    thresholds = result.calibration.thresholds
    start_s = result.worst.start_sample / rate_hz
    found = Detection.of(result.worst, start_s)
    return ScoreAnswer(
        machine_id=manifest.machine_id,
        model_version=manifest.version,
        model_sha256=machine.digest,
        state=result.state,
        score=result.worst.score,
        raw_score=result.worst.raw_score,
        score_scale=result.scale,
        thresholds=Levels(warn=result.warn_score, alarm=1.0),
        raw_thresholds=Levels(warn=thresholds.warn.level, alarm=thresholds.alarm.level),
        p_value=result.p_value,
        expected_false_alarms_a_day=FalseAlarms.of(thresholds),
        duration_s=result.duration_s,
        level_dbfs=result.level_dbfs,
        worst=Span(start_s=start_s, end_s=result.worst.end_sample / rate_hz),
        timeline=[_moment(step, rate_hz) for step in result.steps],
        detector=found.detector,
        irregular_times=list(found.irregular_times),
        line=found.line,
        bands=[_band(band) for band in result.bands],
        warnings=[_notice(warning) for warning in result.warnings],
        request_id=request_id,
    )


def _moment(step: StepScores, rate_hz: int) -> Moment:
    return Moment(
        start_s=step.step.start_sample / rate_hz,
        end_s=step.step.end_sample / rate_hz,
        score=step.step.score,
        clip_score=None if step.clip is None else step.clip.score,
        detector=None if step.clip is None else step.clip.detector,
    )


def _band(band: BandRange) -> Band:
    return Band.model_validate(band.model_dump())


def _notice(warning: SoundWarning) -> Notice:
    return Notice(code=warning.code, message=warning.message)
