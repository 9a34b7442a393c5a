"""Report of a candidate: what it would have raised beside the version in use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.rule import AlarmRule
from humwatch.false_alarms.decision import FalseAlarmRate
from humwatch_service.shadow.candidate import Candidate
from humwatch_service.shadow.comparison import Episode
from humwatch_service.shadow.matching import By
from humwatch_service.shadow.sound_paths import sound_of_alarm, sound_of_candidate


class ShadowEpisode(BaseModel):
    """Alarms of the two versions that are about the same, or an alarm of one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: float = Field(description="when the first of them was raised, seconds since 1970 (UTC)")
    end_s: float | None = Field(description="when the last of them ended; null: it is in force")
    by: By = Field(description="which version raised it: `both`, only the `old` one in use, only the `new` candidate")
    peak_old: float | None = Field(description="highest score of the version in use meanwhile; null: none")
    peak_new: float | None = Field(description="highest score of the candidate meanwhile; null: none")
    alarm_id: str | None = Field(description="first alarm of the version in use; null where it raised none")
    sound: bool = Field(description="whether the sound was kept when the candidate raised it alone")
    listen: str | None = Field(
        description="path of the sound over HTTP, FLAC: of the alarm's evidence, or of the candidate's own; null: none"
    )


class ShadowReport(BaseModel):
    """A candidate beside the version in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine_id: str = Field(description="id of the machine")
    version: str = Field(description="the candidate")
    in_use: str = Field(description="version that it is compared with")
    rule: AlarmRule = Field(description="by which the candidate's scores become alarms")
    started_s: float = Field(description="when it was started, seconds since 1970 (UTC)")
    who: str = Field(description="who started it")
    why: str = Field(description="the reason")
    running: bool = Field(description="whether it hears the stream; false once it failed or was stopped")
    failure: str | None = Field(description="why it failed; null where it did not. The version in use is not touched")
    heard_s: float = Field(description="sound that it scored, seconds")
    alarms_both: int = Field(description="alarms that both raised")
    alarms_only_old: int = Field(description="alarms that only the version in use raised")
    alarms_only_new: int = Field(description="alarms that only the candidate would have raised")
    episodes: tuple[ShadowEpisode, ...] = Field(description="those alarms, the newest first, 100 at most")
    expected: FalseAlarmRate | None = Field(
        description="false alarms a week to expect of it, by the scores that it gave here; null: not estimated yet"
    )


def report_of(candidate: Candidate) -> ShadowReport:
    """Return the report of a candidate as it is now."""
    with candidate.lock:
        state, totals = candidate.state, candidate.comparison.totals()
        return ShadowReport(
            machine_id=candidate.machine_id,
            version=state.version,
            in_use=state.in_use,
            rule=state.rule,
            started_s=state.started_s,
            who=state.who,
            why=state.why,
            running=candidate.running,
            failure=state.failure,
            heard_s=state.heard_s,
            alarms_both=totals["both"],
            alarms_only_old=totals["old"],
            alarms_only_new=totals["new"],
            episodes=tuple(_episode(candidate.machine_id, each) for each in candidate.comparison.episodes()),
            expected=state.expected,
        )


def _episode(machine_id: str, episode: Episode) -> ShadowEpisode:
    listen = None
    if episode.alarm_id is not None:
        listen = sound_of_alarm(episode.alarm_id)
    elif episode.sound is not None:
        listen = sound_of_candidate(machine_id, episode.sound)
    return ShadowEpisode(
        start_s=episode.start_s,
        end_s=episode.end_s,
        by=episode.by,
        peak_old=episode.peak_old,
        peak_new=episode.peak_new,
        alarm_id=episode.alarm_id,
        sound=episode.sound is not None,
        listen=listen,
    )
