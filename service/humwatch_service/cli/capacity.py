"""``humwatch capacity``: how many microphones this machine follows, measured with the real service."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from humwatch.bundle.repository import ModelRepository
from humwatch_capacity.bench import Bench
from humwatch_capacity.beside import Beside
from humwatch_capacity.fleet import Fleet
from humwatch_capacity.played_sound import normal_sound
from humwatch_capacity.player import MESSAGE_S
from humwatch_capacity.process_stats import PROC
from humwatch_capacity.run import CapacityRun, MeasurementPlan
from humwatch_capacity.text import report_text
from humwatch_capacity.version import version_at
from humwatch_service.cli.console import JsonOption, ModelsOption, failures, machine_and_version, repository, say, show
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable, RequestInvalid

OWN_SETTINGS: Final = frozenset({"models_dir", "state_dir", "host", "port", "api_keys", "api_keys_file"})
"""Settings of the service under test that the measurement itself chooses."""


def capacity(
    machine: Annotated[
        str | None, typer.Option(help="Whose model to measure: MACHINE or MACHINE@VERSION. Default: the first.")
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(help="Normal recording to play. Default: the model's example, else a synthetic machine."),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, max=4_096, help="Play so many, in place of searching for the most.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, max=86_400.0, help="Measured of each number of streams, s.")] = 30,
    warm_up_s: Annotated[float, typer.Option(min=0.0, max=3_600.0, help="Played before that, s.")] = 12,
    budget_s: Annotated[
        float, typer.Option(min=0.001, max=60.0, help="Longest latency of 99 % of the scores, s.")
    ] = 1.0,
    hold_minutes: Annotated[
        float, typer.Option(min=0.0, max=100_000.0, help="Then play that many for so long, and watch the memory.")
    ] = 0,
    overload: Annotated[bool, typer.Option("--overload", help="Then play twice as many, and go back.")] = False,
    score: Annotated[bool, typer.Option("--score", help="Then measure POST /score, without streams.")] = False,
    score_requests: Annotated[int, typer.Option(min=1, max=100_000, help="Requests of --score, each time.")] = 40,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="Setting of the measured service, e.g. max_streams=128; may be repeated."),
    ] = None,
    message_s: Annotated[float, typer.Option(min=0.01, max=5.0, help="Sound of a message, s.")] = MESSAGE_S,
    against: Annotated[
        str | None,
        typer.Option(help="Measure another version in turn: its `humwatch`, or the folder of its checkout or venv."),
    ] = None,
    against_models: Annotated[
        Path | None, typer.Option(help="Models of that version, where it cannot read these. Default: the same.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often --streams is played to each version.")] = 1,
    beside: Annotated[
        list[Beside] | None,
        typer.Option(help="Play once more while the service is asked this; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the phases of the streams and of waits.")] = 0,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the service, play to more and more machines in real time, and say how many it follows."""
    settings = given_settings(setting or [])
    plan = MeasurementPlan(
        streams, 60 * hold_minutes, overload, score_requests if score else 0, rounds, tuple(beside or ())
    )
    with failures(as_json=as_json), _workplace() as (folder, log), _stoppable():
        if not PROC.is_dir():
            raise RequestInvalid("memory and processor time are read from /proc, which only Linux has")
        bundle, example = _bundle(repository(models), machine)
        fleet = Fleet(bundle, folder)
        bench = Bench(
            fleet=fleet,
            sound=normal_sound(sound or example, fleet.manifest.features.rate_hz),
            folder=folder,
            log=log,
            settings=settings,
            seconds=seconds,
            warm_up_s=warm_up_s,
            budget_s=budget_s,
            seed=seed,
            message_s=message_s,
        )
        other = None if against is None else _other(bench, against, machine, against_models)
        run = CapacityRun(bench, plan, say, other)
        interrupted = _interrupted(run)
    report = run.report(interrupted=interrupted)
    show(json.loads(report.model_dump_json()), report_text(report), as_json=as_json)
    if interrupted:
        say("interrupted: what is reported was measured before")
        raise typer.Exit(1)


def _other(bench: Bench, against: str, machine: str | None, models: Path | None) -> Bench:
    """Return the same conditions for another version, with a model that it can read."""
    version = version_at(against)
    fleet, folder = bench.fleet, bench.folder / "against"
    folder.mkdir()
    if models is not None:
        machine_id = (machine or bench.fleet.machine_id).partition("@")[0]
        fleet = Fleet(_bundle(repository(models), machine_id)[0], folder)
    if fleet.manifest.features.rate_hz != bench.fleet.manifest.features.rate_hz:
        raise RequestInvalid("the two models listen at different rates: the same sound cannot be played to both")
    return replace(bench, fleet=fleet, folder=folder, version=version)


def given_settings(changes: list[str]) -> dict[str, str]:
    """Return the settings that ``name=value`` gives. Raises :class:`typer.BadParameter`."""
    given: dict[str, str] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in Settings.model_fields:
            raise typer.BadParameter(f"{change!r} is not NAME=VALUE with a setting", param_hint="--setting")
        if name in OWN_SETTINGS:
            raise typer.BadParameter(f"{name} is chosen by the measurement", param_hint="--setting")
        given[name] = value
    try:
        Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise typer.BadParameter(f"{where}: {first['msg']}", param_hint="--setting") from error
    return given


def _interrupted(run: CapacityRun) -> bool:
    """Run, and return whether a signal stopped it before its end."""
    try:
        run.run()
    except KeyboardInterrupt:
        return True
    return False


def _bundle(models: ModelRepository, machine: str | None) -> tuple[Path, Path | None]:
    """Return the folder of the bundle, and the example of normal sound that came with it."""
    machine_ids = models.machine_ids()
    if machine is None and not machine_ids:
        raise FileUnreadable(f"there is no model in {models.root}")
    machine_id, version = machine_and_version(machine or machine_ids[0])
    folder = models.folder(machine_id, version)
    examples = sorted((models.root / machine_id / "examples").glob("normal.*"))
    return folder, examples[0] if examples else None


@contextmanager
def _workplace() -> Iterator[tuple[Path, Path]]:
    """Make a folder that is deleted at the end, with a log that is kept when something fails."""
    folder = Path(tempfile.mkdtemp(prefix="humwatch-capacity-"))
    log = folder / "service.log"
    try:
        with _writing(folder):
            yield folder, log
    except BaseException:
        if log.is_file():
            kept = Path(tempfile.mkdtemp(prefix="humwatch-capacity-log-")) / log.name
            shutil.move(log, kept)
            say(f"the log of the service is in {kept}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Name what goes wrong with the disk. Raises :class:`FileUnreadable`."""
    try:
        yield
    except OSError as error:
        raise FileUnreadable(f"{folder} cannot be used: {error}") from error


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does: the service is stopped, and what is known is reported."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
