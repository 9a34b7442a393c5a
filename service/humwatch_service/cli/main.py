"""``humwatch``: exit code 0 fine, 1 a failure that is named, 2 bad usage."""

from __future__ import annotations

import typer

from humwatch_service.cli import alarms, config, models
from humwatch_service.cli.backtest import backtest_versions
from humwatch_service.cli.calibrate import calibrate
from humwatch_service.cli.capacity import capacity
from humwatch_service.cli.devices import devices
from humwatch_service.cli.doctor import doctor
from humwatch_service.cli.health import health
from humwatch_service.cli.interruption import restore_interrupt
from humwatch_service.cli.listen import listen
from humwatch_service.cli.rehearse import rehearse_recordings
from humwatch_service.cli.replay import replay
from humwatch_service.cli.score import score
from humwatch_service.cli.serve import serve
from humwatch_service.cli.simulate import simulate

app = typer.Typer(
    name="humwatch",
    help="Hears that a machine is failing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(score)
app.command()(listen)
app.command()(replay)
app.command("rehearse")(rehearse_recordings)
app.command("backtest")(backtest_versions)
app.add_typer(alarms.app, name="alarms")
app.command()(devices)
app.command()(calibrate)
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.command()(simulate)
app.command()(doctor)
app.command()(health)
app.command()(capacity)


def main() -> None:
    """Run the command line."""
    restore_interrupt()
    app()
