"""Whole recordings: their score, and their evidence for a calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from humwatch.audio.decoding import AudioInfo, DecodeLimits, Recording, open_recording
from humwatch.audio.levels import SecondLevels
from humwatch.audio.quality import UNJUDGEABLE, SoundCheck, SoundWarning, missing_band, unusual_level
from humwatch.detectors.lines import ClipLines
from humwatch.detectors.thresholds import conformal_p_value
from humwatch.errors import AudioChannelMissing, AudioTooShort, CalibrationError
from humwatch.monitor import Monitor, ScaleScore, Step, StepScores
from humwatch.pipeline import EvidencePipeline, PipelineSpec, WindowBlock
from humwatch.predictor import Predictor
from humwatch.scoring.calibration import ScaleCalibration
from humwatch.scoring.decision import State, decide
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.explain import BandRange, explain_bands
from humwatch.scoring.normal_clip import NormalClip

COARSE_BITS = 12
"""Samples of fewer bits than this, and than those of calibration, are too coarse to judge."""


@dataclass(frozen=True)
class RecordingScore:
    """Score of a recording.

    Attributes:
        duration_s: length of the recording, seconds.
        state: state of the machine.
        worst: score of the worst clip; of a recording shorter than a clip, of its worst step.
        scale: time scale of ``worst``.
        calibration: calibration of that scale.
        p_value: conformal p-value: share of normal clips with a score at least as high.
        bands: ranges of frequency that make up most of the score, the largest first.
        steps: scores of each second, in order; without their window blocks, which ``on_step`` gets.
        warnings: warnings about the sound and the calibration.
        level_dbfs: level of the recording.
    """

    duration_s: float
    state: State
    worst: ScaleScore
    scale: Literal["clip", "step"]
    calibration: ScaleCalibration
    p_value: float
    bands: list[BandRange]
    steps: list[StepScores]
    warnings: list[SoundWarning]
    level_dbfs: float

    @property
    def warn_score(self) -> float:
        """The ``warn`` level as a normalised score."""
        return self.calibration.thresholds.normalise(self.calibration.thresholds.warn.level)


def score_recording(
    source: Path | str | BinaryIO,
    spec: PipelineSpec,
    monitor_for: Callable[[int, int], Monitor],
    *,
    channel: int | None = None,
    default_channel: int = 0,
    limits: DecodeLimits | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> RecordingScore:
    """Score a recording.

    The score is that of the worst ``clip_seconds`` of it, as a live stream of the same samples would have shown.

    Args:
        source: path or seekable binary file.
        spec: front end, windows and score of the machine's model.
        monitor_for: function of (source rate in Hz, channel) that returns a monitor.
        channel: channel to score, counted from 0; None takes ``default_channel``, or the only one of a mono
            recording.
        default_channel: channel that the model was calibrated for.
        limits: limits of decoding; None for the usual ones.
        on_step: callback for each step as soon as it is known; may raise to give up.

    Raises:
        AudioError: a subclass for each reason that a recording cannot be scored.
    """
    with open_recording(source, limits) as recording:
        info = recording.info
        rate_hz, shortest = spec.features.rate_hz, spec.windows.shortest_samples(spec.features)
        if round(info.frames * rate_hz / info.rate_hz) < shortest:
            raise AudioTooShort(f"{info.duration_s:.3f} s; {shortest / rate_hz:.3f} s at least are needed")
        chosen = choose_channel(info.channels, channel, default_channel)
        monitor, check = monitor_for(info.rate_hz, chosen), SoundCheck(info.rate_hz)
        steps: list[StepScores] = []
        for step in _scored_steps(monitor, check, recording, chosen):
            steps.append(StepScores(step.step, step.clip))
            if on_step is not None:
                on_step(step)
    if not steps:
        raise AudioTooShort(f"{info.duration_s:.3f} s; {shortest / rate_hz:.3f} s at least are needed")
    warnings = [
        *check.warnings(),
        *_source_warnings(monitor, info),
        *_level_warning(monitor, check.level_dbfs),
    ]
    if info.channels > 1 and channel is None:
        text = f"channel {chosen} of {info.channels} (counted from 0) was scored; ask for another with `channel`"
        warnings.append(SoundWarning(code="channel_selected", message=text))
    return _recording_score(monitor, steps, info.duration_s, check.level_dbfs, warnings)


def _scored_steps(monitor: Monitor, check: SoundCheck, recording: Recording, channel: int) -> Iterator[Step]:
    for block in recording.blocks():
        check.push(np.ascontiguousarray(block.samples[:, channel]))
        yield from monitor.push(block.samples)
    yield from monitor.flush()


def choose_channel(channels: int, channel: int | None, default: int) -> int:
    """Return the channel to use: the one asked for, else the default, or the only one of a mono recording.

    Raises:
        AudioChannelMissing: the recording does not have it.
    """
    chosen = (0 if channels == 1 else default) if channel is None else channel
    if not 0 <= chosen < channels:
        raise AudioChannelMissing(f"channel {chosen} of a recording with {channels} (counted from 0)")
    return chosen


def _recording_score(
    monitor: Monitor, steps: list[StepScores], duration_s: float, level_dbfs: float, warnings: list[SoundWarning]
) -> RecordingScore:
    clips = [step.clip for step in steps if step.clip is not None]
    calibration = monitor.calibration
    scale, scores, used = (
        ("clip", clips, calibration.clip) if clips else ("step", [step.step for step in steps], calibration.step)
    )
    worst = max(scores, key=lambda score: score.score)
    if not clips:
        clip_s = monitor.spec.windows.clip_seconds
        text = (
            f"{duration_s:.1f} s is shorter than the {clip_s:g} s that the thresholds are for: its worst second decides"
        )
        warnings = [*warnings, SoundWarning(code="shorter_than_clip", message=text)]
    warnings = [
        *warnings,
        *(SoundWarning(code="few_calibration_recordings", message=text) for text in calibration.warnings),
    ]
    warn = used.thresholds.normalise(used.thresholds.warn.level)
    return RecordingScore(
        duration_s=duration_s,
        state=decide(worst.score, warn=warn, warnings=warnings),
        worst=worst,
        scale="clip" if scale == "clip" else "step",
        calibration=used,
        p_value=conformal_p_value(used.normal_scores, worst.raw_score, calibration.recordings),
        bands=explain_bands(worst.contributions, worst.departures_db, monitor.spec.band_edges_hz),
        steps=steps,
        warnings=warnings,
        level_dbfs=level_dbfs,
    )


def _rate_warnings(spec: PipelineSpec, info: AudioInfo) -> list[SoundWarning]:
    """Return the warning for a recording's rate too low for the model."""
    text = missing_band(info.rate_hz, float(spec.band_edges_hz[-1, 1]))
    return [] if text is None else [SoundWarning(code="bandwidth_limited", message=text)]


