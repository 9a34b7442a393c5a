"""`humwatch-train`: exit code 0 fine, 1 a failure that is named, 2 bad usage."""

import typer

from humwatch_training.commands_bench import bench
from humwatch_training.commands_detectability import detectability
from humwatch_training.commands_evaluate import evaluate
from humwatch_training.commands_evaluate_bundle import evaluate_bundle
from humwatch_training.commands_export import export
from humwatch_training.commands_fit import fit
from humwatch_training.commands_verify import verify

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
    app()
