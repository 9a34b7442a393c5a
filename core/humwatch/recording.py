"""Whole recordings: their score. What of them can be judged is found as for a live stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.decoding import AudioInfo, DecodeLimits, Recording, open_recording
from humwatch.audio.levels import ChannelLevels
from humwatch.audio.quality import SoundWarning, WarningCode, unusual_level
from humwatch.detectors.thresholds import conformal_p_value
from humwatch.errors import AudioChannelMissing, AudioTooShort
from humwatch.monitor import Monitor, ScaleScore, Step, StepScores, source_health
from humwatch.pipeline import PipelineSpec
from humwatch.scoring.calibration import ScaleCalibration
from humwatch.scoring.decision import State, decide
from humwatch.scoring.explain import BandRange, explain_bands
from humwatch.source.recording_source import RecordingSource

COARSE_BITS = 12
"""Samples of fewer bits than this, and than those of calibration, are too coarse to judge."""


IN_PLACES: Final[frozenset[WarningCode]] = frozenset(
    {"bandwidth_limited", "silent", "stuck", "drop_outs", "not_running"}
)
"""Warnings about places of a recording: clips that reach into one are not judged, the others are."""


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
    use_level: bool = True,
) -> RecordingScore:
    """Score a recording.

    The score is that of the worst ``clip_seconds`` of it, as a live stream of the same samples would have shown. What
    holds a hole, or sound of a machine that does not run, is not judged; where that is all, the state says so.

    Args:
        source: path or seekable binary file.
        spec: front end, windows and score of the machine's model.
        monitor_for: function of (source rate in Hz, channel) that returns a monitor.
        channel: channel to score, counted from 0; None takes ``default_channel``, or the only one of a mono
            recording.
        default_channel: channel that the model was calibrated for.
        limits: limits of decoding; None for the usual ones.
        on_step: callback for each step as soon as it is known; may raise to give up.
        use_level: True if the level shows whether the machine runs, as on a stream.

    Raises:
        AudioError: a subclass for each reason that a recording cannot be scored.
    """
    with open_recording(source, limits) as recording:
        info = recording.info
        rate_hz, shortest = spec.features.rate_hz, spec.windows.shortest_samples(spec.features)
        if round(info.frames * rate_hz / info.rate_hz) < shortest:
            raise AudioTooShort(f"{info.duration_s:.3f} s; {shortest / rate_hz:.3f} s at least are needed")
        chosen = choose_channel(info.channels, channel, default_channel)
        heard = _HeardRecording(monitor_for(info.rate_hz, chosen), info, chosen, use_level=use_level)
        for step in heard.steps(recording):
            if on_step is not None:
                on_step(step)
    if not heard.scores:
        raise AudioTooShort(f"{info.duration_s:.3f} s; {shortest / rate_hz:.3f} s at least are needed")
    warnings = heard.warnings()
    if info.channels > 1 and channel is None:
        text = f"channel {chosen} of {info.channels} (counted from 0) was scored; ask for another with `channel`"
        warnings.append(SoundWarning(code="channel_selected", message=text))
    return _recording_score(heard, warnings)


class _HeardRecording:
    """A recording that is scored while it is decoded, and what of it can be judged."""

    def __init__(self, monitor: Monitor, info: AudioInfo, channel: int, *, use_level: bool) -> None:
        self.monitor = monitor
        self.info = info
        self.scores: list[StepScores] = []
        self._channel = channel
        calibration, full_scale = monitor.calibration, info.full_scale
        self._scale = np.float32(calibration.scale_of(full_scale=full_scale))
        health = source_health(monitor.spec, calibration, rate_hz=info.rate_hz, full_scale=full_scale)
        gate = calibration.run_gate if use_level else None
        self.source = RecordingSource(health, rate_hz=info.rate_hz, full_scale=full_scale, run_gate=gate)
        self._levels = ChannelLevels(info.channels)
        self._silent_dbfs = health.silent_dbfs

    def steps(self, recording: Recording) -> Iterator[Step]:
        """Decode, and yield the steps as they are due."""
        held: Float32 | None = None
        for block in recording.blocks():
            samples = block.samples if self._scale == 1.0 else block.samples * self._scale
            if self.info.channels > 1:
                self._levels.push(samples)
            if held is not None:
                yield from self._kept(self.monitor.push(held))
            self.source.push(np.ascontiguousarray(samples[:, self._channel]))
            held = samples
        if held is not None:
            yield from self._kept(self.monitor.finish(held))
        self.source.finish()

    def _kept(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            self.scores.append(StepScores(step.step, step.clip))
            self.source.hear(step.block.windows, self._span(step.step))
            yield step

    def _span(self, score: ScaleScore) -> tuple[int, int]:
        """Return the samples at the recording's rate that a score depends on."""
        ratio = self.info.rate_hz / self.monitor.spec.features.rate_hz
        return round(score.start_sample * ratio), round(score.end_sample * ratio)

    def can_judge(self, score: ScaleScore) -> bool:
        """Return True if nothing in the sound of a score keeps it from being judged."""
        return not self.source.reasons(*self._span(score))

    def warnings(self) -> list[SoundWarning]:
        """Return the warnings about the sound and the recording."""
        found = name_live_channel(self.source.warnings(), self._levels, self._channel, self._silent_dbfs)
        return [*found, *_source_warnings(self.monitor, self.info, found), *_level_warning(self.monitor, self.source)]