def _source_warnings(monitor: Monitor, info: AudioInfo) -> list[SoundWarning]:
    """Return the warnings for a recording's rate and resolution."""
    found = _rate_warnings(monitor.spec, info)
    if not found and info.rate_hz != monitor.spec.features.rate_hz:
        text = f"resampled from {info.rate_hz} to {monitor.spec.features.rate_hz} Hz"
        found.append(SoundWarning(code="resampled", message=text))
    calibrated_bits = monitor.calibration.sample_bits
    if info.sample_bits < min(COARSE_BITS, calibrated_bits):
        text = (
            f"rounded to {info.sample_bits} bits, samples hiss louder than much of what the model listens to; it was"
            f" calibrated on {calibrated_bits} bits: the score says nothing about the machine"
        )
        if info.lossy is not None:
            text = (
                f"{_coding(info)} keeps too little of the sound, and the model was calibrated on finer recordings:"
                " the score says nothing about the machine"
            )
        found.append(SoundWarning(code="coarse_samples", message=text))
    return [*found, *_coding_warning(info)]


def _coding(info: AudioInfo) -> str:
    rate = "" if info.bits_per_s is None else f" at {info.bits_per_s / 1000:.0f} kbit/s a channel"
    return f"{info.lossy}{rate}"


def _coding_warning(info: AudioInfo) -> list[SoundWarning]:
    """Return the warning for a recording whose coding left out sound."""
    if info.lossy is None:
        return []
    text = f"coded as {_coding(info)}: what ears miss was left out, and a faint fault may be among it"
    return [SoundWarning(code="lossy_coded", message=text)]


def _level_warning(monitor: Monitor, level_dbfs: float) -> list[SoundWarning]:
    calibration = monitor.calibration
    text = unusual_level(level_dbfs, calibration.level_dbfs_low, calibration.level_dbfs_high)
    return [] if text is None else [SoundWarning(code="level_unusual", message=text)]


