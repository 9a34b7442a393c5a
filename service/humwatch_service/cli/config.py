"""``humwatch config``: every setting, its value, where it comes from, and what it means."""

from __future__ import annotations

from dataclasses import asdict

import typer

from humwatch_service.cli.console import JsonOption, failures, show, table_text
from humwatch_service.config.layers import load_configuration
from humwatch_service.config.settings import check_exposure
from humwatch_service.config.webhooks import check_webhooks
from humwatch_service.telemetry.tracing import check_tracing

app = typer.Typer(help="Settings: what they are, and where they come from.", no_args_is_help=True)


@app.command("show")
def show_config(as_json: JsonOption = False) -> None:
    """Show every setting: value, source, environment variable, description. Secrets are not shown."""
    with failures(as_json=as_json):
        configuration = load_configuration()
    table = configuration.table()
    rows = [(row.name, row.value, row.source, row.variable, row.description) for row in table]
    file = str(configuration.file) if configuration.file else None
    text = table_text(("setting", "value", "from", "variable", "meaning"), rows)
    show({"file": file, "settings": [asdict(row) for row in table]}, text, as_json=as_json)


@app.command("check")
def check_config(as_json: JsonOption = False) -> None:
    """Check all settings as `humwatch serve` would, without starting anything."""
    with failures(as_json=as_json):
        settings = load_configuration().settings
        check_exposure(settings)
        settings.keys()
        check_webhooks(settings.webhooks, settings.webhook_hosts)
        check_tracing(settings)
    show({"ok": True}, "all settings hold", as_json=as_json)
