"""Normal recordings: their evidence for a calibration, clip by clip, without what cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from humwatch.audio.decoding import open_recording
from humwatch.audio.float_scale import FloatLevel
from humwatch.audio.levels import ChannelLevels, SecondLevels
from humwatch.audio.quality import MIN_DBFS, UNJUDGEABLE, SoundWarning
from humwatch.detectors.lines import ClipLines
from humwatch.errors import CalibrationError
from humwatch.monitor import source_health
from humwatch.pipeline import EvidencePipeline, PipelineSpec, WindowBlock
from humwatch.predictor import Predictor
from humwatch.recording import choose_channel, coding_warning, name_live_channel
from humwatch.run_state import RunGate
from humwatch.scoring.evidence import Evidence
from humwatch.scoring.normal_clip import NormalClip
from humwatch.source.recording_source import RecordingSource

SURVEYED: Final = 3
"""Recordings that tell what is usual: of two, either may be the one in which the machine stands."""


@dataclass(frozen=True)
class RecordingEvidence:
    """Evidence of a recording, and properties of its sound.

    Attributes:
        blocks: windows, predictions and evidence.
        source: what of its sound can be judged.
        rate_hz: sample rate, Hz.
        sample_bits: resolution of a sample, bits.
        warnings: warnings about the sound itself.
    """

    blocks: list[WindowBlock]
    source: RecordingSource
    rate_hz: int
    sample_bits: int
    warnings: list[SoundWarning]


@dataclass(frozen=True)
class RecordingInput:
    """Input of recordings: which channel, at which scale, and when the machine runs.

    Attributes:
        channel: channel to use, as for :func:`humwatch.recording.score_recording`.
        default_channel: default channel, as there.
        float_scale: factor for float samples.
        run_gate: levels by which the machine starts and stops; None where they are not known.
    """

    channel: int | None = None
    default_channel: int = 0
    float_scale: float = 1.0
    run_gate: RunGate | None = None


ANY_INPUT: Final = RecordingInput()
"""The only channel, or the first; at its own scale; of a machine that runs."""


def analyse(
    path: Path, spec: PipelineSpec, predictor: Predictor, using: RecordingInput = ANY_INPUT
) -> RecordingEvidence:
    """Extract the evidence of a whole recording.

    Args:
        path: path of the recording.
        spec: front end, windows and score of the model.
        predictor: network of the model.
        using: input of it.
    """
    with open_recording(path) as recording:
        info = recording.info
        chosen = choose_channel(info.channels, using.channel, using.default_channel)
        pipeline = EvidencePipeline(spec, predictor, source_rate_hz=info.rate_hz, channel=chosen, calibrating=True)
        health = source_health(spec, None, rate_hz=info.rate_hz, full_scale=info.full_scale)
        source = RecordingSource(health, rate_hz=info.rate_hz, full_scale=info.full_scale, run_gate=using.run_gate)
        levels, scale = ChannelLevels(info.channels), np.float32(1.0 if info.full_scale else using.float_scale)
        blocks: list[WindowBlock] = []

        def hear(found: list[WindowBlock]) -> None:
            for block in found:
                source.hear(block.windows, window_span(spec, block.first_window, len(block.windows), info.rate_hz))
            blocks.extend(found)

        for chunk in recording.blocks():
            samples = chunk.samples * scale
            if info.channels > 1:
                levels.push(samples)
            source.push(np.ascontiguousarray(samples[:, chosen]))
            hear(pipeline.push(samples))
        hear(pipeline.flush())
        source.finish()
    warnings = [*name_live_channel(source.warnings(), levels, chosen, health.silent_dbfs), *coding_warning(info)]
    if info.channels > 1 and using.channel is None:
        text = f"channel {chosen} of {info.channels} (counted from 0) was listened to; ask for another with `channel`"
        warnings.append(SoundWarning(code="channel_selected", message=text))
    return RecordingEvidence(blocks, source, info.rate_hz, info.sample_bits, warnings)


def window_span(spec: PipelineSpec, first: int, windows: int, rate_hz: int) -> tuple[int, int]:
    """Return the samples at a recording's rate that windows depend on: the first, and one past the last."""
    start, end = spec.windows.sample_bounds(spec.features, first, windows)
    ratio = rate_hz / spec.features.rate_hz
    return round(start * ratio), round(end * ratio)


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
    using: RecordingInput = ANY_INPUT,
    *,
    on_warning: Callable[[SoundWarning], None] | None = None,
) -> list[NormalClip]:
    """Cut a normal recording into whole clips that do not overlap, and keep the evidence of those without a fault.

    Args:
        path: path of the recording.
        name: name of the recording; clips of one name never count as independent.
        spec: front end, windows and score of the model.
        predictor: network of the model.
        using: input of it.
        on_warning: callback for each warning about its sound.

    Returns:
        The clips; none when the recording is shorter than a clip.

    Raises:
        AudioError: the recording cannot be decoded.
        CalibrationError: nothing of it can be judged: thresholds from it would be false.
    """
    analysed = analyse(path, spec, predictor, using)
    whole: list[Evidence] = []
    if analysed.blocks:
        whole = whole_clips(Evidence.concatenate([block.evidence for block in analysed.blocks]), spec)
    source, size = analysed.source, spec.clip_windows
    clean = [
        number
        for number in range(len(whole))
        if not source.reasons(*window_span(spec, number * size, size, analysed.rate_hz))
    ]
    if not clean:
        _check_normal(path, analysed.warnings)
    if on_warning is not None:
        for warning in analysed.warnings:
            on_warning(warning)
    level_dbfs, quietest_dbfs = source.level_dbfs, source.quietest_dbfs
    return [
        NormalClip(
            name,
            whole[number],
            level_dbfs,
            analysed.sample_bits,
            quietest_dbfs,
            clip_lines(analysed.blocks, spec, number * size),
        )
        for number in clean
    ]


