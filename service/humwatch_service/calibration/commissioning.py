"""One commissioning that goes on: its record, its collector, and the minutes on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from humwatch.calibration.calibration_buffer import CollectedMinute
from humwatch.calibration.collector import LOOK_BACK_S, CollectorProgress, NormalCollector
from humwatch.calibration.minute_file import pack_minute
from humwatch.calibration.plan import MIN_MINUTES
from humwatch.pipeline import PipelineSpec
from humwatch_service.calibration.acceptance import Verdict
from humwatch_service.calibration.fitting import alarm_card, read_minutes
from humwatch_service.calibration.record import CommissioningRecord, LostMinute, StageCard, StageState
from humwatch_service.models.registry import LoadedModel
from humwatch_service.storage.commissionings import CommissioningFolder
from humwatch_service.storage.evidence import Samples

KEPT_AS_INTEGERS_BITS: Final = 16
SETTLED_S: Final = 2 * LOOK_BACK_S
"""Time after the end of the collecting at which no minute is on its way to the disk any more."""
RETRY_S: Final = 60.0
"""Time after which a version is tried again that could not be made."""


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
        self._rejected_before = record.rejected_s, dict(record.rejected)
        self.collector = NormalCollector(
            pipeline,
            model.predictor,
            plan=record.plan,
            taken=list(self.times.values()),
            last_number=record.last_number,
            heard_s=record.heard_s,
            keep_sound=True,
        )

    @staticmethod
    def resumed(
        record: CommissioningRecord, model: LoadedModel, pipeline: PipelineSpec, folder: CommissioningFolder
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
        return Commissioning(record, model, pipeline, folder, times=times)

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
    def last_stage(self) -> StageCard | None:
        """The stage that was made last; None before the first."""
        return self.record.stages[-1] if self.record.stages else None

    @property
    def waits_for_finish(self) -> bool:
        """Whether the last version is made when an operator asks for it, not by itself."""
        return self.record.plan.kind == "in_a_row" and self.record.accept == "operator"

    def may_fit(self, clock_s: float) -> bool:
        """Return True unless a fit has failed a moment ago, with the minutes that there are."""
        if self._failed is None:
            return True
        state, at_s, _ = self._failed
        return state != self._state() or clock_s - at_s >= RETRY_S

    def fit_failed(self, clock_s: float, reason: str) -> None:
        """Note that no version can be made of these minutes now, and why."""
        self._failed = self._state(), clock_s, reason

    def fit_trouble(self, clock_s: float) -> str | None:
        """Return why a version is not made until it is tried again; None where it may be."""
        return None if self._failed is None or self.may_fit(clock_s) else self._failed[2]

    def plan_over(self, now_s: float) -> bool:
        """Return True if no more minutes come, and there are enough for a version."""
        count = len(self.times)
        end_s = self.record.plan.end_s(count)
        over = end_s is not None and now_s >= end_s + SETTLED_S
        return count >= self.record.plan.minutes or (over and count >= MIN_MINUTES)

    def is_current(self, stage: StageCard) -> bool:
        """Return True if a stage rests on all minutes that there are, but for those that are held back."""
        held = {card.number for card in self.record.odd}
        return set(stage.minute_numbers) == set(self.times) - held

    def keep_record(self, **changes: object) -> None:
        """Change what is known, on the disk first (blocking). Raises :class:`StateUnusable`."""
        record = self.record.model_copy(update=changes)
        self._folder.write_record(self.machine_id, record.model_dump_json().encode())
        self.record = record

    def change_stage(self, stage: StageCard, state: StageState, reason: str, now_s: float) -> None:
        """Let a stage be in a state, for a reason (blocking); nothing is written where that is known."""
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

    def use_stage(self, stage: StageCard, reason: str, now_s: float) -> None:
        """Let a stage be the one that judges, in place of another (blocking)."""
        for one in self.record.stages:
            if one.state == "active" and one.stage != stage.stage:
                self.change_stage(one, "replaced", f"version {stage.version} took its place", now_s)
        self.change_stage(stage, "active", reason, now_s)

    def save(self, minutes: Sequence[CollectedMinute]) -> None:
        """Keep minutes of the collector, each durably before the next (blocking).

        Raises:
            StateUnusable: the disk does not take one; it stays in memory and is tried again.
        """
        for minute in minutes:
            self._folder.write_minute(
                self.machine_id,
                minute.number,
                pack_minute(minute, source=self.record.source),
                _sound_of(minute),
                spare=[self._folder.sound_path_of(self.machine_id, card.number) for card in self.record.odd],
            )
            progress = self.progress
            alarmed = self.alarm_s is not None and minute.at_s < self.alarm_s
            self.keep_record(
                last_number=minute.number,
                heard_s=progress.heard_s,
                rejected_s=progress.rejected_s,
                rejected=dict(progress.rejected),
                alarmed=[*self.record.alarmed, *([minute.number] if alarmed else [])],
                odd=[*self.record.odd, *([alarm_card(self.record, self._folder, minute)] if alarmed else [])],
            )
            self.times[minute.number] = minute.at_s
            self.collector.release(minute)

    def lose(self, lost: list[LostMinute]) -> None:
        """Count minutes no more; their files are gone."""
        for one in lost:
            at_s = self.times.pop(one.number, None)
            if at_s is not None:
                self.collector.forget(at_s)

    def _state(self) -> tuple[int, int]:
        return len(self.times), len(self.record.kept) + len(self.record.lost)


def _sound_of(minute: CollectedMinute) -> tuple[Samples, int] | None:
    """Return the samples of a minute, and their rate; as integers where they came as such."""
    if minute.samples is None or not len(minute.samples):
        return None
    if all(clip.sample_bits <= KEPT_AS_INTEGERS_BITS for clip in minute.clips):
        scaled = np.rint(minute.samples * np.float32(32_768.0))
        return np.clip(scaled, -32_768, 32_767).astype(np.int16), minute.rate_hz
    return minute.samples, minute.rate_hz
