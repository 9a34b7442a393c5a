"""Report of a backtest: two versions over the same sound."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field

from humwatch.alarm.rule import AlarmRule
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch_service.rehearsal.report import ClipsOver, ReportPart
from humwatch_service.shadow.matching import By
from humwatch_service.storage.records import Verdict

SoundKind = Literal["recording", "alarm", "normal", "shadow", "history"]
"""Where sound is from: a file that was named, the evidence of an alarm, kept normal sound, an alarm of a candidate
alone; or no sound, but the scores of the history."""
SOUND_KINDS: Final[tuple[SoundKind, ...]] = get_args(SoundKind)


class BacktestSide(ReportPart):
    """One of the two versions."""

    version: str
    rule: AlarmRule = Field(description="by which its scores became alarms")
    alarms: int = Field(description="alarms that it would have raised")
    clips_over: ClipsOver = Field(description="clips over the alarm level, without the sound of alarms that were right")
    expected: FalseAlarmRate | None = Field(
        description="false alarms a week to expect under the rule, by normal live sound; null: not estimated"
    )


class PlayedSound(ReportPart):
    """Sound of one kind."""

    kind: SoundKind
    pieces: int = Field(description="files, each played on its own; of the history one")
    distinct_s: float = Field(description="length of the sound, seconds")
    played_s: float = Field(description="with what was played again because it is short, seconds")


class BacktestEpisode(ReportPart):
    """Alarms of the two versions that are about the same, or an alarm of one of them."""

    by: By = Field(description="`both`, only the `old` version, only the `new` one")
    kind: SoundKind
    file: str = Field(description="that was heard when the first of them was raised; of the history `history`")
    start_s: float = Field(description="when that was, seconds of sound since the beginning of the file")
    end_s: float | None = Field(description="when the last of them ended; null: it was in force at the end")
    at_s: float | None = Field(description="when the sound was heard, about, seconds since 1970 (UTC); null: not known")
    peak_old: float | None = Field(description="highest score of the old version meanwhile; null: none")
    peak_new: float | None = Field(description="highest score of the new version meanwhile; null: none")
    alarm_id: str | None = Field(description="alarm whose sound or time it is; null: none")
    verdict: Verdict | None = Field(description="what an operator found about that alarm; null: nobody said")
    listen: str | None = Field(description="path of the sound over HTTP; null where it is a file, or not kept")


class VerdictCounts(ReportPart):
    """What becomes of the alarms that the machine had: kept, where the new version raises them as well."""

    true_kept: int = Field(description="right alarms that the new version raises, too")
    true_lost: int = Field(description="right alarms that it does not raise")
    false_kept: int = Field(description="false alarms that it raises, too")
    false_removed: int = Field(description="false alarms that it does not raise")
    false_added: int = Field(description="alarms that it alone raises on kept normal sound")
    undecided: int = Field(
        description="alarms whose kept sound ends while the score is over the level, before the new rule has decided"
    )
    unjudged_kept: int = Field(description="alarms without a verdict, or unsure, that it raises, too")
    unjudged_lost: int = Field(description="alarms without a verdict, or unsure, that it does not raise")


class Backtest(ReportPart):
    """Result of a backtest."""

    machine_id: str
    old: BacktestSide
    new: BacktestSide
    heard: tuple[PlayedSound, ...]
    alarms_both: int = Field(description="alarms that both raised")
    alarms_only_old: int = Field(description="alarms that only the old version raised")
    alarms_only_new: int = Field(description="alarms that only the new version raised")
    verdicts: VerdictCounts
    episodes: tuple[BacktestEpisode, ...] = Field(description="those alarms, 500 at most, in the order they were heard")
    notes: tuple[str, ...] = Field(description="what was not played, and why")
