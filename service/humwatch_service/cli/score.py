"""``humwatch score``: recordings scored here, without a server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from humwatch.bundle.repository import ModelRepository
from humwatch.errors import HumwatchError
from humwatch_service.cli.console import (
    JsonOption,
    ModelsOption,
    configuration,
    described,
    failures,
    machine_and_version,
    progress_bar,
    say,
    show,
    table_text,
)
from humwatch_service.cli.given import on_disk, recordings_said
from humwatch_service.cli.said_once import said_once
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable
from humwatch_service.models.registry import LoadedModel, load_model
from humwatch_service.protocol.detections import DETECTOR_TITLES, explanation_text
from humwatch_service.scoring.answers import ScoreAnswer
from humwatch_service.scoring.scorer import ScoredRecording, ScoreJob, Scorer


class FailOn(StrEnum):
    """From which state on the exit code is 1."""

    ALARM = "alarm"
    WARNING = "warning"


def score(
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them; - is standard input.")],
    machine: Annotated[str, typer.Option(help="Whose model judges them: MACHINE or MACHINE@VERSION.")],
    channel: Annotated[int | None, typer.Option(min=0, help="Channel to listen to, counted from 0.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the picture of the one recording here (PNG).")] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 from this state on.")] = None,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score recordings here, without a server. Exits with 0 for alarms too, unless --fail-on is given."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        loaded = _load(settings, machine)
        with on_disk(files, settings.decode_limits) as copies:
            found = _found(files, copies)
            if plot is not None and len(found) != 1:
                raise typer.BadParameter("a picture is of one recording", param_hint="--plot")
            results, failed = _score_all(found, loaded, channel, settings, plot)
    if as_json:
        show({"results": results}, "", as_json=True)
    else:
        _print(results)
    reached = {"alarm": {"alarm"}, "warning": {"warning", "alarm"}}.get(fail_on.value if fail_on else "", set())
    if failed or any(result.get("state") in reached for result in results):
        raise typer.Exit(1)


def _load(settings: Settings, machine: str) -> LoadedModel:
    machine_id, version = machine_and_version(machine)
    return load_model(
        ModelRepository(settings.models_dir),
        machine_id,
        version,
        providers=settings.provider_names,
        threads=settings.predictor_threads,
    )


def _found(files: list[Path], copies: list[Path]) -> list[tuple[str, Path]]:
    """Return the recordings with the names under which they are shown."""
    found: list[tuple[str, Path]] = []
    for path, copy in zip(files, copies, strict=True):
        found += [(str(file), file) for file in recordings_said([path])] if path.is_dir() else [(str(path), copy)]
    return found


def _score_all(
    files: list[tuple[str, Path]], model: LoadedModel, channel: int | None, settings: Settings, plot: Path | None
) -> tuple[list[dict[str, Any]], bool]:
    """Score each file; one that cannot be scored does not stop the others."""
    scorer = Scorer()
    results: list[dict[str, Any]] = []
    failed = False
    with progress_bar("scoring", len(files)) as progress:
        for name, path in files:
            try:
                job = ScoreJob(
                    path,
                    model,
                    channel,
                    settings.decode_limits,
                    picture=plot is not None,
                    use_level=settings.machine(model.manifest.machine_id).run_state == "level",
                )
                scored = _score_one(scorer, job, name)
                _write_picture(scored, plot)
            except HumwatchError as error:
                failed = True
                results.append({"file": name, "error": described(error)})
                say(f"error: {error.code}: {name}: {error}")
            else:
                results.append({"file": name, **scored.answer.model_dump(mode="json")})
            progress.advance(progress.task_ids[0])
    return results, failed


def _score_one(scorer: Scorer, job: ScoreJob, name: str) -> ScoredRecording:
    try:
        return scorer.score(job)
    except OSError as error:
        raise FileUnreadable(f"{name} cannot be read: {error.strerror}") from error


def _write_picture(scored: ScoredRecording, plot: Path | None) -> None:
    if plot is None or scored.png is None:
        return
    try:
        plot.write_bytes(scored.png)
    except OSError as error:
        raise FileUnreadable(f"{plot} cannot be written: {error.strerror}") from error


def _print(results: list[dict[str, Any]]) -> None:
    answers = [(result["file"], ScoreAnswer.model_validate(result)) for result in results if "error" not in result]
    if not answers:
        return
    rows = [(file, a.state, f"{a.score:.3f}", f"{a.duration_s:.1f}", *_decided(a)) for file, a in answers]
    typer.echo(table_text(("file", "state", "score", "seconds", "decided by", "what stands out"), rows))
    warnings = ((file, warning.code, warning.message) for file, answer in answers for warning in answer.warnings)
    for line in said_once(warnings, len(answers)):
        say(line)


def _decided(answer: ScoreAnswer) -> tuple[str, str]:
    return DETECTOR_TITLES[answer.detector], explanation_text(answer, answer.bands)
