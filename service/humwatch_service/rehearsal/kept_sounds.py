"""Sound of a machine that a service has kept: of alarms with what operators found, normal, of alarms of candidates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from humwatch_service.errors import EvidenceGone, NormalSoundNotFound
from humwatch_service.rehearsal.backtest_report import SoundKind
from humwatch_service.shadow.scores import spans_in_use
from humwatch_service.shadow.sound_paths import sound_of_alarm, sound_of_candidate
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.storage.alarm_pages import every_alarm
from humwatch_service.storage.records import Verdict
from humwatch_service.storage.second_series import SecondSeries
from humwatch_service.storage.shadow_rows import Span
from humwatch_service.storage.state_folder import StateFolder

SHORTEST_S: Final = 30.0
"""Sound that is played of a recording at least, again and again if it is shorter: a clip, and the delay of a rule."""


@dataclass(frozen=True)
class SoundPiece:
    """A recording to play.

    Attributes:
        kind: where it is from.
        path: file.
        at_s: wall clock when it was heard, about, seconds since 1970; None where it is not known.
        alarm_id: alarm whose sound it is.
        verdict: what an operator found about that alarm.
        listen: path of the sound over HTTP.
    """

    kind: SoundKind
    path: Path
    at_s: float | None = None
    alarm_id: str | None = None
    verdict: Verdict | None = None
    listen: str | None = None


@dataclass(frozen=True)
class KeptHistory:
    """Scores of the history, and the alarms of the time.

    Attributes:
        seconds: seconds in which one of the versions was in use.
        alarms: alarms that the machine had then.
    """

    seconds: SecondSeries
    alarms: Sequence[KnownAlarm] = ()


@dataclass(frozen=True)
class KnownAlarm:
    """An alarm that the machine had.

    Attributes:
        alarm_id: its id.
        raised_s: when it was raised, seconds since 1970.
        verdict: what an operator found about it.
    """

    alarm_id: str
    raised_s: float
    verdict: Verdict | None


def known_alarms(state: StateFolder, machine_id: str, *, since_s: float) -> list[KnownAlarm]:
    """Return the alarms that a machine had since a time, the newest first. Raises :class:`StateUnusable`."""
    return [
        KnownAlarm(alarm.id, alarm.raised_s, None if alarm.feedback is None else alarm.feedback.verdict)
        for alarm in every_alarm(state.store, machine_id=machine_id, since_s=since_s)
    ]


def kept_sounds(state: StateFolder, machine_id: str, *, since_s: float) -> list[SoundPiece]:
    """Return the kept sound of a machine since a time, the newest of each kind first.

    Raises:
        StateUnusable: the database cannot be read.
    """
    alarms = known_alarms(state, machine_id, since_s=since_s)
    pieces = [*_of_alarms(state, alarms), *_normal(state, machine_id), *_of_candidates(state, machine_id)]
    return [piece for piece in pieces if piece.at_s is None or piece.at_s >= since_s]


def kept_history(
    state: StateFolder, machine_id: str, versions: Collection[str], *, in_use: str | None, since_s: float
) -> KeptHistory:
    """Return the scores since a time of when one of some versions was in use, with the alarms.

    Raises:
        StateUnusable: the database cannot be read.
    """
    rows = state.store.shadows
    changes = rows.version_changes(machine_id)
    spans = [
        Span(max(span.start_s, since_s), span.end_s)
        for version in sorted(versions)
        for span in spans_in_use(changes, version, in_use=in_use)
        if span.end_s > since_s
    ]
    seconds = rows.seconds_in_use(machine_id, spans)
    return KeptHistory(seconds, known_alarms(state, machine_id, since_s=since_s))


def at_most(pieces: Sequence[SoundPiece], max_s: float) -> tuple[list[SoundPiece], list[str]]:
    """Return the first pieces, as many as last so long together, and a note about the others.

    Raises:
        AudioError, FileUnreadable: one cannot be read.
    """
    chosen: list[SoundPiece] = []
    left_s = max_s
    for piece in pieces:
        left_s -= max(SHORTEST_S, RecordingSequence([piece.path]).duration_s)
        if left_s < 0:
            note = f"{len(pieces) - len(chosen)} older sounds were not played: {max_s / 60:.0f} minutes are at most"
            return chosen, [note]
        chosen.append(piece)
    return chosen, []


def _of_alarms(state: StateFolder, alarms: list[KnownAlarm]) -> Iterator[SoundPiece]:
    for alarm in alarms:
        try:
            path = state.evidence.clip_path(alarm.alarm_id)
        except EvidenceGone:
            continue
        listen = sound_of_alarm(alarm.alarm_id)
        yield SoundPiece("alarm", path, alarm.raised_s, alarm.alarm_id, alarm.verdict, listen)


def _normal(state: StateFolder, machine_id: str) -> Iterator[SoundPiece]:
    try:
        path = state.normal_sounds.path(machine_id)
    except NormalSoundNotFound:
        return
    yield SoundPiece("normal", path, path.stat().st_mtime)


def _of_candidates(state: StateFolder, machine_id: str) -> Iterator[SoundPiece]:
    for name in reversed(state.shadow_sounds.names(machine_id)):
        listen = sound_of_candidate(machine_id, name)
        path = state.shadow_sounds.path(machine_id, name)
        yield SoundPiece("shadow", path, int(name.partition("-")[2]) / 1000, listen=listen)
