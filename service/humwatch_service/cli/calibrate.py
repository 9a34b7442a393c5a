"""``humwatch calibrate``: thresholds for a machine from its own normal recordings, with the network of another."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from humwatch.bundle.bundle import Bundle, write_bundle
from humwatch.bundle.manifest import MACHINE_ID, Manifest
from humwatch.bundle.repository import ModelRepository
from humwatch.detectors.thresholds import Threshold
from humwatch.errors import HumwatchError
from humwatch.scoring.calibration import MIN_RATE, CalibrationSpec
from humwatch.scoring.spec import ScoreKind
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
from humwatch_service.cli.given import on_disk
from humwatch_service.cli.said_once import said_once
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable, MachineIdInvalid
from humwatch_service.models.normal_recordings import normal_recordings
from humwatch_service.models.recalibration import RecalibrationRequest, recalibrate
from humwatch_service.models.registry import LoadedModel, load_model


class Hearing:
    """Normal recordings that are listened to, and what is to be said of them."""

    def __init__(self, recordings: list[Path], *, skip_unusable: bool) -> None:
        self._recordings = recordings
        self._skip_unusable = skip_unusable
        self._warnings: list[tuple[str, str, str]] = []
        self._unusable: list[HumwatchError] = []

    def calibrated(
        self, model: LoadedModel, request: RecalibrationRequest, relatives: list[Bundle]
    ) -> tuple[Manifest, bytes]:
        """Return manifest and arrays of the new bundle; raises as :func:`recalibrate` does."""
        with progress_bar("listening to normal recordings", len(self._recordings)) as progress:
            return recalibrate(
                model.bundle,
                model.predictor,
                self._recordings,
                request,
                relatives=relatives,
                on_recording=lambda _: progress.advance(progress.task_ids[0]),
                on_warning=lambda path, warning: self._warnings.append((str(path), warning.code, warning.message)),
                on_unusable=(lambda _, error: self._unusable.append(error)) if self._skip_unusable else None,
            )

    def remarks(self) -> list[str]:
        """Return which recordings were left out and why, and the warnings about the others, each once."""
        left_out = [f"left out: {error}" for error in self._unusable]
        return [*left_out, *said_once(self._warnings, len(self._recordings) - len(self._unusable))]


class ScoreChoice(StrEnum):
    """Scores that a machine can be calibrated for."""

    CONSENSUS = "consensus"
    LIKELIHOOD_PROFILE = "likelihood_profile"
    RESIDUAL_PROFILE = "residual_profile"
    SPECTRUM_PROFILE = "spectrum_profile"
    MSE = "mse"
    NLL = "nll"


class Method(StrEnum):
    """Ways to fit a threshold."""

    AUTO = "auto"
    STUDENT_T = "student_t"
    GAMMA = "gamma"
    CONFORMAL = "conformal"
    ORDER_STATISTIC = "order_statistic"


def calibrate(
    machine: Annotated[str, typer.Argument(help="Id of the machine; it may be new.")],
    normal: Annotated[list[Path], typer.Argument(help="Normal recordings, or folders of them.")],
    source: Annotated[str, typer.Option("--from", help="Whose network is taken: MACHINE or MACHINE@VERSION.")],
    warn_rate: Annotated[float, typer.Option(help="Share of normal clips that may exceed `warn`.")] = 0.1,
    alarm_rate: Annotated[float, typer.Option(help="Share of normal clips that may exceed `alarm`.")] = 0.01,
    method: Annotated[Method, typer.Option(help="How thresholds are fitted.")] = Method.AUTO,
    score: Annotated[ScoreChoice | None, typer.Option(help="Which score. [default: consensus]")] = None,
    channel: Annotated[
        str | None, typer.Option(help="Channel, counted from 0, or `all`: each one as clips of its own.")
    ] = None,
    ignore_names: Annotated[
        bool, typer.Option("--ignore-names", help="They are normal, whatever their names say (`abnormal`, `anomaly`).")
    ] = False,
    skip_unusable: Annotated[
        bool, typer.Option("--skip-unusable", help="Leave out recordings that cannot be used, and name them.")
    ] = False,
    activate: Annotated[bool, typer.Option(help="Use the new version from now on.")] = True,
    quiet_is_normal: Annotated[
        bool, typer.Option("--quiet-is-normal", help="Recordings far quieter than most are of a machine that runs.")
    ] = False,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a machine's thresholds to normal recordings, and write a new version of its bundle. Needs no torch."""
    spec = _spec(warn_rate, alarm_rate, method)
    number = _channel(channel)
    with failures(as_json=as_json):
        if not MACHINE_ID.fullmatch(machine):
            raise MachineIdInvalid(f"{machine[:80]!r} is no machine id: a-z, 0-9, dot, underscore, hyphen; 64 at most")
        settings = configuration(models).settings
        repository = ModelRepository(settings.models_dir)
        request = RecalibrationRequest(
            machine_id=machine,
            version=repository.next_version(machine),
            channel=number,
            all_channels=channel == "all",
            score=_score_kind(score),
            spec=spec,
            quiet_is_normal=quiet_is_normal,
        )
        with on_disk(normal, settings.decode_limits) as copies:
            found = normal_recordings(copies, ignore_names=ignore_names)
            if found.remark:
                say(found.remark)
            hearing = Hearing(found.recordings, skip_unusable=skip_unusable)
            manifest = _write(repository, settings, request, source, hearing, activate=activate)
        for line in hearing.remarks():
            say(line)
        show(_result(manifest, repository), _report(manifest, repository), as_json=as_json)


