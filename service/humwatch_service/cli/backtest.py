"""``humwatch backtest``: what another version would have raised, before it is used."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.repository import ModelRepository
from humwatch.live.model import LiveModel
from humwatch_service.cli.client_options import ChannelOption
from humwatch_service.cli.console import (
    JsonOption,
    ModelsOption,
    configuration,
    failures,
    progress_bar,
    show,
    table_text,
)
from humwatch_service.cli.given import recordings_said
from humwatch_service.cli.rehearse import changed_rule
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable
from humwatch_service.models.registry import load_model
from humwatch_service.rehearsal.backtest import Contender, backtest
from humwatch_service.rehearsal.backtest_report import Backtest, BacktestEpisode, BacktestSide
from humwatch_service.rehearsal.kept_sounds import SHORTEST_S, KeptHistory, SoundPiece, kept_history, kept_sounds
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.storage.state_folder import StateFolder
from humwatch_service.storage.store import FILE

DAY_S: Final = 86_400.0
SHOWN: Final = 40
"""Alarms that are printed; --json has all of them."""
_BY: Final = {"both": "both", "old": "only old", "new": "only new"}


def backtest_versions(
    machine: Annotated[str, typer.Argument(help="Whose versions and alarm rule.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Recordings, or folders; each is played on its own.")
    ] = None,
    old: Annotated[str | None, typer.Option(help="Version to compare with; default: the one in use.")] = None,
    new: Annotated[str | None, typer.Option(help="Version to try; default: the one in use, for a new rule.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Change the new version's rule, e.g. on_delay_s=10; may be repeated.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="The service's state folder: kept sound and history of the machine are played."),
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=400.0, help="How far back kept sound is played, days.")] = 30.0,
    channel: ChannelOption = None,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play recordings, and what the service has kept, through two versions, and compare their alarms."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        repository = ModelRepository(settings.models_dir)
        in_use = repository.active_version(machine)
        known = settings.machine(machine).alarm
        before = Contender(_model(settings, repository, machine, old or in_use), known)
        after = Contender(_model(settings, repository, machine, new or in_use), changed_rule(known, rule or []))
        pieces = [SoundPiece("recording", path) for path in recordings_said(files or [])]
        history = None
        if state is not None:
            versions = {before.manifest.version, after.manifest.version}
            kept, history = _kept(settings, state, machine, versions, in_use, days)
            pieces += kept
        total_s = 2 * sum(max(SHORTEST_S, RecordingSequence([piece.path]).duration_s) for piece in pieces)
        with progress_bar("playing, seconds of sound", round(total_s)) as progress:
            result = backtest(
                before,
                after,
                pieces,
                history=history,
                channel=channel,
                use_level=settings.machine(machine).run_state == "level",
                on_played=lambda seconds: progress.advance(progress.task_ids[0], seconds),
            )
    show(json.loads(result.model_dump_json()), text_of(result), as_json=as_json)


def _model(settings: Settings, repository: ModelRepository, machine_id: str, version: str) -> LiveModel:
    loaded = load_model(
        repository, machine_id, version, providers=settings.provider_names, threads=settings.predictor_threads
    )
    return LiveModel(loaded.bundle, loaded.predictor)


def _kept(
    settings: Settings, folder: Path, machine_id: str, versions: set[str], in_use: str, days: float
) -> tuple[list[SoundPiece], KeptHistory]:
    if not (folder / FILE).is_file():
        raise FileUnreadable(f"{folder} is no state folder: it has no {FILE}")
    since_s = time.time() - days * DAY_S
    state = StateFolder(
        folder,
        evidence_max_bytes=settings.evidence_max_bytes,
        evidence_s=settings.evidence_days * DAY_S,
        normal_sounds=settings.normal_sounds,
        normal_s=settings.normal_sound_days * DAY_S,
    )
    try:
        return (
            kept_sounds(state, machine_id, since_s=since_s),
            kept_history(state, machine_id, versions, in_use=in_use, since_s=since_s),
        )
    finally:
        state.store.close()


def text_of(result: Backtest) -> str:
    """Return a report for people."""
    old, new = result.old, result.new
    changed = _differences(old.rule, new.rule)
    parts = [
        f"{result.machine_id}: old is version {old.version}, new is version {new.version}\n"
        f"rule of the new one: {changed or 'the same'}",
        table_text(
            ("sound", "files", "length", "played"),
            [
                (heard.kind, str(heard.pieces), _duration(heard.distinct_s), _duration(heard.played_s))
                for heard in result.heard
            ],
        ),
        table_text(
            ("alarms", "number"),
            [
                ("of both", str(result.alarms_both)),
                ("only of the old version", str(result.alarms_only_old)),
                ("only of the new version", str(result.alarms_only_new)),
            ],
        ),
        table_text(("", "old", "new"), list(zip(_ROWS, _facts(old), _facts(new), strict=True))),
        _verdicts(result),
        _episodes(result.episodes),
        "\n".join(f"note: {note}" for note in result.notes),
    ]
    return "\n\n".join(part for part in parts if part)


_ROWS: Final = (
    "alarms",
    "clips over the level a day, here",
    "clips over the level a day, by the calibration",
    "false alarms a week to expect",
)


def _facts(side: BacktestSide) -> tuple[str, str, str, str]:
    clips, rate = side.clips_over, side.expected
    expected = "not estimated"
    if rate is not None and rate.expected_a_week is not None:
        expected = f"{rate.expected_a_week:.2g}" + ("" if rate.promised else ", not promised")
        if rate.low_a_week is not None and rate.high_a_week is not None:
            expected += f" ({rate.low_a_week:.2g} to {rate.high_a_week:.2g})"
    return (
        str(side.alarms),
        "no score" if clips.heard is None else f"{clips.heard:.0f}",
        f"{clips.expected:.0f} ({clips.low:.0f} to {clips.high:.0f}{'' if clips.promised else ', not promised'})",
        expected,
    )


def _differences(old: AlarmRule, new: AlarmRule) -> str:
    changed = [name for name in AlarmRule.model_fields if getattr(old, name) != getattr(new, name)]
    return ", ".join(f"{name}={getattr(new, name)} (was {getattr(old, name)})" for name in changed)


def _verdicts(result: Backtest) -> str:
    counts = result.verdicts
    if not any(counts.model_dump().values()):
        return ""
    rows = [
        ("right", str(counts.true_kept), str(counts.true_lost), ""),
        ("false", str(counts.false_kept), str(counts.false_removed), str(counts.false_added)),
        ("nobody said, or unsure", str(counts.unjudged_kept), str(counts.unjudged_lost), ""),
    ]
    text = table_text(("alarms that the machine had", "raised again", "not any more", "added"), rows)
    if not counts.undecided:
        return text
    return f"{text}\n{counts.undecided} undecided: the kept sound ends over the level, before the new rule has decided"


def _episodes(episodes: Sequence[BacktestEpisode]) -> str:
    if not episodes:
        return ""
    rows = [
        (
            _BY[episode.by],
            _moment(episode),
            _score(episode.peak_old),
            _score(episode.peak_new),
            (episode.verdict or "").replace("_", " "),
            f"{episode.file} at {episode.start_s:.1f} s",
        )
        for episode in episodes[:SHOWN]
    ]
    more = f"\n{len(episodes) - SHOWN} more are in the answer of --json" if len(episodes) > SHOWN else ""
    return table_text(("alarm of", "heard (UTC)", "peak old", "peak new", "verdict", "listen to"), rows) + more


def _moment(episode: BacktestEpisode) -> str:
    return "" if episode.at_s is None else f"{datetime.fromtimestamp(episode.at_s, UTC):%Y-%m-%d %H:%M:%S}"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"
