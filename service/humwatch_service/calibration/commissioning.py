"""One commissioning that goes on: its record, its collector, and the minutes on the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.collector import LOOK_BACK_S, NormalCollector
from humwatch.calibration.collector_progress import CollectorProgress
from humwatch.calibration.plan import MIN_MINUTES
from humwatch.pipeline import PipelineSpec
from humwatch_service.calibration.acceptance import Verdict
from humwatch_service.calibration.minutes import alarm_card, read_minutes, write_minute
from humwatch_service.calibration.record import CommissioningRecord, LostMinute, StageCard, StageState
from humwatch_service.models.registry import LoadedModel
from humwatch_service.storage.commissionings import CommissioningFolder

SETTLED_S: Final = 2 * LOOK_BACK_S
"""Time after the end of the collecting at which no minute is on its way to the disk any more."""
RETRY_S: Final = 60.0
"""Time after which a version is tried again that could not be made."""
BEFORE_S: Final = 60.0
"""Lead of a plan's start from which it is for recordings: their time goes by, not the clock's."""
ITSELF: Final = "commissioning"
"""Who a version is used by, where it happens by itself."""


class Commissioning:
    """A commissioning of one machine. Belongs to the event loop, but for what blocks on the disk and says so.

    Attributes:
        record: what is known of it, as it is on the disk.
        model: model with the network to use.
        pipeline: features, windows and score of the evidence.
        collector: collector of the sound.
        times: times of the minutes on the disk, by their numbers, seconds since 1970.
        trouble: why minutes cannot be kept, or no version made; None while all is well.
        verdict: what was last said of the version that was made last; None before one was.
        alarm_s: time of the sound up to which an alarm was last in force, seconds since 1970; None: never.
    """

    def __init__(
        self,
        record: CommissioningRecord,
        model: LoadedModel,
        pipeline: PipelineSpec,
        folder: CommissioningFolder,
        *,
        clock: Callable[[], float],
        times: dict[int, float] | None = None,
    ) -> None:
        self.record = record
        self.model = model
        self.pipeline = pipeline
        self.times = times or {}
        self.trouble: str | None = None
        self.verdict: Verdict | None = None
        self.alarm_s: float | None = None
        self._failed: tuple[tuple[int, int], float, str] | None = None
        self._folder = folder
        self._clock = clock
        self._rejected_before = record.rejected_s, dict(record.rejected)
        self.collector = NormalCollector(
            pipeline,
            model.predictor,
            plan=record.plan,
            taken=list(self.times.values()),
            last_number=record.last_number,
            heard_s=record.heard_s,
            keep_sound=True,
            float_scale=_float_scale(record, model),
        )

    @staticmethod
    def resumed(
        record: CommissioningRecord,
        model: LoadedModel,
        pipeline: PipelineSpec,
        folder: CommissioningFolder,
        *,
        clock: Callable[[], float],
    ) -> Commissioning:
        """Take a commissioning up where it was (blocking); minutes whose files are damaged are dropped, by name.

        Raises:
            StateUnusable: the disk cannot be read or written.
        """
        minutes, lost = read_minutes(folder, record)
        times = {minute.number: minute.at_s for minute in minutes}
        numbers = [record.last_number, *times, *(one.number for one in lost)]
        record = record.model_copy(update={"lost": [*record.lost, *lost], "last_number": max(numbers)})
        if lost:
            folder.write_record(record.machine_id, record.model_dump_json().encode())
        return Commissioning(record, model, pipeline, folder, clock=clock, times=times)

    @property
    def machine_id(self) -> str:
        """Id of the machine."""
        return self.record.machine_id

    @property
    def progress(self) -> CollectorProgress:
        """Progress of the collector, with what was rejected before a restart."""
        now = self.collector.progress
        seconds, before = self._rejected_before
        reasons = {*before, *now.rejected}
        return replace(
            now,
            rejected_s=seconds + now.rejected_s,
            rejected={reason: before.get(reason, 0.0) + now.rejected.get(reason, 0.0) for reason in sorted(reasons)},
        )

    @property
    def now_s(self) -> float:
        """Time now, or of the sound where that is ahead or the plan begins with sound of before, seconds since 1970."""
        if self.record.plan.start_s < self.record.started_s - BEFORE_S:
            return self.collector.progress.heard_s or self.record.plan.start_s
        return max(self._clock(), self.collector.progress.heard_s or 0.0)

    @property
    def details(self) -> dict[str, JsonValue]:
        """Details for the audit trail."""
        record = self.record
        return {
            "from_machine": record.from_machine,
            "from_version": record.from_version,
            "score": record.score,
            "warn_rate": record.spec.warn_rate,
            "alarm_rate": record.spec.alarm_rate,
            "plan": record.plan.kind,
            "accept": record.accept,
            "minutes": self.collector.progress.minutes,
            "wanted_minutes": record.plan.minutes,
        }

    @property
    def last_stage(self) -> StageCard | None:
        """The stage that was made last; None before the first."""
        return self.record.stages[-1] if self.record.stages else None

    @property
    def waits_for_finish(self) -> bool:
        """Whether the last version is made when an operator asks for it, not by itself."""
        return self.record.plan.kind == "in_a_row" and self.record.accept == "operator"

    @property
    def may_fit(self) -> bool:
        """Whether a version may be tried: none has failed a moment ago, with the minutes that there are."""
        if self._failed is None:
            return True
        state, at_s, _ = self._failed
        return state != self._state() or abs(self._clock() - at_s) >= RETRY_S

    def fit_failed(self, reason: str) -> None:
        """Note that no version can be made of these minutes now, and why."""
        self._failed = self._state(), self._clock(), reason

    @property
    def fit_trouble(self) -> str | None:
        """Why a version is not made until it is tried again; None where it may be."""
        return None if self._failed is None or self.may_fit else self._failed[2]

    @property
    def period_over(self) -> bool:
        """Whether the time is over in which minutes are wanted, with none on its way to the disk any more."""
        end_s = self.record.plan.end_s(len(self.times))
        return end_s is not None and self.now_s >= end_s + SETTLED_S

    @property
    def plan_over(self) -> bool:
        """Whether no more minutes come, and there are enough for a version."""
        count = len(self.times)
        return count >= self.record.plan.minutes or (self.period_over and count >= MIN_MINUTES)

    def is_current(self, stage: StageCard) -> bool:
        """Return True if a stage rests on all minutes that there are, but for those that are held back."""
        held = {card.number for card in self.record.odd}
        return set(stage.minute_numbers) == set(self.times) - held

    def keep_record(self, **changes: object) -> None:
        """Change what is known, on the disk first (blocking). Raises :class:`StateUnusable`."""
        record = self.record.model_copy(update=changes)
        self._folder.write_record(self.machine_id, record.model_dump_json().encode())
        self.record = record

    def on_clock_set(self, seconds: float) -> None:
        """Follow a clock that was set by so many seconds (blocking): the plan and its minutes keep their places by it.

        A plan for recordings stays: their times were said. Raises :class:`StateUnusable`.
        """
        record = self.record
        if abs(seconds) <= BEFORE_S or record.plan.start_s < record.started_s - BEFORE_S:
            return
        self.keep_record(
            plan=record.plan.shifted(seconds),
            started_s=record.started_s + seconds,
            heard_s=None if record.heard_s is None else record.heard_s + seconds,
        )
        self.times = {number: at_s + seconds for number, at_s in self.times.items()}
        self.collector.on_clock_set(seconds, self.record.plan, list(self.times.values()))

    def leave_the_future(self) -> None:
        """Bring back a plan that begins later than now (blocking): it was made by a clock that was ahead."""
        ahead_s = self.record.plan.start_s - self._clock()
        if ahead_s > BEFORE_S:
            self.on_clock_set(-ahead_s)

    def change_stage(self, stage: StageCard, state: StageState, reason: str) -> None:
        """Let a stage be in a state, for a reason (blocking); nothing is written where that is known."""
        now_s = self.now_s
        changed = stage.model_copy(
            update={
                "state": state,
                "reason": reason,
                "since_s": stage.since_s if stage.state == state else now_s,
                "used_s": now_s if state == "active" and stage.used_s is None else stage.used_s,
            }
        )
        if changed != stage:
            self.keep_record(stages=[changed if one.stage == stage.stage else one for one in self.record.stages])

    def use_stage(self, stage: StageCard, reason: str) -> None:
        """Let a stage be the one that judges, in place of another (blocking)."""
        for one in self.record.stages:
            if one.state == "active" and one.stage != stage.stage:
                self.change_stage(one, "replaced", f"version {stage.version} took its place")
        self.change_stage(stage, "active", reason)

    def save(self, minutes: Sequence[CollectedMinute]) -> None:
        """Keep minutes of the collector, each durably before the next (blocking).

        Raises:
            StateUnusable: the disk does not take one; it stays in memory and is tried again.
        """
        for minute in minutes:
            write_minute(self._folder, self.record, minute)
            progress = self.progress
            alarmed = self.alarm_s is not None and minute.at_s < self.alarm_s
            self.keep_record(
                last_number=minute.number,
                float_scale=self.collector.float_scale,
                heard_s=progress.heard_s,
                rejected_s=progress.rejected_s,
                rejected=dict(progress.rejected),
                alarmed=[*self.record.alarmed, *([minute.number] if alarmed else [])],
                odd=[*self.record.odd, *([alarm_card(self.record, self._folder, minute)] if alarmed else [])],
            )
            self.times[minute.number] = minute.at_s
            self.collector.release(minute)

    def keep_odd(self, number: int) -> None:
        """Let an odd minute count as normal from now on (blocking). Raises :class:`StateUnusable`."""
        odd = [card for card in self.record.odd if card.number != number]
        self.keep_record(odd=odd, kept=[*self.record.kept, number])

    def drop(self, number: int, reason: str) -> None:
        """Throw a minute out, with its sound, for a reason (blocking). Raises :class:`StateUnusable`."""
        lost = LostMinute(number=number, reason=reason)
        odd = [card for card in self.record.odd if card.number != number]
        self.keep_record(odd=odd, lost=[*self.record.lost, lost])
        self._folder.drop_minute(self.machine_id, number)
        self.lose([lost])

    def lose(self, lost: list[LostMinute]) -> None:
        """Count minutes no more; their files are gone."""
        for one in lost:
            at_s = self.times.pop(one.number, None)
            if at_s is not None:
                self.collector.forget(at_s)

    def _state(self) -> tuple[int, int]:
        return len(self.times), len(self.record.kept) + len(self.record.lost)


def _float_scale(record: CommissioningRecord, model: LoadedModel) -> float | None:
    """Return the factor for float samples: that of the minutes that there are, else that of the machine's own model."""
    own = model.bundle.calibration.float_scale
    if record.float_scale is None and record.from_machine == record.machine_id and own != 1.0:
        return own
    return record.float_scale
