"""``python -m humwatch_service``, and the ``humwatch`` command: a probe is answered before the rest is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["health"]:
        _health(sys.argv[2:])
    else:
        from humwatch_service.cli.main import main as all_commands

        all_commands()


def _health(arguments: list[str]) -> None:
    import typer

    from humwatch_service.cli.health import health

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(health)
    app(arguments, prog_name="humwatch health")


if __name__ == "__main__":
    main()
