"""Monitor of a live stream: samples in, one observation a second out, whatever happens to the source or the machine.

``LiveMonitor`` combines the scores (:class:`humwatch.monitor.Monitor`), the health of the source, and the running
state of the machine. What is known of the source changes with quanta that are counted from the start of the stream,
and a step is judged by what is known at the end of its quantum, so that scores *and* observations do not depend on
the chunks in which the sound came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from humwatch.alarm.events import RATE_UNCONFIRMED, WARMING_UP, Observation
from humwatch.arrays import Float32
from humwatch.live.model import LiveModel, ModelTrack
from humwatch.live.step import LiveStep
from humwatch.monitor import Step
from humwatch.run_state import RunGate
from humwatch.source.faults import FaultReport
from humwatch.source.monitor import SourceMonitor
from humwatch.together import Work, alone

SWAP_STEPS: Final = 8
"""Steps that a new model waits for one that joins the last of the old model's."""


class LiveMonitor:
    """Samples of one stream in, live steps out; bounded, and the same for every chunking.

    After a gap, a fault of the source or a start of the machine a whole clip has to come before a score is judged
    (``warming_up``). A level at which a machine seems off may be that of a microphone that fails, so
    ``level_unusual`` is a reason beside ``off``, but not where a signal says that the machine is off.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import LiveModel, LiveMonitor, OnnxPredictor, read_bundle
        >>> from humwatch.audio.decoding import read_mono
        >>> bundle = read_bundle(Path("models/fan-id_00/2"))
        >>> model = LiveModel(bundle, OnnxPredictor(bundle.graph))
        >>> stream = LiveMonitor(model, source_rate_hz=16_000, time_of=lambda sample: sample / 16_000)
        >>> sound = read_mono("models/fan-id_00/examples/normal.wav", rate_hz=16_000)
        >>> steps = stream.push(sound[:40_000]) + stream.push(sound[40_000:]) + stream.flush()
        >>> [step.observation.reasons for step in steps[:2]]
        [('warming_up',), ('warming_up',)]
        >>> steps[-1].observation.condition, round(steps[-1].observation.score, 1)
        ('scored', 0.1)
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
        full_scale: bool = True,
    ) -> None:
        """Monitor the stream from ``first_sample`` on.

        Args:
            model: model that scores the stream.
            source_rate_hz: sample rate of the source, Hz.
            first_sample: index of the first sample that will be pushed.
            scored_until: sample up to which the stream was scored before a restart; what ends by then makes no
                observation.
            time_of: wall clock at a sample, seconds since 1970.
            running: signal of the running state; None leaves it to the level.
            use_level: True if the level shows the running state; else the machine runs until a signal says that it
                does not.
            in_real_time: True if sound comes as it is taken: then a score is doubtful until a clock has confirmed
                the rate.
            full_scale: True if samples have a full scale, as integers have; floats may be in any unit, which the
                model's own scale brings to levels that its network knows.
        """
        self._rate_hz = source_rate_hz
        self._time_of = time_of
        self._scored_until = scored_until
        self._use_level = use_level
        self._full_scale = full_scale
        self._sample_scale = model.scale_of(full_scale=full_scale)
        self._rest: Float32 = np.zeros(0, np.float32)
        self._track = ModelTrack(model, source_rate_hz, first_sample)
        self._next: ModelTrack | None = None
        self._steps_to_join = 0
        self._source = SourceMonitor(
            model.health(source_rate_hz, full_scale=full_scale),
            rate_hz=source_rate_hz,
            position=first_sample,
            run_gate=self._gate_of(model),
        )
        self._rate_matters = in_real_time
        self._last_end = first_sample
        self._clean_since = first_sample
        self._off = False
        self.signal(running)

    @property
    def model(self) -> LiveModel:
        """Model in use."""
        return self._track.model

    @property
    def sample_scale(self) -> float:
        """Factor by which samples are multiplied before anything is measured; levels are those behind it."""
        return float(self._sample_scale)

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
        """Present faults of the source."""
        return self._source.faults

    @property
    def samples_until_step(self) -> int:
        """Samples that have to come before ``push`` can return a step; at least 1, at most a second.

        A caller that waits for so many, and asks again after each call, misses none. A step may be later: by up to
        0.1 s where sound is resampled, and where a machine may be about to stop, which its next second shows.
        """
        waits = [self._rate_hz]
        if self._source.samples_until_off is not None:
            waits.append(self._source.samples_until_off)
        if self._source.running is not False:
            waits.append(1 if self._off else self._samples_until_scored())
        quantum = self._source.quantum_samples
        return min(-(-min(waits) // quantum) * quantum - len(self._rest), self._rate_hz)

    def push(self, mono: Float32) -> list[LiveStep]:
        """Take float32 (n,), as they came; return the steps that are due."""
        return alone(self.pushing(mono))

    def flush(self) -> list[LiveStep]:
        """Judge the rest of the sound; the stream is over."""
        return alone(self.flushing())

    def gap(self, samples: int) -> list[LiveStep]:
        """Skip ``samples`` samples that never came: judge what was there before, and start anew behind the gap."""
        return alone(self.skipping(samples))

    def pushing(self, mono: Float32) -> Work[list[LiveStep]]:
        """Return the work of :meth:`push`, to be done beside that of other streams."""
        if self._sample_scale != 1.0:
            mono = mono * self._sample_scale
        held = np.concatenate([self._rest, mono])
        whole = len(held) - len(held) % self._source.quantum_samples
        self._rest = held[whole:].copy()
        return (yield from self._follow(held[:whole])) if whole else []

    def flushing(self) -> Work[list[LiveStep]]:
        """Return the work of :meth:`flush`, to be done beside that of other streams."""
        steps = yield from self._follow_rest()
        self._source.finish()
        if not self._off:
            steps += [self._scored(self._track, step) for step in (yield from self._track.flushing())]
        return steps

    def skipping(self, samples: int) -> Work[list[LiveStep]]:
        """Return the work of :meth:`gap`, to be done beside that of other streams."""
        steps = yield from self._follow_rest()
        self._source.gap(samples)
        self._last_end = self._position
        self._restart()
        return steps

    def overflow(self, count: int) -> None:
        """Start anew after ``count`` losses of samples in the sound card, each of unknown length."""
        self._source.overflow(count)
        self._restart()

    def elsewhere(self, alive: str | None) -> None:
        """Take the message that names another channel that is alive, for as long as this one is silent."""
        self._source.elsewhere(alive)

    def clock(self, sample: int, time_s: float) -> None:
        """Take the index of a sample and the time of its capture, by a clock that runs evenly, s."""
        self._source.clock(sample, time_s)

    def signal(self, running: bool | None) -> None:
        """Set the running state from outside; None leaves it to the level again."""
        self._source.signal(running)

    def swap(self, model: LiveModel) -> None:
        """Let ``model`` score beside the one in use, and take over once it has a whole clip."""
        self._next = ModelTrack(model, self._rate_hz, self._position)
        self._steps_to_join = SWAP_STEPS
        if self._off:
            self._take_over()

    def _gate_of(self, model: LiveModel) -> RunGate | None:
        return model.bundle.calibration.run_gate if self._use_level else None

    def _follow_rest(self) -> Work[list[LiveStep]]:
        steps = (yield from self._follow(self._rest)) if len(self._rest) else []
        self._rest = np.zeros(0, np.float32)
        return steps

    def _follow(self, mono: Float32) -> Work[list[LiveStep]]:
        """Take whole quanta, or the part of one that is left at the end of the sound.

        Tracks get the samples between two steps in one piece: a step is judged at the end of its quantum.
        """
        steps: list[LiveStep] = []
        done = 0
        due = self._samples_until_scored()
        for quantum in self._source.follow(mono):
            if self._source.running is False:
                steps += self._stay_off(quantum.second_over)
            elif self._off:
                self._off = False
                self._restart()
            else:
                if self._source.unusable:
                    self._clean_since = self._position  # behind lost sound, tracks start anew without this
                if quantum.stop - done < due:
                    continue
                steps += yield from self._score(mono[done : quantum.stop])
            done = quantum.stop
            due = self._samples_until_scored()
        if done < len(mono):
            steps += yield from self._score(mono[done:])
        return steps

    def _samples_until_scored(self) -> int:
        """Return the number of samples that have to come before a track can return a step."""
        tracks = (self._track, self._next)
        return min(track.samples_until_step for track in tracks if track is not None)

    def _stay_off(self, second_over: bool) -> list[LiveStep]:
        if not self._off:
            self._off = True
            if self._next is not None:
                self._take_over()
        return [self._off_step()] if second_over else []

    def _score(self, mono: Float32) -> Work[list[LiveStep]]:
        steps = [self._scored(self._track, step) for step in (yield from self._track.pushing(mono))]
        if self._next is None:
            return steps
        following = self._next
        scale = following.model.scale_of(full_scale=self._full_scale) / self._sample_scale
        for step in (yield from following.pushing(mono if scale == 1.0 else mono * scale)):
            start, end = following.source_span(step)
            if self._next is not None and step.clip is not None:
                self._steps_to_join -= 1
                if start <= self._last_end or self._steps_to_join < 0:  # else a part of the sound would be in no step
                    self._take_over()
            if self._next is None and end > self._last_end:
                steps.append(self._scored(following, step))
        return steps

    def _take_over(self) -> None:
        assert self._next is not None  # callers check
        self._track, self._next = self._next, None
        model = self._track.model
        scale = model.scale_of(full_scale=self._full_scale)
        self._rest = self._rest * (scale / self._sample_scale)
        self._sample_scale = scale
        calibration = model.bundle.calibration
        self._source.recalibrate(
            calibration.level_dbfs_low,
            calibration.level_dbfs_high,
            self._gate_of(model),
            normal_db=calibration.spectrum_db,
        )

    def _restart(self) -> None:
        self._clean_since = self._position
        for track in (self._track, self._next):
            if track is not None:
                track.restart(self._position)

    def _scored(self, track: ModelTrack, step: Step) -> LiveStep:
        self._source.hear(step.block.windows)
        clip_start = None if step.clip is None else track.source_sample(step.clip.start_sample)
        span = track.source_span(step)
        faults = self.faults
        hard = tuple(fault.code for fault in faults if fault.hard)
        if hard:
            return self._step(span, "unknown", hard, step, clip_start)
        if clip_start is None or clip_start < self._clean_since:
            return self._step(span, "unknown", (WARMING_UP,), step, clip_start)
        unconfirmed = (RATE_UNCONFIRMED,) if self._rate_matters and not self._source.rate_known else ()
        doubts = (*(fault.code for fault in faults), *unconfirmed)
        return self._step(span, "scored", doubts, step, clip_start)

    def _off_step(self) -> LiveStep:
        """Return a step of a machine that is off, with the faults that make that doubtful or unknown."""
        faults = self.faults
        hard = tuple(fault.code for fault in faults if fault.hard)
        reasons = hard or tuple(fault.code for fault in faults)
        return self._step((self._last_end, self._position), "unknown" if hard else "off", reasons)

    def _step(
        self,
        span: tuple[int, int],
        condition: Literal["scored", "unknown", "off"],
        reasons: tuple[str, ...],
        scores: Step | None = None,
        clip_start: int | None = None,
    ) -> LiveStep:
        start, end = span
        audio_s = max(0, end - self._last_end) / self._rate_hz
        self._last_end = max(self._last_end, end)
        score = scores.clip.score if condition == "scored" and scores is not None and scores.clip is not None else None
        observation = None
        if end > self._scored_until and not (condition == "scored" and self._source.stopping):
            observation = Observation(self._time_of(end), audio_s, condition, score, reasons)
        return LiveStep(
            start_sample=start,
            end_sample=end,
            observation=observation,
            scores=scores,
            clip_start_sample=clip_start,
            level_dbfs=self._source.level_dbfs,
            faults=self.faults,
            running=self._source.running,
            model=self._track.model,
        )
