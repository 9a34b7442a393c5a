"""``humwatch models``: what is there, whether it holds, and which version is in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    repository,
    show,
    table_text,
)
from humwatch_service.errors import ModelsRefused
from humwatch_service.models.cards import DetectorFacts, card_of
from humwatch_service.models.registry import load_model
from humwatch_service.models.verification import Chosen, verify_bundles

app = typer.Typer(help="Models: what is there, whether it holds, and which version is in use.", no_args_is_help=True)

MachineArgument = Annotated[str, typer.Argument(help="Id of the machine.")]
BundleArgument = Annotated[str, typer.Argument(help="MACHINE or MACHINE@VERSION.")]


@app.command("list")
def list_models(models: ModelsOption = None, as_json: JsonOption = False) -> None:
    """List machines, their versions, and the one in use."""
    with failures(as_json=as_json):
        folder = repository(models)
        machines = [_listed(folder, machine_id) for machine_id in folder.machine_ids()]
    rows = [(m["machine_id"], m["active_version"] or "?", ", ".join(m["versions"]), m["about"]) for m in machines]
    text = table_text(("machine", "in use", "versions", "about"), rows) if rows else f"no model in {folder.root}"
    show({"machines": machines}, text, as_json=as_json)


def _listed(folder: ModelRepository, machine_id: str) -> dict[str, Any]:
    listed: dict[str, Any] = {"machine_id": machine_id, "versions": folder.versions(machine_id), "active_version": None}
    try:
        listed["active_version"] = folder.active_version(machine_id)
        manifest = folder.manifest(machine_id)
    except HumwatchError as error:
        return {**listed, "about": f"{error.code}: {error}", "error": described(error)}
    score, schema = manifest.scoring.kind, manifest.schema_version
    about = f"{manifest.machine_type}, {score}, schema {schema}, {manifest.calibration.recordings} normal recordings"
    return {**listed, "score": score, "schema_version": schema, "about": about}


@app.command("show")
def show_model(bundle: BundleArgument, models: ModelsOption = None, as_json: JsonOption = False) -> None:
    """Show everything about a model that is not an array; it is checked first."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        machine_id, version = machine_and_version(bundle)
        card = card_of(load_model(ModelRepository(settings.models_dir), machine_id, version))
    rows = [(name, str(value)) for name, value in card.model_dump(exclude={"detectors", "detector_levels"}).items()]
    rows += [(f"detector {facts.detector}", _detector_text(facts)) for facts in card.detectors]
    show(card.model_dump(), table_text(("fact", "value"), rows), as_json=as_json)


def _detector_text(facts: DetectorFacts) -> str:
    return (
        f"{facts.share:.0%} of the false alarms ({facts.alarm_rate:.2%} of normal clips),"
        f" alarm level {facts.alarm_level:.2f} spreads"
    )


@app.command("verify")
def verify_models(
    bundles: Annotated[
        list[str] | None, typer.Argument(help="MACHINE or MACHINE@VERSION; default: all in use.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every version, not only those in use.")] = False,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check bundles as the service does at load: files, manifest, golden outputs. Exits with 1 if one is refused."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        folder = ModelRepository(settings.models_dir)
        chosen = [machine_and_version(bundle) for bundle in bundles or []] or _chosen(folder, every=every)
        checks = verify_bundles(folder, settings, chosen, track=tracked)
        rows = [
            (c["machine_id"], c["version"] or "in use", "ok" if c["ok"] else "refused", c["reason"]) for c in checks
        ]
        text = table_text(("machine", "version", "result", "reason"), rows) if rows else f"no model in {folder.root}"
        show({"models": checks}, text, as_json=as_json)
        refused = [check["machine_id"] for check in checks if not check["ok"]]
    if refused:
        raise typer.Exit(1)


def _chosen(folder: ModelRepository, *, every: bool) -> list[Chosen]:
    if not every:
        return [(machine_id, None) for machine_id in folder.machine_ids()]
    return [(machine_id, version) for machine_id in folder.machine_ids() for version in folder.versions(machine_id)]


def tracked(bundles: Sequence[Chosen]) -> Iterator[Chosen]:
    """Give out bundles that are checked, with a bar."""
    with progress_bar("checking models", len(bundles)) as progress:
        for bundle in bundles:
            yield bundle
            progress.advance(progress.task_ids[0])


@app.command("activate")
def activate(
    machine: MachineArgument,
    version: Annotated[str, typer.Argument(help="Version to use from now on.")],
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Use a version from now on, if it passes every check."""
    with failures(as_json=as_json):
        settings = configuration(models).settings
        folder = ModelRepository(settings.models_dir)
        folder.folder(machine, version)
        check = verify_bundles(folder, settings, [(machine, version)], track=tracked)[0]
        if not check["ok"]:
            raise ModelsRefused(f"{machine}@{version}: {check['code']}: {check['reason']}")
        folder.activate(machine, version)
        _show_active(folder, machine, as_json=as_json)


@app.command("rollback")
def rollback(machine: MachineArgument, models: ModelsOption = None, as_json: JsonOption = False) -> None:
    """Go back to the version that was in use before."""
    with failures(as_json=as_json):
        folder = repository(models)
        folder.rollback(machine)
        _show_active(folder, machine, as_json=as_json)


def _show_active(folder: ModelRepository, machine: str, *, as_json: bool) -> None:
    version = folder.active_version(machine)
    text = f"{machine}: version {version} is in use; a running service takes it with POST /v1/models:reload"
    show({"machine_id": machine, "active_version": version}, text, as_json=as_json)