def _check_normal(path: Path, warnings: list[SoundWarning]) -> None:
    for warning in warnings:
        if warning.code in UNJUDGEABLE or warning.code == "not_running":
            raise CalibrationError(f"{path} is no normal recording ({warning.code}): {warning.message}")


class NormalSurvey:
    """Levels of all recordings of a calibration: what is one for all of them; holds a number a recording."""

    def __init__(self) -> None:
        self._quietest: list[tuple[float, bool]] = []
        self._floats: FloatLevel | None = None
        self._full_scale = False

    def add(self, path: Path, *, channel: int | None, default_channel: int = 0) -> None:
        """Measure a recording; channels as for :func:`humwatch.recording.score_recording`. Raises as it opens."""
        with open_recording(path) as recording:
            info = recording.info
            chosen = choose_channel(info.channels, channel, min(default_channel, info.channels - 1))
            seconds, floats, quietest = SecondLevels(info.rate_hz), FloatLevel(), np.inf
            for chunk in recording.blocks():
                mono = np.ascontiguousarray(chunk.samples[:, chosen])
                quietest = min([quietest, *seconds.push(mono)])
                if not info.full_scale:
                    floats.push(mono)
        if info.full_scale:
            self._full_scale = True
        else:
            self._floats = floats if self._floats is None else self._floats + floats
        if np.isfinite(quietest) and quietest > MIN_DBFS:
            self._quietest.append((quietest, info.full_scale))

    @property
    def float_scale(self) -> float:
        """Factor for float samples; 1 where some recordings are of integers, beside which floats have a full scale."""
        return 1.0 if self._floats is None or self._full_scale else self._floats.scale

    @property
    def run_gate(self) -> RunGate | None:
        """Levels below those of most recordings, at which a machine stands; None with too few to tell."""
        if len(self._quietest) < SURVEYED:
            return None
        gain_db = 20.0 * math.log10(self.float_scale)
        levels = [level + (0.0 if full_scale else gain_db) for level, full_scale in self._quietest]
        return RunGate.from_quietest(float(np.median(levels)))
