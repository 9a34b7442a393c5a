"""What a rule would have raised on recordings: they are played through the objects that follow a microphone.

As fast as it goes, without a server, a clock or anything on the disk. An alarm is acknowledged as soon as it is
raised, so that one that latches ends, too, and none is announced again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.stats
from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import MachineState, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import ALARM_LEVEL, AlarmMachine
from humwatch.detectors.normal_level import CONFIDENCE
from humwatch.live.monitor import LiveModel, LiveMonitor, LiveStep
from humwatch_service.live.machine import warn_level
from humwatch_service.sources.looped import Reel

Float32 = npt.NDArray[np.float32]

INSERTED_S: Final = 30.0
"""How long an inserted recording is heard, again and again."""
LEAD_S: Final = 30.0
"""Sound of the loop that is judged before something is inserted."""
DAY_S: Final = 86_400.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Episode(_Record):
    """A time in which an alarm was in force, or a warning was shown."""

    start_s: float = Field(description="when it began, seconds of sound since the start")
    end_s: float | None = Field(description="when it ended; null: it was still there at the end")
    peak_score: float = Field(description="highest normalised score in it")
    file: str = Field(description="that was heard when it began")
    file_s: float = Field(description="place in that file, seconds")


class Rate(_Record):
    """How often something happened, and how often it may happen."""

    count: int
    a_day: float = Field(description="in a day of sound")
    low_a_day: float = Field(description="lower end of the 90 % Poisson interval; sound that is looped counts once")
    high_a_day: float = Field(description="upper end")


class ClipsOver(_Record):
    """Clips over the alarm level in a day of running, before any rule."""

    heard: float | None = Field(description="by the share of scores over the level; null without a score")
    expected: float = Field(description="by the model's calibration")
    low: float = Field(description="lower end of its 90 % interval")
    high: float = Field(description="upper end")
    promised: bool = Field(description="whether there were recordings enough to promise it")


class Insertion(_Record):
    """A recording that was put into the loop on its own."""

    file: str
    outcome: Literal["detected", "missed", "undecided"] = Field(
        description="`undecided`: an alarm was in force already when it was inserted"
    )
    after_s: float | None = Field(description="from its first sample to the alarm, seconds; null unless detected")
    peak_score: float | None = Field(
        description="highest normalised score of the clips that lie in it; null where none was scored"
    )


class Rehearsal(_Record):
    """What a rule made of recordings."""

    machine_id: str
    version: str = Field(description="of the model")
    rule: AlarmRule = Field(description="that was rehearsed")
    heard_s: float = Field(description="sound that was heard, seconds")
    distinct_s: float = Field(description="of that, sound that was not heard before, seconds")
    alarms: tuple[Episode, ...]
    warnings: tuple[Episode, ...] = Field(description="that did not become an alarm")
    alarm_rate: Rate
    warning_rate: Rate
    states: dict[MachineState, float] = Field(description="share of the time in each state")
    clips_over: ClipsOver
    insertions: tuple[Insertion, ...]


def duration_s(model: LiveModel, rule: AlarmRule, heard_s: float, insertions: int) -> float:
    """Sound that a rehearsal plays, seconds."""
    return heard_s + insertions * (_lead_s(model) + INSERTED_S + _tail_s(model, rule))


def rehearse(
    model: LiveModel,
    rule: AlarmRule,
    reel: Reel,
    *,
    heard_s: float,
    inserted: Sequence[Reel] = (),
    use_level: bool = True,
    on_heard: Callable[[float], None] = lambda seconds: None,
) -> Rehearsal:
    """Play a loop for so long, and then once more, shortly, with each of the recordings that are put into it.

    Args:
        model: that judges.
        rule: when its scores become alarms.
        reel: the loop.
        heard_s: how long it is heard, seconds.
        inserted: recordings of the loop's rate.
        use_level: whether the level tells if the machine runs.
        on_heard: is told of seconds that were heard.

    Raises:
        AudioError, FileUnreadable: a recording cannot be decoded to its end.
        PredictorError: the model's graph cannot be run.
    """
    listening = _Listening(model, rule, reel, use_level=use_level, on_heard=on_heard)
    listening.hear(reel.between(0, round(heard_s * reel.rate_hz)))
    listening.finish()
    insertions = [
        _inserted(_Listening(model, rule, reel, use_level=use_level, on_heard=on_heard), sound) for sound in inserted
    ]
    distinct_s = min(heard_s, reel.duration_s)
    return Rehearsal(
        machine_id=model.bundle.manifest.machine_id,
        version=model.bundle.manifest.version,
        rule=rule,
        heard_s=heard_s,
        distinct_s=distinct_s,
        alarms=tuple(listening.alarms),
        warnings=tuple(listening.warnings),
        alarm_rate=poisson_rate(len(listening.alarms), heard_s=heard_s, distinct_s=distinct_s),
        warning_rate=poisson_rate(len(listening.warnings), heard_s=heard_s, distinct_s=distinct_s),
        states=listening.state_shares(),
        clips_over=_clips_over(model, listening.share_over()),
        insertions=tuple(insertions),
    )


def poisson_rate(count: int, *, heard_s: float, distinct_s: float) -> Rate:
    """Rate a day, and the exact 90 % interval of a Poisson rate (Garwood 1936).

    What comes again with every pass of a loop is no further evidence: the interval takes the mean count of
    ``distinct_s`` seconds, and these alone, for observed.
    """
    seen = count * distinct_s / heard_s
    tail = (1 - CONFIDENCE) / 2
    low = float(scipy.stats.chi2.ppf(tail, 2 * seen)) / 2 if count else 0.0
    high = float(scipy.stats.chi2.ppf(1 - tail, 2 * seen + 2)) / 2
    times = DAY_S / distinct_s
    return Rate(count=count, a_day=count * DAY_S / heard_s, low_a_day=low * times, high_a_day=high * times)


def _lead_s(model: LiveModel) -> float:
    return LEAD_S + model.clip_seconds


def _tail_s(model: LiveModel, rule: AlarmRule) -> float:
    """Until nothing of what was inserted is in a score that counts."""
    return model.clip_seconds + rule.n * model.bundle.manifest.windows.step_seconds


def _inserted(listening: _Listening, sound: Reel) -> Insertion:
    reel, model, rule = listening.reel, listening.model, listening.machine.rule
    lead, length, tail = (
        round(seconds * reel.rate_hz) for seconds in (_lead_s(model), INSERTED_S, _tail_s(model, rule))
    )
    listening.hear(reel.between(0, lead))
    undecided = listening.machine.snapshot.active is not None
    listening.watched = range(lead, lead + length)
    known = len(listening.alarms)
    listening.hear(sound.between(0, length))
    listening.hear(reel.between(lead, lead + tail))
    listening.finish()
    after = [] if undecided else [alarm.start_s - lead / reel.rate_hz for alarm in listening.alarms[known:]]
    return Insertion(
        file=str(sound.paths[0]),
        outcome="undecided" if undecided else "detected" if after else "missed",
        after_s=after[0] if after else None,
        peak_score=listening.peak_score,
    )


def _clips_over(model: LiveModel, share: float | None) -> ClipsOver:
    alarm = model.bundle.manifest.clip.alarm
    return ClipsOver(
        heard=None if share is None else share * alarm.clips_a_day,
        expected=alarm.false_alarms_a_day,
        low=alarm.rate_low * alarm.clips_a_day,
        high=alarm.rate_high * alarm.clips_a_day,
        promised=alarm.promised,
    )


@dataclass
class _Begun:
    """An episode that is not over."""

    start_s: float
    peak_score: float = -np.inf
    alarmed: bool = False


class _Listening:
    """One hearing of sound: a monitor, an alarm machine, and what came of them."""

    def __init__(
        self, model: LiveModel, rule: AlarmRule, reel: Reel, *, use_level: bool, on_heard: Callable[[float], None]
    ) -> None:
        self.model = model
        self.reel = reel
        self.machine = AlarmMachine(rule, warn_level=warn_level(model))
        self.alarms: list[Episode] = []
        self.warnings: list[Episode] = []
        self.watched = range(0)
        self.peak_score: float | None = None
        self._monitor = LiveMonitor(
            model, source_rate_hz=reel.rate_hz, time_of=lambda sample: sample / reel.rate_hz, use_level=use_level
        )
        self._on_heard = on_heard
        self._state_s: defaultdict[MachineState, float] = defaultdict(float)
        self._scored_s = self._over_s = 0.0
        self._alarm: _Begun | None = None
        self._shown: _Begun | None = None

    def hear(self, sound: Iterable[Float32]) -> None:
        """Listen to pieces of sound, float32 (n,)."""
        for piece in sound:
            self._judge(self._monitor.push(piece))
            self._on_heard(len(piece) / self.reel.rate_hz)

    def finish(self) -> None:
        """Judge what is left; what is not over stays without an end."""
        self._judge(self._monitor.flush())
        if self._alarm is not None:
            self.alarms.append(self._episode(self._alarm, None))
        if self._shown is not None and not self._shown.alarmed:
            self.warnings.append(self._episode(self._shown, None))

    def state_shares(self) -> dict[MachineState, float]:
        """Share of the time in each state that was shown."""
        total = sum(self._state_s.values())
        return {state: seconds / total for state, seconds in self._state_s.items() if seconds}

    def share_over(self) -> float | None:
        """Share of the scored time over the alarm level; None if nothing was scored."""
        return self._over_s / self._scored_s if self._scored_s else None

    def _judge(self, steps: list[LiveStep]) -> None:
        for step in steps:
            if step.observation is not None:
                self._observe(step.observation)
                self._watch(step, step.observation.score)

    def _observe(self, heard: Observation) -> None:
        for event in self.machine.observe(heard):
            if event.kind == "raised":
                self._alarm = _Begun(heard.at_s)
                self.machine.acknowledge(who="rehearsal", why="", at_s=heard.at_s)
            elif event.kind == "cleared" and self._alarm is not None:
                self.alarms.append(self._episode(self._alarm, heard.at_s))
                self._alarm = None
        self._follow_warning(heard.at_s)
        self._state_s[self.machine.state] += heard.audio_s
        if heard.score is not None:
            self._measure(heard.score, heard.audio_s)

    def _follow_warning(self, at_s: float) -> None:
        state = self.machine.state
        if state in ("warning", "alarm"):
            self._shown = self._shown or _Begun(at_s)
            self._shown.alarmed = self._shown.alarmed or state == "alarm"
        elif self._shown is not None:
            if not self._shown.alarmed:
                self.warnings.append(self._episode(self._shown, at_s))
            self._shown = None

    def _measure(self, score: float, audio_s: float) -> None:
        self._scored_s += audio_s
        self._over_s += audio_s if score >= ALARM_LEVEL else 0.0
        for begun in (self._alarm, self._shown):
            if begun is not None:
                begun.peak_score = max(score, begun.peak_score)

    def _watch(self, step: LiveStep, score: float | None) -> None:
        """Keep the highest score of clips that lie in the watched samples."""
        start = step.clip_start_sample
        if score is None or start is None or start < self.watched.start or step.end_sample > self.watched.stop:
            return
        self.peak_score = score if self.peak_score is None else max(score, self.peak_score)

    def _episode(self, begun: _Begun, end_s: float | None) -> Episode:
        place = self.reel.place(round(begun.start_s * self.reel.rate_hz) - 1)
        return Episode(
            start_s=begun.start_s,
            end_s=end_s,
            peak_score=begun.peak_score,
            file=str(place.path),
            file_s=place.offset_s,
        )
