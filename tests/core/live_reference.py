"""Live listening, plainly: each tenth of a second by itself.

What :class:`humwatch.live.monitor.LiveMonitor` says has to be what this says, however sound comes. It shares the scores
(:class:`humwatch.monitor.Monitor`) with it, and nothing of what sound passes before and beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from humwatch.alarm.events import RATE_UNCONFIRMED, WARMING_UP, Observation
from humwatch.arrays import Float32
from humwatch.audio.quality import MIN_DBFS, dbfs
from humwatch.live.model import LiveModel
from humwatch.live.monitor import SWAP_STEPS, LiveStep
from humwatch.monitor import Step
from humwatch.run_state import RunState
from humwatch.source.health import WINDOW_S, FaultReport
from tests.core.health_reference import PlainHealth, PlainLevels


class _ModelTrack:
    """A monitor, and the place in the stream where it began to listen."""

    def __init__(self, model: LiveModel, source_rate_hz: int, origin: int) -> None:
        self.model = model
        self._monitor = model.monitor(source_rate_hz)
        self._scale = source_rate_hz / model.bundle.manifest.features.rate_hz
        self._origin = origin

    def restart(self, origin: int) -> None:
        self._monitor.reset()
        self._origin = origin

    def push(self, mono: Float32) -> list[Step]:
        return self._monitor.push(mono[:, None])

    def flush(self) -> list[Step]:
        return self._monitor.flush()

    def source_sample(self, sample: int) -> int:
        """Index in the stream of a sample that the monitor counts at the model's rate."""
        return self._origin + round(sample * self._scale)


class PlainLiveMonitor:
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
        scored_until: int = 0,
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
            scored_until: what ends at this sample or before makes no observation: it did before a restart.
            time_of: wall clock at a sample, seconds since 1970.
            running: explicit signal; None leaves it to the level.
            use_level: whether the level tells if the machine runs; else it does unless it is said not to.
            in_real_time: whether sound comes as it is taken: then a score is doubtful until a clock has told so.
        """
        self._rate_hz = source_rate_hz
        self._time_of = time_of
        self._heard_until = scored_until
        self._quantum = max(1, source_rate_hz // 10)
        self._rest: Float32 = np.zeros(0, np.float32)
        self._ear = _ModelTrack(model, source_rate_hz, first_sample)
        self._next: _ModelTrack | None = None
        self._patience = 0
        calibration = model.bundle.calibration
        self._health = PlainHealth(
            rate_hz=source_rate_hz,
            needed_hz=float(model.bundle.manifest.pipeline.band_edges_hz[-1, 1]),
            level_dbfs_low=calibration.level_dbfs_low,
            level_dbfs_high=calibration.level_dbfs_high,
        )
        self._levels = PlainLevels(source_rate_hz)
        self._use_level = use_level
        self._run = RunState(model.bundle.calibration.run_gate if use_level else None)
        self._rate_confirmed = not in_real_time
        self._level_dbfs = MIN_DBFS
        self._position = first_sample
        self._last_end = first_sample
        self._clean_since = first_sample
        self._stopped = False
        self._level_counts_from = first_sample
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
    def faults(self) -> tuple[FaultReport, ...]:
        """Of the source, now."""
        found = self._health.faults()
        if self._position >= self._level_counts_from:
            return found
        return tuple(fault for fault in found if fault.code != "level_unusual")

    def push(self, mono: Float32) -> list[LiveStep]:
        """Take float32 (n,) in [-1, 1]; return the steps that are due."""
        held = np.concatenate([self._rest, mono])
        whole = len(held) // self._quantum * self._quantum
        self._rest = held[whole:].copy()
        return [
            step for start in range(0, whole, self._quantum) for step in self._take(held[start : start + self._quantum])
        ]

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
        self._health.gap(samples)
        self._levels.reset()
        self._position += samples
        self._last_end = self._clean_since = self._position
        self._listen_anew()
        return steps

    def overflow(self, count: int) -> None:
        """The sound card lost samples that nobody counted: listen anew."""
        self._health.overflow(count)
        self._listen_anew()

    def clock(self, sample: int, time_s: float) -> None:
        """When a sample was taken, by a clock that runs evenly."""
        self._health.clock(sample, time_s)

    def signal(self, running: bool | None) -> None:
        """Whether the machine runs, from who knows it; None leaves it to the level again."""
        self._said_to_stand = running is False
        self._run.signal(running)

    def swap(self, model: LiveModel) -> None:
        """Let ``model`` listen beside the one in use, and take over once it has heard a whole clip."""
        self._next = _ModelTrack(model, self._rate_hz, self._position)
        self._patience = SWAP_STEPS
        if self._stopped:
            self._take_over()

    def _take(self, mono: Float32) -> list[LiveStep]:
        self._health.push(mono)
        self._run.push_part(dbfs(float(np.var(mono, dtype=np.float64))), len(mono) / self._rate_hz)
        levels = self._levels.push(mono)
        for level_dbfs in levels:
            self._level_dbfs = level_dbfs
            self._run.push(level_dbfs)
        self._position += len(mono)
        self._rate_confirmed = self._rate_confirmed or self._health.rate_known
        if self._said_to_stand:  # what is quiet by order is no fault, and is looked back on for a while
            self._level_counts_from = self._position + round(WINDOW_S * self._rate_hz)
        if self._run.running is False:
            return self._stand_still(bool(levels))
        if self._stopped:
            self._stopped = False
            self._listen_anew()
            return []
        return self._listen(mono)

    def _stand_still(self, second_over: bool) -> list[LiveStep]:
        if not self._stopped:
            self._stopped = True
            if self._next is not None:
                self._take_over()
        return [self._not_running()] if second_over else []

    def _listen(self, mono: Float32) -> list[LiveStep]:
        if any(fault.hard and fault.code != "drop_outs" for fault in self._health.faults()):
            self._clean_since = self._position  # where sound is known to be lost, listening began anew behind it
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
        calibration = self._ear.model.bundle.calibration
        self._health.calibrated(calibration.level_dbfs_low, calibration.level_dbfs_high)
        if self._use_level:
            self._run.change_gate(calibration.run_gate)

    def _listen_anew(self) -> None:
        self._clean_since = self._position
        for ear in (self._ear, self._next):
            if ear is not None:
                ear.restart(self._position)

    def _judged(self, ear: _ModelTrack, step: Step) -> LiveStep:
        clip_start = None if step.clip is None else ear.source_sample(step.clip.start_sample)
        span = ear.source_sample(step.step.start_sample), ear.source_sample(step.step.end_sample)
        faults = self.faults
        hard = tuple(fault.code for fault in faults if fault.hard)
        if hard:
            return self._step(span, "unknown", hard, step, clip_start)
        if clip_start is None or clip_start < self._clean_since:
            return self._step(span, "unknown", (WARMING_UP,), step, clip_start)
        unconfirmed = () if self._rate_confirmed else (RATE_UNCONFIRMED,)
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
        if end > self._heard_until and not (condition == "scored" and self._run.stopping):
            observation = Observation(self._time_of(end), audio_s, condition, score, reasons)
        return LiveStep(
            start_sample=start,
            end_sample=end,
            observation=observation,
            scores=step,
            clip_start_sample=clip_start,
            level_dbfs=self._level_dbfs,
            faults=self.faults,
            running=self._run.running,
            model=self._ear.model,
        )
