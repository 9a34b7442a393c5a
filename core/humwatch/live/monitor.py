"""A microphone, followed: samples in, one observation a second out, whatever happens to the source or the machine.

``LiveMonitor`` puts together what is known of a live stream: the one composition of scores
(:class:`humwatch.monitor.Monitor`), the health of the source, and whether the machine runs. What it knows of the
source changes with quanta that are counted from the start of the stream, and a step is judged by what is known when
its quantum is over, so that scores *and* observations do not depend on how the sound came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from humwatch.alarm.events import RATE_UNCONFIRMED, WARMING_UP, Observation
from humwatch.bundle.bundle import Bundle
from humwatch.live.source import LiveSource
from humwatch.monitor import Monitor, Step
from humwatch.predictor import Predictor
from humwatch.source.health import FaultReport, SourceHealth

Float32 = npt.NDArray[np.float32]

SWAP_STEPS: Final = 8
"""Steps that a new model waits for one that joins the last of the old model's."""


@dataclass(frozen=True)
class LiveModel:
    """What a stream is judged by: a bundle and its predictor."""

    bundle: Bundle
    predictor: Predictor

    @property
    def clip_seconds(self) -> float:
        """Sound that a clip score listens to, seconds."""
        return self.bundle.manifest.windows.clip_seconds

    def windows_in(self, samples: int, source_rate_hz: int) -> int:
        """Windows that begin in so many samples of the source."""
        manifest = self.bundle.manifest
        return round(samples / source_rate_hz * manifest.features.frame_rate_hz / manifest.windows.hop_frames)

    def monitor(self, source_rate_hz: int) -> Monitor:
        """A monitor for the mono sound of one stream."""
        return self.bundle.monitor(self.predictor, source_rate_hz=source_rate_hz, channel=0)

    def health(self, source_rate_hz: int) -> SourceHealth:
        """What watches over the source of one stream."""
        calibration = self.bundle.calibration
        return SourceHealth(
            rate_hz=source_rate_hz,
            needed_hz=float(self.bundle.manifest.listening.band_edges_hz[-1, 1]),
            level_dbfs_low=calibration.level_dbfs_low,
            level_dbfs_high=calibration.level_dbfs_high,
        )


@dataclass(frozen=True)
class LiveStep:
    """What about a second of sound says.

    Attributes:
        start_sample: first sample that it is about, at the source's rate since the start of the stream.
        end_sample: one past the last.
        observation: for the alarm machine; None for sound that was heard before and only warms up, and for a machine
            that may be about to stop.
        step: the scores; None while the machine does not run.
        clip_start_sample: first sample that the clip's score depends on; None without one.
        level_dbfs: of the last whole second.
        faults: of the source.
        running: whether the machine runs; None when it is not known yet.
        model: that gave the scores.
    """

    start_sample: int
    end_sample: int
    observation: Observation | None
    step: Step | None
    clip_start_sample: int | None
    level_dbfs: float
    faults: tuple[FaultReport, ...]
    running: bool | None
    model: LiveModel

    @property
    def clip_score(self) -> float | None:
        """Score of the clip that ends here; None before a whole one was heard."""
        return self.step.clip.score if self.step is not None and self.step.clip is not None else None


class _Ear:
    """A monitor, and the place in the stream where it began to listen."""

    def __init__(self, model: LiveModel, source_rate_hz: int, origin: int) -> None:
        self.model = model
        self._monitor = model.monitor(source_rate_hz)
        self._scale = source_rate_hz / model.bundle.manifest.features.rate_hz
        self._origin = origin

    def restart(self, origin: int) -> None:
        self._monitor.reset()
        self._origin = origin

    @property
    def samples_until_step(self) -> int:
        return self._monitor.samples_until_step

    def push(self, mono: Float32) -> list[Step]:
        return self._monitor.push(mono[:, None])

    def flush(self) -> list[Step]:
        return self._monitor.flush()

    def source_sample(self, sample: int) -> int:
        """Index in the stream of a sample that the monitor counts at the model's rate."""
        return self._origin + round(sample * self._scale)


