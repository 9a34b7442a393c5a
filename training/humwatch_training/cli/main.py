"""``humwatch-train``: exit code 0 for success, 1 for a failure that is named, 2 for bad usage."""

from __future__ import annotations

import signal

import typer

from humwatch_training.cli.bench import bench
from humwatch_training.cli.detectability import detectability
from humwatch_training.cli.evaluate import evaluate
from humwatch_training.cli.evaluate_bundle import evaluate_bundle
from humwatch_training.cli.export import export
from humwatch_training.cli.fit import fit
from humwatch_training.cli.verify import verify

app = typer.Typer(
    name="humwatch-train",
    help="Learn what machines sound like when they are well.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


for command in (fit, export, verify, evaluate, evaluate_bundle, detectability, bench):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script starts in the background
    app()
