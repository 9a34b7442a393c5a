"""Evidence of normal sound from a live stream: what a calibration needs of it, and nothing of a source at fault.

Sound is taken in minutes. One minute of clean sound is heard as a file of it would be, and leaves the same evidence to
the bit; a fault, a gap or a pause costs the clips that it falls into, and the minute goes on behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from humwatch.audio.levels import SecondLevels
from humwatch.calibration.fit import MIN_RECORDINGS
from humwatch.calibration.minutes import RECORDING_S, KeptClip, Minutes
from humwatch.calibration.take import Take
from humwatch.errors import CalibrationError
from humwatch.monitor import Listener, ListeningSpec
from humwatch.predictor import Predictor
from humwatch.scoring.normal_clip import NormalClip
from humwatch.source.health import WINDOW_S, FaultReport, SourceHealth

Float32 = npt.NDArray[np.float32]

MIN_MINUTES: Final = MIN_RECORDINGS
MAX_MINUTES: Final = 240
"""Enough for every method at 1 % (``order_statistic`` needs 230), and a bound of what is held."""
LOOK_BACK_S: Final = WINDOW_S
"""A fault is in the window of the source's health before it is named: clips that ended there are dropped with it."""
QUANTA_A_SECOND: Final = 10
"""Faults are looked for after each tenth of a second, counted from the start of the stream."""
NOT_RUNNING: Final = "not_running"
STREAM_CHANGED: Final = "stream_changed"


