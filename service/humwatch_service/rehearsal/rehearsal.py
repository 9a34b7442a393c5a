"""Rehearsal of a rule: the alarms that it would have raised on recordings.

They are played through the objects that follow a microphone, as fast as it goes, without a server, a clock or anything
on the disk. An alarm is acknowledged as soon as it is raised, so that one that latches ends, too, and none is announced
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from humwatch.alarm.rule import AlarmRule
from humwatch.live.model import LiveModel
from humwatch_service.rehearsal.player import RehearsalPlayer
from humwatch_service.rehearsal.report import ClipsOver, Insertion, Rehearsal, poisson_rate
from humwatch_service.sources.looped import LoopedRecording

INSERTED_S: Final = 30.0
"""Length of sound that is played of an inserted recording, again and again, seconds."""
LEAD_S: Final = 30.0
"""Sound of the loop that is judged before something is inserted, seconds."""


def duration_s(model: LiveModel, rule: AlarmRule, heard_s: float, insertions: int) -> float:
    """Return the length of sound that a rehearsal plays, seconds."""
    return heard_s + insertions * (_lead_s(model) + INSERTED_S + _tail_s(model, rule))


def rehearse(
    model: LiveModel,
    rule: AlarmRule,
    loop: LoopedRecording,
    *,
    heard_s: float,
    inserted: Sequence[LoopedRecording] = (),
    use_level: bool = True,
    on_played: Callable[[float], None] = lambda seconds: None,
) -> Rehearsal:
    """Play a loop for so long, and then once more, shortly, with each of the recordings that are put into it.

    Args:
        model: model that judges.
        rule: rule by which its scores become alarms.
        loop: loop to play.
        heard_s: length of sound to play of the loop, seconds.
        inserted: recordings to insert, of the loop's rate.
        use_level: whether the level tells if the machine runs.
        on_played: called with the seconds that were played.

    Raises:
        AudioError, FileUnreadable: a recording cannot be decoded to its end.
        PredictorError: the model's graph cannot be run.
    """
    player = RehearsalPlayer(model, rule, loop, use_level=use_level, on_played=on_played)
    player.play(loop.between(0, round(heard_s * loop.rate_hz)))
    player.finish()
    insertions = [
        _inserted(RehearsalPlayer(model, rule, loop, use_level=use_level, on_played=on_played), sound)
        for sound in inserted
    ]
    distinct_s = min(heard_s, loop.duration_s)
    return Rehearsal(
        machine_id=model.bundle.manifest.machine_id,
        version=model.bundle.manifest.version,
        rule=rule,
        heard_s=heard_s,
        distinct_s=distinct_s,
        alarms=tuple(player.alarms),
        warnings=tuple(player.warnings),
        alarm_rate=poisson_rate(len(player.alarms), heard_s=heard_s, distinct_s=distinct_s),
        warning_rate=poisson_rate(len(player.warnings), heard_s=heard_s, distinct_s=distinct_s),
        states=player.state_shares(),
        faults=player.fault_shares(),
        clips_over=clips_over(model, player.share_over()),
        insertions=tuple(insertions),
    )


def _lead_s(model: LiveModel) -> float:
    return LEAD_S + model.clip_seconds


def _tail_s(model: LiveModel, rule: AlarmRule) -> float:
    """Return the seconds until nothing of what was inserted is in a score that counts."""
    return model.clip_seconds + rule.n * model.bundle.manifest.windows.step_seconds


def _inserted(player: RehearsalPlayer, sound: LoopedRecording) -> Insertion:
    loop, model, rule = player.loop, player.model, player.machine.rule
    lead, length, tail = (
        round(seconds * loop.rate_hz) for seconds in (_lead_s(model), INSERTED_S, _tail_s(model, rule))
    )
    player.play(loop.between(0, lead))
    undecided = player.machine.snapshot.active is not None
    player.watched = range(lead, lead + length)
    known = len(player.alarms)
    player.play(sound.between(0, length))
    player.play(loop.between(lead, lead + tail))
    player.finish()
    after = [] if undecided else [alarm.start_s - lead / loop.rate_hz for alarm in player.alarms[known:]]
    return Insertion(
        file=str(sound.paths[0]),
        outcome="undecided" if undecided else "detected" if after else "missed",
        after_s=after[0] if after else None,
        peak_score=player.peak_score,
    )


def clips_over(model: LiveModel, share: float | None) -> ClipsOver:
    """Return the clips over the alarm level in a day, from the share of scores over it; None without a score."""
    alarm = model.bundle.manifest.clip.alarm
    return ClipsOver(
        heard=None if share is None else share * alarm.clips_a_day,
        expected=alarm.false_alarms_a_day,
        low=alarm.rate_low * alarm.clips_a_day,
        high=alarm.rate_high * alarm.clips_a_day,
        promised=alarm.promised,
    )