def name_live_channel(
    warnings: list[SoundWarning], levels: ChannelLevels, channel: int, silent_dbfs: float
) -> list[SoundWarning]:
    """Return the warnings; one that a channel is silent names the loudest of the others, if one is alive."""
    alive = levels.alive(channel, silent_dbfs)
    return [
        SoundWarning(code=one.code, message=f"{one.message}; {alive}") if alive and one.code == "silent" else one
        for one in warnings
    ]


def choose_channel(channels: int, channel: int | None, default: int) -> int:
    """Return the channel to use: the one asked for, else the default, or the only one of a mono recording.

    Raises:
        AudioChannelMissing: the recording does not have it.
    """
    chosen = (0 if channels == 1 else default) if channel is None else channel
    if not 0 <= chosen < channels:
        raise AudioChannelMissing(f"channel {chosen} of a recording with {channels} (counted from 0)")
    return chosen


def _recording_score(heard: _HeardRecording, warnings: list[SoundWarning]) -> RecordingScore:
    monitor, steps, duration_s = heard.monitor, heard.scores, heard.info.duration_s
    clips = [step.clip for step in steps if step.clip is not None]
    calibration = monitor.calibration
    scale, scores, used = (
        ("clip", clips, calibration.clip) if clips else ("step", [step.step for step in steps], calibration.step)
    )
    judged = [score for score in scores if heard.can_judge(score)]
    worst = max(judged or scores, key=lambda score: score.score)
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
    if judged:
        in_all = [warning for warning in warnings if warning.code not in IN_PLACES]
        state = decide(worst.score, warn=warn, warnings=in_all)
    else:
        state = "off" if heard.source.is_off else "unknown"
    return RecordingScore(
        duration_s=duration_s,
        state=state,
        worst=worst,
        scale="clip" if scale == "clip" else "step",
        calibration=used,
        p_value=conformal_p_value(used.normal_scores, worst.raw_score, calibration.recordings),
        bands=explain_bands(worst.contributions, worst.departures_db, monitor.spec.band_edges_hz),
        steps=steps,
        warnings=warnings,
        level_dbfs=heard.source.level_dbfs,
    )


def _source_warnings(monitor: Monitor, info: AudioInfo, known: list[SoundWarning]) -> list[SoundWarning]:
    """Return the warnings for a recording's rate and resolution, beside those about its sound."""
    found: list[SoundWarning] = []
    limited = any(warning.code == "bandwidth_limited" for warning in known)
    if not limited and info.rate_hz != monitor.spec.features.rate_hz:
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
    return [*found, *coding_warning(info)]


def _coding(info: AudioInfo) -> str:
    rate = "" if info.bits_per_s is None else f" at {info.bits_per_s / 1000:.0f} kbit/s a channel"
    return f"{info.lossy}{rate}"


def coding_warning(info: AudioInfo) -> list[SoundWarning]:
    """Return the warning for a recording whose coding left out sound."""
    if info.lossy is None:
        return []
    missed = "most faults are" if info.poorly_coded else "a faint fault may be"
    text = f"coded as {_coding(info)}: what ears miss was left out, and {missed} among it"
    return [SoundWarning(code="lossy_coded", message=text)]


def _level_warning(monitor: Monitor, source: RecordingSource) -> list[SoundWarning]:
    calibration = monitor.calibration
    text = unusual_level(source.level_dbfs, calibration.level_dbfs_low, calibration.level_dbfs_high)
    return [] if text is None else [SoundWarning(code="level_unusual", message=text)]
