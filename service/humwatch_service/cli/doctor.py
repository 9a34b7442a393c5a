"""``humwatch doctor``: is everything there that the service needs, and what somebody who helps has to know?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from humwatch_service.cli.console import JsonOption, failures, say, show, table_text
from humwatch_service.cli.models import tracked
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.settings import Settings
from humwatch_service.errors import FileUnreadable
from humwatch_service.support.bundle import write_bundle
from humwatch_service.support.checks import Finding, run_checks
from humwatch_service.web.server import listen

BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="Write a support bundle to this .zip, without secrets, names and sound."),
]
LogOption = Annotated[
    Path | None, typer.Option("--log", help="With --bundle: a file of the service's log, whose end goes in as well.")
]


def doctor(bundle: BundleOption = None, log: LogOption = None, as_json: JsonOption = False) -> None:
    """Look at everything that the service needs. Exits with 1 if something of it is missing.

    With --bundle it exits with 0 once the bundle is written, whatever is in it.
    """
    with failures(as_json=as_json):
        if bundle is not None:
            _bundle(bundle, log, as_json=as_json)
            return
        if log is not None:
            raise typer.BadParameter("goes with --bundle", param_hint="--log")
        findings = _checks(load_configuration().settings)
    rows = [(finding.result, finding.check, finding.detail) for finding in findings]
    show(
        {"findings": [asdict(finding) for finding in findings]},
        table_text(("result", "check", "detail"), rows),
        as_json=as_json,
    )
    if any(finding.result == "failed" for finding in findings):
        raise typer.Exit(1)


def _checks(settings: Settings) -> list[Finding]:
    return run_checks(settings, listen=listen, track=tracked)


def _bundle(path: Path, log: Path | None, *, as_json: bool) -> None:
    if path.suffix.lower() != ".zip":
        raise FileUnreadable(f"{path}: a bundle's name ends in .zip")
    written = write_bundle(path, examine=_checks, log=log)
    rows = [(name, f"{size:,}", about) for name, size, about in written.files]
    say(f"Read {path} before you send it: what is secret was taken out as far as a program can know it.")
    files = [{"name": name, "bytes": size, "about": about} for name, size, about in written.files]
    text = f"{table_text(('file', 'bytes', 'what it is'), rows)}\n{path}: {written.size_bytes:,} bytes"
    show({"bundle": str(path), "bytes": written.size_bytes, "files": files}, text, as_json=as_json)