@dataclass(frozen=True)
class CollectorProgress:
    """How far a collector is.

    Attributes:
        minutes: whole minutes of normal sound; only these calibrate.
        wanted_minutes: that it stops at.
        collected_s: sound in whole clips, those of the open minute included, seconds.
        rejected_s: sound that came and was not used, seconds.
        rejected: the same for each reason: a fault of the source, ``not_running`` or ``stream_changed``; where
            several hold at once each of them counts.
        faults: of the source, now.
        level_dbfs: of the last second; None before there was one.
        paused: whether the machine is said not to run.
        done: whether the minutes are there, and no fault was named in the last of them since.
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
        """Sound that it stops at, seconds."""
        return self.wanted_minutes * RECORDING_S


class _Stream:
    """One stream: what watches over it and what listens to it."""

    def __init__(self, spec: ListeningSpec, predictor: Predictor, rate_hz: int, sample_bits: int) -> None:
        self.rate_hz = rate_hz
        self.sample_bits = sample_bits
        self.quantum = max(1, rate_hz // QUANTA_A_SECOND)
        self.rest: Float32 = np.zeros(0, np.float32)
        self.listener = Listener(spec, predictor, source_rate_hz=rate_hz, calibrating=True)
        self.levels = SecondLevels(rate_hz)
        self.health = SourceHealth(
            rate_hz=rate_hz,
            needed_hz=float(spec.band_edges_hz[-1, 1]),
            level_dbfs_low=-np.inf,
            level_dbfs_high=np.inf,
        )

    def take(self, minute: int, seconds: float) -> Take:
        """Begin to take so much of a minute."""
        samples = round(seconds * self.rate_hz)
        return Take(self.listener, minute=minute, samples=samples, rate_hz=self.rate_hz)


class NormalCollector:
    """Mono samples of a machine that runs normally in, clips for its calibration out; bounded.

    One thread pushes; any may read, pause, or begin another stream. How much is held: :class:`Minutes`.
    """

    def __init__(self, spec: ListeningSpec, predictor: Predictor, *, minutes: int) -> None:
        """Collect through a type model's network.

        Args:
            spec: what is heard and how, the score included: evidence is of one score.
            predictor: of the model.
            minutes: of clean sound to stop at.

        Raises:
            CalibrationError: fewer or more minutes than thresholds can be made of.
        """
        if not MIN_MINUTES <= minutes <= MAX_MINUTES:
            raise CalibrationError(f"{minutes} minutes; {MIN_MINUTES} to {MAX_MINUTES} can be collected")
        self.spec = spec
        self.minutes = minutes
        self._predictor = predictor
        self._kept = Minutes(spec)
        self._begun: tuple[int, int] | None = None
        self._paused = False
        self._stream: _Stream | None = None
        self._take: Take | None = None
        self._heard_s = 0.0
        self._level_dbfs: float | None = None
        self._rejected_s = 0.0
        self._rejected: dict[str, float] = {}
        self._progress = CollectorProgress(0, minutes)

    @property
    def progress(self) -> CollectorProgress:
        """How far it is; a record that does not change."""
        return self._progress

    @property
    def held_bytes(self) -> int:
        """Memory of the evidence, bytes."""
        return self._kept.held_bytes

    def begin(self, source_rate_hz: int, sample_bits: int) -> None:
        """Know that a stream begins, or another one: what was not a whole clip yet is dropped."""
        self._begun = source_rate_hz, sample_bits

    def pause(self, paused: bool) -> None:
        """Know whether the machine is said not to run; it counts from the next sound on."""
        self._paused = paused

    def push(self, mono: Float32) -> None:
        """Take float32 (n,) in [-1, 1] at the rate of the stream; before ``begin`` nothing is kept."""
        stream = self._current()
        if stream is None:
            return
        held = np.concatenate([stream.rest, mono])
        whole = len(held) // stream.quantum * stream.quantum
        stream.rest = held[whole:].copy()
        for start in range(0, whole, stream.quantum):
            self._quantum(stream, held[start : start + stream.quantum])
        self._publish(stream)

    def gap(self, samples: int) -> None:
        """``samples`` never came."""
        stream = self._current()
        if stream is None:
            return
        stream.rest = np.zeros(0, np.float32)
        stream.levels.reset()
        stream.health.gap(samples)
        self._heard_s += samples / stream.rate_hz
        self._interrupt(stream, ("drop_outs",))
        self._publish(stream)

    def overflow(self, count: int) -> None:
        """The sound card lost samples that nobody counted."""
        stream = self._current()
        if stream is not None:
            stream.health.overflow(count)

    def clock(self, sample: int, time_s: float) -> None:
        """When a sample was taken, by a clock that runs evenly."""
        stream = self._current()
        if stream is not None:
            stream.health.clock(sample, time_s)

    def clips(self) -> list[NormalClip]:
        """Clips of the whole minutes so far, in order; a minute is a recording."""
        return self._kept.collected()[0]

    def collected(self) -> tuple[list[NormalClip], list[str]]:
        """These clips, and SHA-256 of the samples (float32) of each, hexadecimal."""
        return self._kept.collected()

    def _current(self) -> _Stream | None:
        """The stream, after what ``begin`` said; None once nothing is wanted any more. In the thread that pushes."""
        if self._progress.done:
            return None
        begun, self._begun = self._begun, None
        if begun is not None:
            if self._stream is not None:
                self._interrupt(self._stream, (STREAM_CHANGED,))
            self._stream = _Stream(self.spec, self._predictor, *begun)
            self._publish(self._stream)
        return self._stream

    def _quantum(self, stream: _Stream, mono: Float32) -> None:
        seconds = len(mono) / stream.rate_hz
        self._heard_s += seconds
        levels = stream.levels.push(mono)
        self._level_dbfs = levels[-1] if levels else self._level_dbfs
        stream.health.push(mono)
        reasons = (*((NOT_RUNNING,) if self._paused else ()), *(fault.code for fault in stream.health.faults()))
        if reasons:
            self._reject(reasons, seconds)
            self._interrupt(stream, reasons)
        else:
            self._listen(stream, mono)

    def _listen(self, stream: _Stream, mono: Float32) -> None:
        while len(mono):
            if self._take is None:
                minute, wanted_s = self._kept.open
                if minute >= self.minutes:
                    return
                self._take = stream.take(minute, wanted_s)
            take = self._take
            piece, mono = mono[: take.left], mono[take.left :]
            for evidence, lines in take.push(piece):
                sound, digest = take.measured()
                bits = stream.sample_bits
                self._kept.add(KeptClip(take.minute, self._heard_s, evidence, sound, digest, bits, lines))
            if not take.left:
                self._kept.extend(take.minute, take.sound)
                self._take = None

    def _interrupt(self, stream: _Stream, reasons: tuple[str, ...]) -> None:
        """Drop the clip that is not whole, and those that ended where a fault may have begun."""
        lost = sum(clip.sound.n for clip in self._kept.drop_since(self._heard_s - LOOK_BACK_S))
        if self._take is not None:
            lost += self._take.sound.n
            self._take = None
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
            faults=stream.health.faults(),
            level_dbfs=self._level_dbfs,
            paused=self._paused,
            done=whole >= self.minutes and self._heard_s - self._kept.last_s >= LOOK_BACK_S,
        )