def _spec(warn_rate: float, alarm_rate: float, method: Method) -> CalibrationSpec:
    if not alarm_rate <= warn_rate:
        raise typer.BadParameter("has to be at most the warn rate", param_hint="--alarm-rate")
    if not alarm_rate >= MIN_RATE:
        raise typer.BadParameter(f"has to be at least {MIN_RATE:f}", param_hint="--alarm-rate")
    try:
        return CalibrationSpec.model_validate(
            {"warn_rate": warn_rate, "alarm_rate": alarm_rate, "method": method.value}
        )
    except ValidationError as error:
        raise typer.BadParameter("rates lie between 0 and 0.5", param_hint="--warn-rate, --alarm-rate") from error


def _channel(text: str | None) -> int | None:
    if text is None or text == "all":
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise typer.BadParameter("a number from 0 on, or `all`", param_hint="--channel")
    return int(text)


def _score_kind(score: ScoreChoice | None) -> ScoreKind | None:
    kinds: dict[ScoreChoice, ScoreKind] = {
        ScoreChoice.CONSENSUS: "consensus",
        ScoreChoice.LIKELIHOOD_PROFILE: "likelihood_profile",
        ScoreChoice.RESIDUAL_PROFILE: "residual_profile",
        ScoreChoice.SPECTRUM_PROFILE: "spectrum_profile",
        ScoreChoice.MSE: "mse",
        ScoreChoice.NLL: "nll",
    }
    return None if score is None else kinds[score]


def _write(
    repository: ModelRepository,
    settings: Settings,
    request: RecalibrationRequest,
    source: str,
    hearing: Hearing,
    *,
    activate: bool,
) -> Manifest:
    machine_id, version = machine_and_version(source)
    model = load_model(
        repository, machine_id, version, providers=settings.provider_names, threads=settings.predictor_threads
    )
    relatives = repository.bundles_of_type(model.manifest.machine_type)
    manifest, arrays = hearing.calibrated(model, request, relatives)
    known = request.machine_id in repository.machine_ids()
    if known:
        # Without this the highest version is the active one, and a new one would be in use as soon as it is there.
        repository.activate(request.machine_id, repository.active_version(request.machine_id))
    folder = repository.root / request.machine_id / request.version
    try:
        write_bundle(folder, manifest, model.bundle.graph, arrays)
    except OSError as error:
        raise FileUnreadable(f"{folder} cannot be written: {error.strerror}") from error
    if activate:
        repository.activate(request.machine_id, request.version)
    elif not known:
        say(f"{request.machine_id} is new: its first version is in use at once")
    return manifest


def _result(manifest: Manifest, repository: ModelRepository) -> dict[str, Any]:
    return {
        "machine_id": manifest.machine_id,
        "version": manifest.version,
        "active_version": repository.active_version(manifest.machine_id),
        "recordings": manifest.calibration.recordings,
        "clips": manifest.calibration.clips,
        "thresholds": {
            scale: {level: _facts(getattr(getattr(manifest, scale), level)) for level in ("warn", "alarm")}
            for scale in ("clip", "step")
        },
        "warnings": manifest.calibration.warnings,
    }


def _facts(threshold: Threshold) -> dict[str, Any]:
    return {**threshold.model_dump(), "false_alarms_a_day": threshold.false_alarms_a_day}


def _report(manifest: Manifest, repository: ModelRepository) -> str:
    clip = manifest.clip
    levels: tuple[tuple[Literal["warn", "alarm"], Threshold], ...] = (("warn", clip.warn), ("alarm", clip.alarm))
    rows = [
        (
            name,
            level.method,
            f"{level.level:.4g}",
            f"{clip.normalise(level.level):.3f}",
            f"{level.target_rate:.2%}",
            f"{level.expected_rate:.2%} ({level.rate_low:.2%} to {level.rate_high:.2%})",
            f"{level.false_alarms_a_day:.0f}",
            "yes" if level.promised else "no",
        )
        for name, level in levels
    ]
    headings = ("level", "method", "raw", "score", "asked for", "expected (90 %)", "clips a day", "promised")
    active = repository.active_version(manifest.machine_id)
    use = "in use" if active == manifest.version else f"not in use; version {active} is"
    return "\n".join(
        [
            f"{manifest.machine_id} version {manifest.version} ({use}): {manifest.calibration.clips} clips of"
            f" {manifest.calibration.recordings} normal recordings, score {manifest.scoring.kind}",
            table_text(headings, rows),
            *(f"warning: {text}" for text in manifest.calibration.warnings),
            "a running service takes it with: curl -X POST .../v1/models:reload",
        ]
    )
