"""Backtest: the alarms that two versions would have raised on the same sound, and which of them are the same.

Each recording is played on its own through the objects that follow a microphone, once through each version. Where the
two give the same scores and only what follows from them differs, the scores of the history are played as well.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from humwatch.alarm.events import Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.trackers import ALARM_LEVEL
from humwatch.bundle.manifest import Manifest
from humwatch.false_alarms.decision import FalseAlarmRate, decision_under
from humwatch.live.model import LiveModel
from humwatch_service.errors import NothingToPlay
from humwatch_service.rehearsal.backtest_report import (
    SOUND_KINDS,
    Backtest,
    BacktestEpisode,
    BacktestSide,
    PlayedSound,
    SoundKind,
    VerdictCounts,
)
from humwatch_service.rehearsal.history_replay import replay
from humwatch_service.rehearsal.kept_sounds import SHORTEST_S, KeptHistory, SoundPiece
from humwatch_service.rehearsal.player import RehearsalPlayer
from humwatch_service.rehearsal.rehearsal import clips_over
from humwatch_service.shadow.matching import SLACK_S, Interval, match
from humwatch_service.shadow.sound_paths import sound_of_alarm
from humwatch_service.sources.looped import LoopedRecording

MAX_EPISODES: Final = 500

Scores = list[tuple[float, float]]
"""Times, and scores at them."""


@dataclass(frozen=True)
class Contender:
    """One of the versions that are compared.

    Attributes:
        model: its model.
        rule: rule by which its scores become alarms.
        expected: false alarms a week to expect of it; None for what its manifest says.
    """

    model: LiveModel
    rule: AlarmRule
    expected: FalseAlarmRate | None = None

    @property
    def manifest(self) -> Manifest:
        """Manifest of the model."""
        return self.model.bundle.manifest


@dataclass
class _Heard:
    """What one version made of one piece: intervals of alarms and scores, in seconds of the piece."""

    alarms: list[Interval]
    scores: Scores

    @property
    def ends_undecided(self) -> bool:
        """True if the sound ends over the level before the rule has raised an alarm."""
        return not self.alarms and bool(self.scores) and self.scores[-1][1] >= ALARM_LEVEL

    def peak(self, start_s: float, end_s: float) -> float | None:
        return max((score for at_s, score in self.scores if start_s <= at_s <= end_s), default=None)


@dataclass
class _Tally:
    """What is added up over all pieces."""

    episodes: list[BacktestEpisode] = field(default_factory=list)
    played: dict[SoundKind, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    alarms: dict[str, int] = field(default_factory=lambda: {"old": 0, "new": 0})
    scored: dict[str, list[int]] = field(default_factory=lambda: {"old": [0, 0], "new": [0, 0]})
    verdicts: dict[str, tuple[str | None, bool | None]] = field(default_factory=dict)


def same_scores(old: Manifest, new: Manifest) -> bool:
    """Return whether two versions give the same normalised scores to the same sound."""
    return all(getattr(old, name) == getattr(new, name) for name in ("files", "pipeline", "clip", "channel"))


def backtest(
    old: Contender,
    new: Contender,
    pieces: Sequence[SoundPiece],
    *,
    history: KeptHistory | None = None,
    channel: int | None = None,
    use_level: bool = True,
    notes: Sequence[str] = (),
    on_played: Callable[[float], None] = lambda seconds: None,
) -> Backtest:
    """Play sound through two versions.

    Args:
        old: version in use, or another to compare with.
        new: version that may be used.
        pieces: recordings, each of which is played on its own.
        history: scores of the history; played where both versions give the same scores.
        channel: channel to take, from 0; None for those of the models.
        use_level: whether the level tells if the machine runs.
        notes: notes for the report.
        on_played: called with the seconds that were played, of each version; what it raises ends the backtest.

    Raises:
        NothingToPlay: there is neither a recording nor a history that can be played.
        AudioError, FileUnreadable: a recording cannot be decoded to its end.
        PredictorError: a graph cannot be run.
    """
    said = list(notes)
    tally = _Tally()
    for piece in pieces:
        heard = {}
        for side, contender in (("old", old), ("new", new)):
            loop = LoopedRecording([piece.path], channel=channel, default_channel=contender.manifest.channel)
            heard[side] = _played(contender, loop, use_level=use_level, on_played=on_played)
        _add(tally, piece, heard["old"], heard["new"])
        tally.played[piece.kind].append((loop.duration_s, max(loop.duration_s, SHORTEST_S)))
    if history is not None and len(history.seconds):
        if same_scores(old.manifest, new.manifest):
            _add_history(tally, history, old, new, on_played)
        else:
            said.append(
                f"the history was not played: versions {old.manifest.version} and {new.manifest.version} give other"
                " scores to the same sound, and of the history only the scores are kept"
            )
    if not tally.played:
        raise NothingToPlay(
            "; ".join(["there is no sound to play: nothing of the machine is kept, and no recording was given", *said])
        )
    return _report(tally, old, new, said)


def _played(
    contender: Contender, loop: LoopedRecording, *, use_level: bool, on_played: Callable[[float], None]
) -> _Heard:
    scores: Scores = []

    def keep(observation: Observation) -> None:
        if observation.score is not None:
            scores.append((observation.at_s, observation.score))

    player = RehearsalPlayer(
        contender.model, contender.rule, loop, use_level=use_level, on_played=on_played, on_score=keep
    )
    player.play(loop.between(0, round(max(loop.duration_s, SHORTEST_S) * loop.rate_hz)))
    player.finish()
    intervals = [Interval(alarm.start_s, math.inf if alarm.end_s is None else alarm.end_s) for alarm in player.alarms]
    return _Heard(intervals, scores)


def _add(tally: _Tally, piece: SoundPiece, old: _Heard, new: _Heard) -> None:
    for side, heard in (("old", old), ("new", new)):
        tally.alarms[side] += len(heard.alarms)
        if piece.verdict != "true_alarm":
            _measure(tally.scored[side], [score for _, score in heard.scores])
    for found in match(old.alarms, new.alarms):
        start_s, end_s = found.interval(old.alarms, new.alarms)
        tally.episodes.append(
            BacktestEpisode(
                by=found.by,
                kind=piece.kind,
                file=str(piece.path),
                start_s=start_s,
                end_s=None if math.isinf(end_s) else end_s,
                at_s=piece.at_s,
                peak_old=old.peak(start_s, end_s),
                peak_new=new.peak(start_s, end_s),
                alarm_id=piece.alarm_id,
                verdict=piece.verdict,
                listen=piece.listen,
            )
        )
    if piece.alarm_id is not None:
        _judge(tally, piece.alarm_id, piece.verdict, kept=None if new.ends_undecided else bool(new.alarms))


def _add_history(
    tally: _Tally, history: KeptHistory, old: Contender, new: Contender, on_played: Callable[[float], None]
) -> None:
    seconds = history.seconds
    heard = {
        side: replay(contender.model, contender.rule, seconds, on_played)
        for side, contender in (("old", old), ("new", new))
    }
    for side, alarms in heard.items():
        tally.alarms[side] += len(alarms)
        _measure(tally.scored[side], seconds.scores[seconds.judged()].tolist())
    scored = seconds.only(seconds.judged())
    kept = set()
    for found in match(heard["old"], heard["new"]):
        start_s, end_s = found.interval(heard["old"], heard["new"])
        inside = scored.scores[scored.between(start_s - 1.0, end_s + 1.0)]
        peak = float(inside.max()) if len(inside) else None
        alarm = next((each for each in history.alarms if start_s - SLACK_S <= each.raised_s <= end_s + SLACK_S), None)
        if alarm is not None and found.new:
            kept.add(alarm.alarm_id)
        tally.episodes.append(
            BacktestEpisode(
                by=found.by,
                kind="history",
                file="history",
                start_s=start_s - float(seconds.at_s[0]),
                end_s=None if math.isinf(end_s) else end_s - float(seconds.at_s[0]),
                at_s=start_s,
                peak_old=peak,
                peak_new=peak,
                alarm_id=None if alarm is None else alarm.alarm_id,
                verdict=None if alarm is None else alarm.verdict,
                listen=None if alarm is None else sound_of_alarm(alarm.alarm_id),
            )
        )
    for alarm in history.alarms:
        if scored.between(alarm.raised_s - 1.0, alarm.raised_s + 1.0).any():
            _judge(tally, alarm.alarm_id, alarm.verdict, kept=alarm.alarm_id in kept)
    tally.played["history"].append((float(len(seconds)), float(len(seconds))))


def _measure(scored: list[int], scores: Sequence[float]) -> None:
    scored[0] += len(scores)
    scored[1] += int(np.count_nonzero(np.asarray(scores) >= ALARM_LEVEL))


def _judge(tally: _Tally, alarm_id: str, verdict: str | None, *, kept: bool | None) -> None:
    """Note whether an alarm is raised again, by its sound or by the history; None: its sound is too short to say."""
    before = tally.verdicts.get(alarm_id, (verdict, None))[1]
    tally.verdicts[alarm_id] = (verdict, before if kept is None else bool(before) or kept)


def _report(tally: _Tally, old: Contender, new: Contender, notes: list[str]) -> Backtest:
    by = [episode.by for episode in tally.episodes]
    if len(by) > MAX_EPISODES:
        notes = [*notes, f"{len(by) - MAX_EPISODES} more alarms are counted and not listed"]
    return Backtest(
        machine_id=new.manifest.machine_id,
        old=_side(old, tally.alarms["old"], tally.scored["old"]),
        new=_side(new, tally.alarms["new"], tally.scored["new"]),
        heard=tuple(
            PlayedSound(
                kind=kind,
                pieces=len(tally.played[kind]),
                distinct_s=sum(distinct_s for distinct_s, _ in tally.played[kind]),
                played_s=sum(played_s for _, played_s in tally.played[kind]),
            )
            for kind in SOUND_KINDS
            if kind in tally.played
        ),
        alarms_both=by.count("both"),
        alarms_only_old=by.count("old"),
        alarms_only_new=by.count("new"),
        verdicts=_verdicts(tally),
        episodes=tuple(tally.episodes[:MAX_EPISODES]),
        notes=tuple(notes),
    )


def _side(contender: Contender, alarms: int, scored: list[int]) -> BacktestSide:
    decision = decision_under(contender.rule, contender.manifest.decision)
    return BacktestSide(
        version=contender.manifest.version,
        rule=contender.rule,
        alarms=alarms,
        clips_over=clips_over(contender.model, scored[1] / scored[0] if scored[0] else None),
        expected=contender.expected or (None if decision is None else decision.rate),
    )


def _verdicts(tally: _Tally) -> VerdictCounts:
    counts = dict.fromkeys(VerdictCounts.model_fields, 0)
    for verdict, kept in tally.verdicts.values():
        if kept is None:
            counts["undecided"] += 1
        elif verdict == "true_alarm":
            counts["true_kept" if kept else "true_lost"] += 1
        elif verdict == "false_alarm":
            counts["false_kept" if kept else "false_removed"] += 1
        else:
            counts["unjudged_kept" if kept else "unjudged_lost"] += 1
    counts["false_added"] = sum(episode.by == "new" and episode.kind == "normal" for episode in tally.episodes)
    return VerdictCounts(**counts)