class LiveMonitor:
    """Samples of one stream in, live steps out; bounded, and the same for every chunking.

    After a gap, after the source was at fault, and after the machine was started, a whole clip is heard before a
    score is judged (``warming_up``). A level by which a machine stands may be that of a microphone that fails, so
    ``level_unusual`` is a reason beside ``off``, but not where somebody said that the machine stands.
    """

    def __init__(
        self,
        model: LiveModel,
        *,
        source_rate_hz: int,
        first_sample: int = 0,
        heard_until: int = 0,
        time_of: Callable[[int], float],
        running: bool | None = None,
        use_level: bool = True,
        in_real_time: bool = False,
    ) -> None:
        """Listen from ``first_sample`` on.

        Args:
            model: that judges.
            source_rate_hz: of the samples.
            first_sample: index of the first sample that will be pushed.
            heard_until: what ends at this sample or before makes no observation: it did before a restart.
            time_of: wall clock at a sample, seconds since 1970.
            running: explicit signal; None leaves it to the level.
            use_level: whether the level tells if the machine runs; else it does unless it is said not to.
            in_real_time: whether sound comes as it is taken: then a score is doubtful until a clock has told so.
        """
        self._rate_hz = source_rate_hz
        self._time_of = time_of
        self._heard_until = heard_until
        self._rest: Float32 = np.zeros(0, np.float32)
        self._ear = _Ear(model, source_rate_hz, first_sample)
        self._next: _Ear | None = None
        self._patience = 0
        self._source = LiveSource(
            model.health(source_rate_hz),
            model.bundle.calibration,
            rate_hz=source_rate_hz,
            position=first_sample,
            use_level=use_level,
        )
        self._rate_matters = in_real_time
        self._last_end = first_sample
        self._clean_since = first_sample
        self._stopped = False
        self.signal(running)

    @property
    def model(self) -> LiveModel:
        """That judges now."""
        return self._ear.model

    @property
    def next_sample(self) -> int:
        """Index of the sample that is expected next."""
        return self._position + len(self._rest)

    @property
    def _position(self) -> int:
        """Index of the first sample that is not followed yet."""
        return self._source.position

    @property
    def faults(self) -> tuple[FaultReport, ...]:
        """Of the source, now."""
        return self._source.faults

    @property
    def samples_until_step(self) -> int:
        """Samples that have to come before ``push`` can return a step; at least 1, at most a second.

        Whoever waits for so many, and asks again after each call, misses none. A step may be later: by up to 0.1 s
        where sound is resampled, and where a machine may be about to stop, which its next second tells.
        """
        waits = [self._rate_hz]
        if self._source.samples_until_stand is not None:
            waits.append(self._source.samples_until_stand)
        if self._source.running is not False:
            waits.append(1 if self._stopped else self._samples_until_heard())
        quantum = self._source.quantum_samples
        return min(-(-min(waits) // quantum) * quantum - len(self._rest), self._rate_hz)

    def push(self, mono: Float32) -> list[LiveStep]:
        """Take float32 (n,) in [-1, 1]; return the steps that are due."""
        held = np.concatenate([self._rest, mono])
        whole = len(held) - len(held) % self._source.quantum_samples
        self._rest = held[whole:].copy()
        return self._take(held[:whole]) if whole else []

    def flush(self) -> list[LiveStep]:
        """Judge what is left; the stream is over."""
        steps = self._take(self._rest) if len(self._rest) else []
        self._rest = np.zeros(0, np.float32)
        if not self._stopped:
            steps += [self._judged(self._ear, step) for step in self._ear.flush()]
        return steps

    def gap(self, samples: int) -> list[LiveStep]:
        """``samples`` never came: judge what was there before, and listen anew behind the gap."""
        steps = self._take(self._rest) if len(self._rest) else []
        self._rest = np.zeros(0, np.float32)
        self._source.gap(samples)
        self._last_end = self._position
        self._listen_anew()
        return steps

    def overflow(self, count: int) -> None:
        """The sound card lost samples that nobody counted: listen anew."""
        self._source.overflow(count)
        self._listen_anew()

    def clock(self, sample: int, time_s: float) -> None:
        """When a sample was taken, by a clock that runs evenly."""
        self._source.clock(sample, time_s)

    def signal(self, running: bool | None) -> None:
        """Whether the machine runs, from who knows it; None leaves it to the level again."""
        self._source.signal(running)

    def swap(self, model: LiveModel) -> None:
        """Let ``model`` listen beside the one in use, and take over once it has heard a whole clip."""
        self._next = _Ear(model, self._rate_hz, self._position)
        self._patience = SWAP_STEPS
        if self._stopped:
            self._take_over()

    def _take(self, mono: Float32) -> list[LiveStep]:
        """Take whole quanta, or the part of one that is left at the end of the sound.

        Ears are given what lies between two steps in one piece: a step is judged once its quantum is over.
        """
        steps: list[LiveStep] = []
        heard = 0
        due = self._samples_until_heard()
        for quantum in self._source.follow(mono):
            if self._source.running is False:
                steps += self._stand_still(quantum.second_over)
            elif self._stopped:
                self._stopped = False
                self._listen_anew()
            else:
                if self._source.deaf:
                    self._clean_since = self._position  # behind lost sound, listening begins anew without this
                if quantum.stop - heard < due:
                    continue
                steps += self._listen(mono[heard : quantum.stop])
            heard = quantum.stop
            due = self._samples_until_heard()
        return steps + self._listen(mono[heard:]) if heard < len(mono) else steps

    def _samples_until_heard(self) -> int:
        """Samples that have to come before an ear can return a step."""
        ears = (self._ear, self._next)
        return min(ear.samples_until_step for ear in ears if ear is not None)

    def _stand_still(self, second_over: bool) -> list[LiveStep]:
        if not self._stopped:
            self._stopped = True
            if self._next is not None:
                self._take_over()
        return [self._not_running()] if second_over else []

    def _listen(self, mono: Float32) -> list[LiveStep]:
        steps = [self._judged(self._ear, step) for step in self._ear.push(mono)]
        if self._next is None:
            return steps
        following = self._next
        for step in following.push(mono):
            span = following.source_sample(step.step.start_sample), following.source_sample(step.step.end_sample)
            if self._next is not None and step.clip is not None:
                self._patience -= 1
                if span[0] <= self._last_end or self._patience < 0:  # else a part of the sound would be in no step
                    self._take_over()
            if self._next is None and span[1] > self._last_end:
                steps.append(self._judged(following, step))
        return steps

    def _take_over(self) -> None:
        assert self._next is not None  # callers look
        self._ear, self._next = self._next, None
        self._source.calibrated(self._ear.model.bundle.calibration)

    def _listen_anew(self) -> None:
        self._clean_since = self._position
        for ear in (self._ear, self._next):
            if ear is not None:
                ear.restart(self._position)

    def _judged(self, ear: _Ear, step: Step) -> LiveStep:
        clip_start = None if step.clip is None else ear.source_sample(step.clip.start_sample)
        span = ear.source_sample(step.step.start_sample), ear.source_sample(step.step.end_sample)
        faults = self.faults
        hard = tuple(fault.code for fault in faults if fault.hard)
        if hard:
            return self._step(span, "unknown", hard, step, clip_start)
        if clip_start is None or clip_start < self._clean_since:
            return self._step(span, "unknown", (WARMING_UP,), step, clip_start)
        unconfirmed = (RATE_UNCONFIRMED,) if self._rate_matters and not self._source.rate_known else ()
        doubts = (*(fault.code for fault in faults), *unconfirmed)
        return self._step(span, "scored", doubts, step, clip_start)

    def _not_running(self) -> LiveStep:
        """Off, unless the source cannot even tell that; what makes that doubtful is said, too."""
        faults = self.faults
        hard = tuple(fault.code for fault in faults if fault.hard)
        reasons = hard or tuple(fault.code for fault in faults)
        return self._step((self._last_end, self._position), "unknown" if hard else "off", reasons)

    def _step(
        self,
        span: tuple[int, int],
        condition: Literal["scored", "unknown", "off"],
        reasons: tuple[str, ...],
        step: Step | None = None,
        clip_start: int | None = None,
    ) -> LiveStep:
        start, end = span
        audio_s = max(0, end - self._last_end) / self._rate_hz
        self._last_end = max(self._last_end, end)
        score = step.clip.score if condition == "scored" and step is not None and step.clip is not None else None
        observation = None
        if end > self._heard_until and not (condition == "scored" and self._source.stopping):
            observation = Observation(self._time_of(end), audio_s, condition, score, reasons)
        return LiveStep(
            start_sample=start,
            end_sample=end,
            observation=observation,
            step=step,
            clip_start_sample=clip_start,
            level_dbfs=self._source.level_dbfs,
            faults=self.faults,
            running=self._source.running,
            model=self._ear.model,
        )
