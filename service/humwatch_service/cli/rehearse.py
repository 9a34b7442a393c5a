"""``humwatch rehearse``: what a rule would have raised, before anybody trusts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.repository import ModelRepository
from humwatch.live.model import LiveModel
from humwatch_service.cli.client_options import ChannelOption
from humwatch_service.cli.console import (
    JsonOption,
    ModelsOption,
    configuration,
    failures,
    machine_and_version,
    progress_bar,
    say,
    show,
    table_text,
)
from humwatch_service.cli.given import recordings_said
from humwatch_service.config.settings import Settings
from humwatch_service.errors import RequestInvalid
from humwatch_service.inference.caching import CachedPredictor
from humwatch_service.models.registry import load_model
from humwatch_service.rehearsal.rehearsal import duration_s, rehearse
from humwatch_service.rehearsal.report import ClipsOver, Episode, Insertion, Rate, Rehearsal
from humwatch_service.sources.looped import LoopedRecording

HOUR_S: Final = 3_600.0
SHOWN: Final = 20
"""Alarms that are printed, and warnings; --json has all of them."""


def rehearse_recordings(
    files: Annotated[list[Path], typer.Argument(help="Recordings of normal sound, or folders of them.")],
    machine: Annotated[str, typer.Option(help="Whose model and rule: MACHINE or MACHINE@VERSION.")],
    hours: Annotated[
        float | None, typer.Option(min=0.001, max=10_000.0, help="Sound to hear, looped, hours; default: once.")
    ] = None,
    insert: Annotated[
        list[Path] | None,
        typer.Option(help="Recording of a fault, or a folder of them; each is heard for 30 s in the loop."),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Change the rule, e.g. on_delay_s=10; may be repeated.")
    ] = None,
    channel: ChannelOption = None,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play recordings through a machine's model and alarm rule, without a server. Exits with 0 for alarms too."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        model = _model(settings, machine)
        manifest = model.bundle.manifest
        changed = changed_rule(settings.machine(manifest.machine_id).alarm, rule or [])
        loop = LoopedRecording(recordings_said(files), channel=channel, default_channel=manifest.channel)
        inserted = [_insert(path, loop, channel, manifest.channel) for path in recordings_said(insert or [])]
        heard_s = loop.duration_s if hours is None else hours * HOUR_S
        use_level = settings.machine(manifest.machine_id).run_state == "level"
        total_s = round(duration_s(model, changed, heard_s, len(inserted)))
        with progress_bar("rehearsing, seconds of sound", total_s) as progress:
            rehearsal = rehearse(
                model,
                changed,
                loop,
                heard_s=heard_s,
                inserted=inserted,
                use_level=use_level,
                on_played=lambda seconds: progress.advance(progress.task_ids[0], seconds),
            )
    show(json.loads(rehearsal.model_dump_json()), _text(rehearsal), as_json=as_json)
    if rehearsal.distinct_s < rehearsal.heard_s:
        say(f"warning: {rehearsal.distinct_s:.0f} s of sound were heard again and again; the intervals count them once")


def changed_rule(rule: AlarmRule, changes: list[str]) -> AlarmRule:
    """Return a rule with some parameters as ``name=value`` gives them. Raises :class:`typer.BadParameter`."""
    values: dict[str, object] = rule.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in AlarmRule.model_fields:
            known = ", ".join(AlarmRule.model_fields)
            raise typer.BadParameter(f"{change!r} is not NAME=VALUE with one of {known}", param_hint="--rule")
        values[name] = value
    try:
        return AlarmRule.model_validate(values)
    except ValidationError as error:
        parts = [".".join(str(part) for part in e["loc"]) + ": " + e["msg"] for e in error.errors()]
        raise typer.BadParameter("; ".join(part.removeprefix(": ") for part in parts), param_hint="--rule") from error


def _model(settings: Settings, machine: str) -> LiveModel:
    machine_id, version = machine_and_version(machine)
    loaded = load_model(
        ModelRepository(settings.models_dir),
        machine_id,
        version,
        providers=settings.provider_names,
        threads=settings.predictor_threads,
    )
    return LiveModel(loaded.bundle, CachedPredictor(loaded.predictor))


def _insert(path: Path, loop: LoopedRecording, channel: int | None, default_channel: int) -> LoopedRecording:
    inserted = LoopedRecording([path], channel=channel, default_channel=default_channel)
    if inserted.rate_hz != loop.rate_hz:
        raise RequestInvalid(f"{path} has {inserted.rate_hz} Hz, the loop that it is put into {loop.rate_hz} Hz")
    return inserted


def _text(rehearsal: Rehearsal) -> str:
    rule = ", ".join(f"{name}={value}" for name, value in rehearsal.rule.model_dump().items())
    head = f"{rehearsal.machine_id}, model version {rehearsal.version}, {_duration(rehearsal.heard_s)} of sound"
    rates = [_rated("alarms", rehearsal.alarm_rate), _rated("warnings besides", rehearsal.warning_rate)]
    shares = [(state, f"{share:.3%}") for state, share in rehearsal.states.items()]
    faults = [(code, f"{share:.3%}") for code, share in rehearsal.faults.items()]
    parts = [
        f"{head}\nrule: {rule}",
        table_text(("", "number", "a day", "90 % interval"), rates),
        _clips_over(rehearsal.clips_over),
        table_text(("state", "share of the time"), shares),
        table_text(("fault of the sound", "named for"), faults) if faults else "",
        _episodes("alarm", rehearsal.alarms),
        _episodes("warning", rehearsal.warnings),
        _insertions(rehearsal.insertions),
    ]
    return "\n\n".join(part for part in parts if part)


def _rated(what: str, rate: Rate) -> tuple[str, str, str, str]:
    return what, str(rate.count), f"{rate.a_day:.1f}", f"{rate.low_a_day:.1f} to {rate.high_a_day:.1f}"


def _clips_over(clips: ClipsOver) -> str:
    heard = "no score" if clips.heard is None else f"{clips.heard:.0f} a day"
    promise = "" if clips.promised else ", not promised"
    return (
        f"clips over the alarm level: {heard} here, {clips.expected:.0f} a day expected by the model"
        f" ({clips.low:.0f} to {clips.high:.0f}{promise})"
    )


def _episodes(what: str, episodes: Sequence[Episode]) -> str:
    if not episodes:
        return ""
    rows = [
        (
            _duration(episode.start_s),
            "" if episode.end_s is None else _duration(episode.end_s),
            f"{episode.peak_score:.2f}",
            f"{episode.file} at {episode.file_s:.1f} s",
        )
        for episode in episodes[:SHOWN]
    ]
    more = f"\n{len(episodes) - SHOWN} more are in the answer of --json" if len(episodes) > SHOWN else ""
    return table_text((f"{what} from", "to", "peak score", "heard then"), rows) + more


def _insertions(insertions: Sequence[Insertion]) -> str:
    if not insertions:
        return ""
    rows = [
        (
            insertion.file,
            insertion.outcome,
            "" if insertion.after_s is None else f"{insertion.after_s:.1f} s",
            "" if insertion.peak_score is None else f"{insertion.peak_score:.2f}",
        )
        for insertion in insertions
    ]
    detected = sum(insertion.outcome == "detected" for insertion in insertions)
    text = table_text(("inserted for 30 s", "outcome", "alarm after", "peak score"), rows)
    return f"{text}\n{detected} of {len(insertions)} detected"


def _duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, left = divmod(round(seconds, 1), 60)
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{left:04.1f}"
