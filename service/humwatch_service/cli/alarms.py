"""``humwatch alarms``: what was raised and what people said of it, read from the state folder beside the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from humwatch_service.cli.console import JsonOption, configuration, failures, say, show, table_text
from humwatch_service.config.settings import Settings
from humwatch_service.errors import StateUnusable
from humwatch_service.protocol.detections import DETECTOR_TITLES, explanation_text
from humwatch_service.storage.evidence import EvidenceFolder
from humwatch_service.storage.export import DatasetSource
from humwatch_service.storage.records import AlarmContext, AlarmRecord, EventRecord
from humwatch_service.storage.sounds.kept_sounds import KeptSounds
from humwatch_service.storage.store import StateStore

app = typer.Typer(help="Alarms: what was raised, why, and what people said of it.", no_args_is_help=True)

DAY_S: Final = 86_400.0
EVENTS: Final = 500
"""Newest lines of an alarm's audit trail that are shown."""

StateOption = Annotated[Path | None, typer.Option("--state", help="The service's state folder; else its setting.")]


@app.command("list")
def list_alarms(
    machine: Annotated[str | None, typer.Option(help="Of this machine only.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Closed ones too; else active or not acknowledged.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most alarms to list.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Go on from `next_before` of the list before.")] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alarms that are open, or all, the newest first."""
    with failures(as_json=as_json), _store(_settings(state)) as store:
        page = store.alarms(machine_id=machine, open_only=not every, limit=limit, before=before)
    rows = [_listed(alarm) for alarm in page.alarms]
    headings = (
        "alarm",
        "raised (UTC)",
        "cleared (UTC)",
        "peak score",
        "acknowledged by",
        "verdict",
        "sound",
        "decided by",
    )
    text = table_text(headings, rows) if rows else "no alarm"
    show(page.model_dump(mode="json"), text, as_json=as_json)
    if page.next_before is not None:
        say(f"there are more: --before {page.next_before}")


@app.command("show")
def show_alarm(
    alarm_id: Annotated[str, typer.Argument(help="Id of the alarm, e.g. fan-1-000007.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an alarm: rule and model in force, what stuck out, what people said, and everything that happened to it."""
    with failures(as_json=as_json):
        settings = _settings(state)
        with _store(settings) as store:
            alarm = store.alarm(alarm_id)
            events = store.events(alarm_id=alarm_id, limit=EVENTS).events
    page_url = settings.alarm_page(alarm_id)
    facts = {
        "alarm": alarm.model_dump(mode="json"),
        "page_url": page_url,
        "events": [event.model_dump(mode="json") for event in events],
    }
    page = [] if page_url is None else [("page", page_url)]
    tables = (table_text(("fact", "value"), [*_facts(alarm), *page]), _trail(events))
    show(facts, "\n\n".join(tables), as_json=as_json)


@app.command("export")
def export_alarms(
    folder: Annotated[Path, typer.Argument(help="Folder to write; one that was written before is brought up to date.")],
    machine: Annotated[str | None, typer.Option(help="Of this machine only.")] = None,
    who: Annotated[bool, typer.Option("--who", help="Name in labels.csv who judged each alarm.")] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write kept normal sound and judged alarms, by machine and label, as data to train and to test with."""
    with failures(as_json=as_json):
        settings = _settings(state)
        with _store(settings) as store:
            written = DatasetSource(store, _evidence(settings), _kept(settings), who=who).export(folder, machine)
    text = (
        f"{folder}: recordings of kept normal sound: {written.kept}, of false alarms (normal): {written.normal}, of"
        f" true alarms (abnormal): {written.abnormal}; left out: nobody was sure {written.unsure}, without sound"
        f" {len(written.without_sound)}"
    )
    show(written.model_dump(mode="json"), text, as_json=as_json)


def _settings(state: Path | None) -> Settings:
    given = configuration().settings
    return given if state is None else given.model_copy(update={"state_dir": state})


@contextmanager
def _store(settings: Settings) -> Iterator[StateStore]:
    """Open the database of a service, which may be running; none is made."""
    store = StateStore(settings.state_dir)
    if not store.path.is_file():
        raise StateUnusable(f"{store.path} is not there: no service has kept anything in this folder")
    try:
        yield store
    finally:
        store.close()


def _evidence(settings: Settings) -> EvidenceFolder:
    return EvidenceFolder(
        settings.state_dir / "evidence",
        quota_bytes=settings.evidence_max_bytes,
        retention_s=settings.evidence_days * DAY_S,
    )


def _kept(settings: Settings) -> KeptSounds:
    return KeptSounds(
        settings.state_dir / "normal_kept",
        quota=settings.normal_sounds,
        retention_s=settings.normal_sound_days * DAY_S,
    )


def _listed(alarm: AlarmRecord) -> Sequence[str]:
    return (
        alarm.id,
        _time(alarm.raised_s),
        _time(alarm.cleared_s),
        _score(alarm.peak_score),
        "" if alarm.acknowledged is None else alarm.acknowledged.who,
        "" if alarm.feedback is None else alarm.feedback.verdict,
        alarm.evidence,
        _detector(alarm.context),
    )


def _facts(alarm: AlarmRecord) -> list[tuple[str, str]]:
    facts = {
        "alarm": alarm.id,
        "status": alarm.status + (", only latched" if alarm.over else "") + (", shelved" if alarm.shelved else ""),
        "raised (UTC)": _time(alarm.raised_s),
        "cleared (UTC)": _time(alarm.cleared_s),
        "announced (UTC)": _time(alarm.announced_s),
        "score": f"{_score(alarm.score)}, highest {_score(alarm.peak_score)}",
        "sound": alarm.evidence,
    }
    return [*facts.items(), *_in_force(alarm.context, alarm.raised_s), *_said(alarm)]


def _detector(context: AlarmContext | None) -> str:
    return "" if context is None or context.detector is None else DETECTOR_TITLES[context.detector]


def _origin(context: AlarmContext) -> str:
    return " (0 s: the alarm was raised)" if context.irregular_times else ""


def _in_force(context: AlarmContext | None, raised_s: float) -> list[tuple[str, str]]:
    if context is None:
        return [("model", "what was in force is not known")]
    return [
        ("model", f"version {context.model_version}, {context.model_sha256}"),
        ("rule", ", ".join(f"{name}={value}" for name, value in context.rule.model_dump().items())),
        ("levels", f"warning {context.levels.warn:.3f}, alarm {context.levels.alarm:.3f}"),
        ("raw score", f"{context.raw_score:.4g}; alarm level {context.raw_levels.alarm:.4g}"),
        ("decided by", _detector(context) or "not known"),
        ("what stood out", explanation_text(context, context.bands, start_s=raised_s) + _origin(context)),
        ("doubts", ", ".join(context.reasons)),
    ]


def _said(alarm: AlarmRecord) -> list[tuple[str, str]]:
    mark, feedback = alarm.acknowledged, alarm.feedback
    acknowledged = "by nobody" if mark is None else f"by {mark.who}, {_time(mark.at_s)}: {mark.why}"
    if feedback is None:
        return [("acknowledged", acknowledged), ("verdict", "")]
    return [
        ("acknowledged", acknowledged),
        ("verdict", f"{feedback.verdict}, by {feedback.who}, {_time(feedback.at_s)}"),
        ("cause", feedback.cause),
        ("action", feedback.action),
    ]


def _trail(events: Sequence[EventRecord]) -> str:
    """Return the events as text, the oldest first."""
    rows = [
        (
            _time(event.at_s),
            event.kind,
            event.who or "",
            event.why or ", ".join(f"{name}={value}" for name, value in event.details.items()),
            _score(event.score),
            "told" if event.announced else "",
        )
        for event in reversed(events)
    ]
    return table_text(("at (UTC)", "what", "who", "why", "score", "people"), rows)


def _time(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"
