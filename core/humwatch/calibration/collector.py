"""Collector of normal sound from a live stream: evidence for a calibration, nothing of a source at fault.

Sound is collected in minutes, when a plan wants them. A minute of clean sound leaves the same evidence as a file of
it, to the bit; a fault, a gap or a pause costs the clips that it falls into, and the minute goes on behind it. What the
plan does not want is followed for faults and level alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from humwatch.arrays import Float32
from humwatch.audio.float_scale import FloatScaler
from humwatch.calibration.calibration_buffer import RECORDING_S, CalibrationBuffer, CollectedMinute, KeptClip
from humwatch.calibration.clean_segment import CleanSegment
from humwatch.calibration.collected_stream import CollectedStream
from humwatch.calibration.collector_progress import CollectorProgress
from humwatch.calibration.plan import CollectionPlan
from humwatch.calibration.planned_minutes import PlannedMinutes
from humwatch.pipeline import PipelineSpec
from humwatch.predictor import Predictor
from humwatch.run_state import RunGate
from humwatch.scoring.normal_clip import NormalClip
from humwatch.source.health import LEAST_SOUND_S
from humwatch.source.sound_window import WINDOW_S

LOOK_BACK_S: Final = WINDOW_S
"""A fault is in the window of the source's health before it is named: clips that ended there are dropped with it."""
NOT_RUNNING: Final = "not_running"
STREAM_CHANGED: Final = "stream_changed"


class StreamForm(NamedTuple):
    """Format of a stream: sample rate in Hz, resolution in bits, and whether samples have a full scale."""

    rate_hz: int
    sample_bits: int
    full_scale: bool


