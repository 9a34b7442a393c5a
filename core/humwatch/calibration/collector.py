"""Collector of normal sound from a live stream: evidence for a calibration, nothing of a source at fault.

Sound is collected in minutes. A minute of clean sound leaves the same evidence as a file of it, to the bit; a fault, a
gap or a pause costs the clips that it falls into, and the minute goes on behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from humwatch.arrays import Float32
from humwatch.calibration.calibration_buffer import RECORDING_S, CalibrationBuffer, KeptClip
from humwatch.calibration.clean_segment import CleanSegment
from humwatch.calibration.fit import MIN_RECORDINGS
from humwatch.errors import CalibrationError
from humwatch.pipeline import EvidencePipeline, PipelineSpec
from humwatch.predictor import Predictor
from humwatch.scoring.normal_clip import NormalClip
from humwatch.source.health import WINDOW_S, FaultReport, SourceHealth
from humwatch.source.monitor import SourceMonitor

MIN_MINUTES: Final = MIN_RECORDINGS
MAX_MINUTES: Final = 240
"""Enough for every method at 1 % (``order_statistic`` needs 230), and a bound of what is held."""
LOOK_BACK_S: Final = WINDOW_S
"""A fault is in the window of the source's health before it is named: clips that ended there are dropped with it."""
NOT_RUNNING: Final = "not_running"
STREAM_CHANGED: Final = "stream_changed"


@dataclass(frozen=True)
class CollectorProgress:
    """Progress of a collector.

    Attributes:
        minutes: whole minutes of normal sound; only these calibrate.
        wanted_minutes: minutes at which it stops.
        collected_s: sound in whole clips, those of the open minute included, seconds.
        rejected_s: sound that came and was not used, seconds.
        rejected: rejected sound by reason, seconds: a fault of the source, ``not_running`` or ``stream_changed``;
            where several hold at once each of them counts.
        faults: present faults of the source.
        level_dbfs: level of the last second; None before the first.
        paused: True while a signal says that the machine does not run.
        done: True once the minutes are there, and no fault was named in the last of them since.
    """

    minutes: int
    wanted_minutes: int
    collected_s: float = 0.0
    rejected_s: float = 0.0
    rejected: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[FaultReport, ...] = ()
    level_dbfs: float | None = None
    paused: bool = False
    done: bool = False

    @property
    def wanted_s(self) -> float:
        """Length of the sound at which it stops, seconds."""
        return self.wanted_minutes * RECORDING_S


class _Stream:
    """State of one stream: the sound of an open quantum, the source and the pipeline."""

    def __init__(self, spec: PipelineSpec, predictor: Predictor, rate_hz: int, sample_bits: int) -> None:
        self.rate_hz = rate_hz
        self.sample_bits = sample_bits
        self.rest: Float32 = np.zeros(0, np.float32)
        self.pipeline = EvidencePipeline(spec, predictor, source_rate_hz=rate_hz, calibrating=True)
        health = SourceHealth(
            rate_hz=rate_hz,
            needed_hz=float(spec.band_edges_hz[-1, 1]),
            level_dbfs_low=-np.inf,
            level_dbfs_high=np.inf,
        )
        self.source = SourceMonitor(health, rate_hz=rate_hz)

    def segment(self, minute: int, seconds: float) -> CleanSegment:
        """Begin a segment of so much of a minute."""
        samples = round(seconds * self.rate_hz)
        return CleanSegment(self.pipeline, minute=minute, samples=samples, rate_hz=self.rate_hz)