@dataclass(frozen=True)
class RecordingEvidence:
    """Evidence of a recording, and properties of its sound.

    Attributes:
        blocks: windows, predictions and evidence.
        level_dbfs: level of the recording.
        quietest_dbfs: level of its quietest whole second; None when it is shorter than one.
        sample_bits: resolution of a sample, bits.
        warnings: warnings about the sound itself.
    """

    blocks: list[WindowBlock]
    level_dbfs: float
    quietest_dbfs: float | None
    sample_bits: int
    warnings: list[SoundWarning]


def analyse(
    path: Path, spec: PipelineSpec, predictor: Predictor, *, channel: int | None, default_channel: int = 0
) -> RecordingEvidence:
    """Extract the evidence of a whole recording; channels as for :func:`score_recording`."""
    with open_recording(path) as recording:
        info = recording.info
        chosen = choose_channel(info.channels, channel, default_channel)
        pipeline = EvidencePipeline(spec, predictor, source_rate_hz=info.rate_hz, channel=chosen, calibrating=True)
        check, levels = SoundCheck(info.rate_hz), SecondLevels(info.rate_hz)
        blocks: list[WindowBlock] = []
        seconds_dbfs: list[float] = []
        for block in recording.blocks():
            blocks += pipeline.push(block.samples)
            mono = np.ascontiguousarray(block.samples[:, chosen])
            check.push(mono)
            seconds_dbfs += levels.push(mono)
        blocks += pipeline.flush()
    warnings = [*check.warnings(), *_rate_warnings(spec, info), *_coding_warning(info)]
    if info.channels > 1 and channel is None:
        text = f"channel {chosen} of {info.channels} (counted from 0) was listened to; ask for another with `channel`"
        warnings.append(SoundWarning(code="channel_selected", message=text))
    return RecordingEvidence(blocks, check.level_dbfs, min(seconds_dbfs, default=None), info.sample_bits, warnings)


def whole_clips(evidence: Evidence, spec: PipelineSpec) -> list[Evidence]:
    """Cut evidence into clips that do not overlap; none when it is shorter than a clip."""
    size = spec.clip_windows
    return [evidence[start : start + size] for start in range(0, len(evidence) - size + 1, size)]


def clip_lines(blocks: Sequence[WindowBlock], spec: PipelineSpec, first_window: int) -> ClipLines | None:
    """Return the line spectra of the blocks that lie whole in the clip from ``first_window`` on; None without lines."""
    inside = range(first_window, first_window + spec.clip_windows - spec.step_windows + 1)
    found = [block.lines for block in blocks if block.first_window in inside and block.lines is not None]
    return ClipLines.of(found) if spec.uses_lines else None


def normal_clips(
    path: Path,
    name: str,
    spec: PipelineSpec,
    predictor: Predictor,
    *,
    channel: int | None,
    default_channel: int = 0,
    on_warning: Callable[[SoundWarning], None] | None = None,
) -> list[NormalClip]:
    """Cut a normal recording into whole clips that do not overlap, and keep their evidence.

    Args:
        path: path of the recording.
        name: name of the recording; clips of one name never count as independent.
        spec: front end, windows and score of the model.
        predictor: network of the model.
        channel: channel to use, as for :func:`score_recording`.
        default_channel: default channel, as for :func:`score_recording`.
        on_warning: callback for each warning about its sound.

    Returns:
        The clips; none when the recording is shorter than a clip.

    Raises:
        AudioError: the recording cannot be decoded.
        CalibrationError: it is silent, stuck or sampled too low to be judged: thresholds from it would be false.
    """
    analysed = analyse(path, spec, predictor, channel=channel, default_channel=default_channel)
    for warning in analysed.warnings:
        if warning.code in UNJUDGEABLE:
            raise CalibrationError(f"{path} is no normal recording ({warning.code}): {warning.message}")
        if on_warning is not None:
            on_warning(warning)
    if not analysed.blocks:
        return []
    evidence = Evidence.concatenate([block.evidence for block in analysed.blocks])
    return [
        NormalClip(
            name,
            clip,
            analysed.level_dbfs,
            analysed.sample_bits,
            analysed.quietest_dbfs,
            clip_lines(analysed.blocks, spec, number * spec.clip_windows),
        )
        for number, clip in enumerate(whole_clips(evidence, spec))
    ]