class NormalCollector:
    """Mono samples of a machine that runs normally in, clips for its calibration out.

    One thread pushes; any may read, signal, take minutes out, or begin another stream. :class:`CalibrationBuffer`
    bounds the memory.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        predictor: Predictor,
        *,
        plan: CollectionPlan,
        taken: Sequence[float] = (),
        last_number: int = 0,
        heard_s: float | None = None,
        keep_sound: bool = False,
        float_scale: float | None = None,
    ) -> None:
        """Collect through a type model's network.

        Args:
            spec: front end, windows and score of the model: evidence is for one score.
            predictor: network of the model.
            plan: minutes that are wanted, and when.
            taken: times of minutes of the plan that are there already, seconds since 1970.
            last_number: number of the last minute that there ever was.
            heard_s: time of the end of the sound that was heard before, seconds since 1970; None before any.
            keep_sound: whether the samples of minutes are held beside their evidence.
            float_scale: factor for samples without a full scale; None: the first seconds of such sound say it.
        """
        self.spec = spec
        self._predictor = predictor
        self._keep_sound = keep_sound
        self._heard_s = plan.start_s if heard_s is None else heard_s
        self._kept = CalibrationBuffer(spec, first_minute=last_number)
        self._minutes = PlannedMinutes(plan, self._kept, taken)
        self._gate: RunGate | None = None
        self._signal: bool | None = None
        self._told = False
        self._begun: StreamForm | None = None
        self._form: StreamForm | None = None
        self._floats = FloatScaler(float_scale, needed_s=LEAST_SOUND_S)
        self._stream: CollectedStream | None = None
        self._segment: CleanSegment | None = None
        self._sound_s = 0.0
        self._level_dbfs: float | None = None
        self._rejected_s = 0.0
        self._rejected: dict[str, float] = {}
        self._progress = CollectorProgress(len(taken), plan.minutes, next_s=plan.due_s(taken), heard_s=heard_s)

    @property
    def progress(self) -> CollectorProgress:
        """Progress at the last push; a record that does not change."""
        return self._progress

    @property
    def float_scale(self) -> float | None:
        """Factor for samples without a full scale; None until it is known."""
        return self._floats.scale

    @property
    def held_bytes(self) -> int:
        """Memory of the evidence, bytes."""
        return self._kept.held_bytes

    def begin(self, source_rate_hz: int, sample_bits: int, *, full_scale: bool = True) -> None:
        """Begin a stream, or another one; sound that was not a whole clip yet is dropped.

        Args:
            source_rate_hz: sample rate, Hz.
            sample_bits: resolution of a sample, bits.
            full_scale: whether samples have a full scale.
        """
        self._begun = StreamForm(source_rate_hz, sample_bits, full_scale)

    def signal(self, running: bool | None) -> None:
        """Reject sound from the next on while a machine is said not to run; None leaves it to the level."""
        self._signal, self._told = running, True

    def follow_level(self, gate: RunGate) -> None:
        """Reject sound from the next on while the machine is off by its level, as one that is watched is."""
        self._gate, self._told = gate, True

    def push(self, mono: Float32, at_s: float | None = None) -> None:
        """Take sound; before ``begin`` nothing is kept.

        Args:
            mono: float32 (n,) at the rate of the stream, as they came.
            at_s: time of its first sample, seconds since 1970; None counts on from the sound before, or from the
                start of the plan.
        """
        stream = self._current()
        if stream is None:
            self._idle(len(mono), at_s)
            return
        if at_s is not None:
            stream.set_clock(at_s)
        if not stream.full_scale:
            mono = self._floats.push(
                mono, stream.rate_hz
            )  # silent, so that none is collected, until its scale is known
        for quantum, sound in stream.quanta(mono):
            self._level_dbfs = stream.source.level_dbfs if quantum.second_over else self._level_dbfs
            self._follow(stream, sound)
        self._publish(stream)

    def gap(self, samples: int) -> None:
        """Skip ``samples`` samples that never came."""
        stream = self._current()
        if stream is None:
            self._idle(samples)
            return
        stream.gap(samples)
        self._sound_s += samples / stream.rate_hz
        self._interrupt(stream, ("drop_outs",))
        self._publish(stream)

    def overflow(self, count: int) -> None:
        """Count ``count`` losses of samples in the sound card, each of unknown length."""
        stream = self._current()
        if stream is not None:
            stream.source.overflow(count)

    def elsewhere(self, alive: str | None) -> None:
        """Take the message that names another channel that is alive, for as long as this one is silent."""
        stream = self._current()
        if stream is not None:
            stream.source.elsewhere(alive)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time of its capture, by a clock that runs evenly, s."""
        stream = self._current()
        if stream is not None:
            stream.source.clock(sample, time_s)

    def clips(self) -> list[NormalClip]:
        """Return the clips of the whole minutes that are held, in order; a minute is a recording."""
        return [clip for minute in self._kept.collected() for clip in minute.clips]

    def collected(self) -> tuple[list[NormalClip], list[str]]:
        """Return these clips, and SHA-256 of the samples (float32) of each, hexadecimal."""
        return self.clips(), [digest for minute in self._kept.collected() for digest in minute.digests]

    def whole(self) -> list[CollectedMinute]:
        """Return the whole minutes that are held, in order."""
        return self._kept.collected()

    def settled(self) -> list[CollectedMinute]:
        """Return the whole minutes that are held and that no fault can drop any more, in order."""
        return self._kept.collected(self._sound_s - LOOK_BACK_S)

    def release(self, minute: CollectedMinute) -> None:
        """Let go of a settled minute, and of those before it: it is kept elsewhere, and counts as before."""
        self._minutes.release(minute)

    def forget(self, at_s: float) -> None:
        """Count a minute that was released, by its time, no more: the plan makes it up."""
        self._minutes.forget(at_s)

    def on_clock_set(self, seconds: float, plan: CollectionPlan, taken: Sequence[float]) -> None:
        """Follow a clock that was set.

        Args:
            seconds: so much later it is by the new clock.
            plan: the plan by the new clock.
            taken: times of the minutes that were released, by the new clock, seconds since 1970.
        """
        self._minutes.on_clock_set(seconds, plan, taken)

    def _current(self) -> CollectedStream | None:
        """Return the stream that began last, None once all is collected; for the thread that pushes."""
        begun, self._begun = self._begun, None
        self._form = begun or self._form
        stream = self._stream
        if self._all_there:
            if stream is not None:
                self._heard_s, self._stream, self._segment = stream.now_s, None, None
            return None
        if self._form is not None and (stream is None or begun is not None):
            if stream is not None:
                self._interrupt(stream, (STREAM_CHANGED,))
                self._heard_s = stream.now_s
            stream = self._stream = CollectedStream(
                self.spec, self._predictor, *self._form[:2], begins_s=self._heard_s, full_scale=self._form.full_scale
            )
            self._told = True
        if stream is not None and self._told:
            self._told = False
            stream.source.recalibrate(-np.inf, np.inf, self._gate)
            stream.source.signal(self._signal)
            self._publish(stream)
        return stream

    @property
    def _all_there(self) -> bool:
        """True once the minutes are there, and no fault was named in the last of them since."""
        return self._minutes.all_there and self._sound_s - self._kept.last_s >= LOOK_BACK_S

    def _idle(self, samples: int, at_s: float | None = None) -> None:
        """Follow the time of sound that nobody wants any more."""
        if self._form is not None:
            self._heard_s = (self._heard_s if at_s is None else at_s) + samples / self._form.rate_hz
            self._progress = replace(self._progress, heard_s=self._heard_s, paused=self._signal is False)

    def _follow(self, stream: CollectedStream, mono: Float32) -> None:
        """Collect or reject the quantum that was followed last, float32 (n,)."""
        seconds = len(mono) / stream.rate_hz
        self._sound_s += seconds
        at_s = stream.now_s - seconds
        faults = tuple(fault.code for fault in stream.source.faults)
        reasons = (*((NOT_RUNNING,) if stream.source.running is False else ()), *faults)
        if reasons:
            if self._minutes.wants(at_s):
                self._reject(reasons, seconds)
            self._interrupt(stream, reasons)
        else:
            self._collect(stream, mono, at_s)

    def _collect(self, stream: CollectedStream, mono: Float32, at_s: float) -> None:
        while len(mono):
            if not self._minutes.wants(at_s):
                self._segment = None
                return
            if self._segment is None:
                self._segment = stream.segment(*self._kept.open, keep_sound=self._keep_sound)
            segment = self._segment
            piece, mono = mono[: segment.left], mono[segment.left :]
            at_s += len(piece) / stream.rate_hz
            for evidence, lines in segment.push(piece):
                sound, digest, samples = segment.measured()
                self._kept.add(
                    KeptClip(
                        segment.minute,
                        self._sound_s,
                        evidence,
                        sound,
                        digest,
                        stream.sample_bits,
                        lines,
                        at_s=at_s - sound.n / stream.rate_hz,
                        samples=samples,
                        rate_hz=stream.rate_hz,
                    )
                )
            if segment.limit_hz is not None:
                self._interrupt(stream, ("bandwidth_limited",))
                return
            if not segment.left:
                self._kept.extend(segment.minute, segment.sound, segment.samples)
                self._segment = None
                self._minutes.on_change()

    def _interrupt(self, stream: CollectedStream, reasons: tuple[str, ...]) -> None:
        """Drop the clip that is not whole, and those that ended where a fault may have begun."""
        dropped = self._kept.drop_since(self._sound_s - LOOK_BACK_S)
        if dropped:
            self._minutes.on_change()
        lost = sum(clip.sound.n for clip in dropped)
        if self._segment is not None:
            lost += self._segment.sound.n
            self._segment = None
        self._reject(reasons, lost / stream.rate_hz)

    def _reject(self, reasons: tuple[str, ...], seconds: float) -> None:
        if seconds > 0:
            self._rejected_s += seconds
            for reason in reasons:
                self._rejected[reason] = self._rejected.get(reason, 0.0) + seconds

    def _publish(self, stream: CollectedStream) -> None:
        times, plan = self._minutes.times(), self._minutes.plan
        self._progress = CollectorProgress(
            minutes=len(times),
            wanted_minutes=plan.minutes,
            collected_s=self._minutes.released * RECORDING_S + len(self._kept) * self.spec.windows.clip_seconds,
            rejected_s=self._rejected_s,
            rejected=dict(self._rejected),
            faults=stream.source.faults,
            level_dbfs=self._level_dbfs,
            paused=stream.source.running is False,
            done=self._all_there,
            heard_s=stream.now_s,
            next_s=plan.due_s(times),
        )