class NormalCollector:
    """Mono samples of a machine that runs normally in, clips for its calibration out.

    One thread pushes; any may read, pause, or begin another stream. :class:`CalibrationBuffer` bounds the memory.
    """

    def __init__(self, spec: PipelineSpec, predictor: Predictor, *, minutes: int) -> None:
        """Collect through a type model's network.

        Args:
            spec: front end, windows and score of the model: evidence is for one score.
            predictor: network of the model.
            minutes: minutes of clean sound at which to stop.

        Raises:
            CalibrationError: fewer or more minutes than thresholds can be made of.
        """
        if not MIN_MINUTES <= minutes <= MAX_MINUTES:
            raise CalibrationError(f"{minutes} minutes; {MIN_MINUTES} to {MAX_MINUTES} can be collected")
        self.spec = spec
        self.minutes = minutes
        self._predictor = predictor
        self._kept = CalibrationBuffer(spec)
        self._begun: tuple[int, int] | None = None
        self._paused = False
        self._stream: _Stream | None = None
        self._segment: CleanSegment | None = None
        self._sound_s = 0.0
        self._level_dbfs: float | None = None
        self._rejected_s = 0.0
        self._rejected: dict[str, float] = {}
        self._progress = CollectorProgress(0, minutes)

    @property
    def progress(self) -> CollectorProgress:
        """Progress at the last push; a record that does not change."""
        return self._progress

    @property
    def held_bytes(self) -> int:
        """Memory of the evidence, bytes."""
        return self._kept.held_bytes

    def begin(self, source_rate_hz: int, sample_bits: int) -> None:
        """Begin a stream, or another one; sound that was not a whole clip yet is dropped.

        Args:
            source_rate_hz: sample rate, Hz.
            sample_bits: resolution of a sample, bits.
        """
        self._begun = source_rate_hz, sample_bits

    def pause(self, paused: bool) -> None:
        """Reject sound from the next on while ``paused``, as of a machine that does not run."""
        self._paused = paused

    def push(self, mono: Float32) -> None:
        """Take float32 (n,) in [-1, 1] at the rate of the stream; before ``begin`` nothing is kept."""
        stream = self._current()
        if stream is None:
            return
        held = np.concatenate([stream.rest, mono])
        whole = len(held) - len(held) % stream.source.quantum_samples
        stream.rest = held[whole:].copy()
        if whole:
            for quantum in stream.source.follow(held[:whole]):
                self._level_dbfs = stream.source.level_dbfs if quantum.second_over else self._level_dbfs
                self._follow(stream, held[quantum.start : quantum.stop])
        self._publish(stream)

    def gap(self, samples: int) -> None:
        """Skip ``samples`` samples that never came."""
        stream = self._current()
        if stream is None:
            return
        stream.rest = np.zeros(0, np.float32)
        stream.source.gap(samples)
        self._sound_s += samples / stream.rate_hz
        self._interrupt(stream, ("drop_outs",))
        self._publish(stream)

    def overflow(self, count: int) -> None:
        """Count ``count`` losses of samples in the sound card, each of unknown length."""
        stream = self._current()
        if stream is not None:
            stream.source.overflow(count)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time of its capture, by a clock that runs evenly, s."""
        stream = self._current()
        if stream is not None:
            stream.source.clock(sample, time_s)

    def clips(self) -> list[NormalClip]:
        """Return the clips of the whole minutes so far, in order; a minute is a recording."""
        return self._kept.collected()[0]

    def collected(self) -> tuple[list[NormalClip], list[str]]:
        """Return these clips, and SHA-256 of the samples (float32) of each, hexadecimal."""
        return self._kept.collected()

    def _current(self) -> _Stream | None:
        """Return the stream that began last, None once all is collected; for the thread that pushes."""
        if self._progress.done:
            return None
        begun, self._begun = self._begun, None
        if begun is not None:
            if self._stream is not None:
                self._interrupt(self._stream, (STREAM_CHANGED,))
            self._stream = _Stream(self.spec, self._predictor, *begun)
            self._publish(self._stream)
        return self._stream

    def _follow(self, stream: _Stream, mono: Float32) -> None:
        """Collect or reject the quantum that was followed last, float32 (n,)."""
        seconds = len(mono) / stream.rate_hz
        self._sound_s += seconds
        reasons = (*((NOT_RUNNING,) if self._paused else ()), *(fault.code for fault in stream.source.faults))
        if reasons:
            self._reject(reasons, seconds)
            self._interrupt(stream, reasons)
        else:
            self._collect(stream, mono)

    def _collect(self, stream: _Stream, mono: Float32) -> None:
        while len(mono):
            if self._segment is None:
                minute, wanted_s = self._kept.open
                if minute >= self.minutes:
                    return
                self._segment = stream.segment(minute, wanted_s)
            segment = self._segment
            piece, mono = mono[: segment.left], mono[segment.left :]
            for evidence, lines in segment.push(piece):
                sound, digest = segment.measured()
                bits = stream.sample_bits
                self._kept.add(KeptClip(segment.minute, self._sound_s, evidence, sound, digest, bits, lines))
            if not segment.left:
                self._kept.extend(segment.minute, segment.sound)
                self._segment = None

    def _interrupt(self, stream: _Stream, reasons: tuple[str, ...]) -> None:
        """Drop the clip that is not whole, and those that ended where a fault may have begun."""
        lost = sum(clip.sound.n for clip in self._kept.drop_since(self._sound_s - LOOK_BACK_S))
        if self._segment is not None:
            lost += self._segment.sound.n
            self._segment = None
        self._reject(reasons, lost / stream.rate_hz)

    def _reject(self, reasons: tuple[str, ...], seconds: float) -> None:
        if seconds > 0:
            self._rejected_s += seconds
            for reason in reasons:
                self._rejected[reason] = self._rejected.get(reason, 0.0) + seconds

    def _publish(self, stream: _Stream) -> None:
        whole = self._kept.whole
        self._progress = CollectorProgress(
            minutes=whole,
            wanted_minutes=self.minutes,
            collected_s=len(self._kept) * self.spec.windows.clip_seconds,
            rejected_s=self._rejected_s,
            rejected=dict(self._rejected),
            faults=stream.source.faults,
            level_dbfs=self._level_dbfs,
            paused=self._paused,
            done=whole >= self.minutes and self._sound_s - self._kept.last_s >= LOOK_BACK_S,
        )
