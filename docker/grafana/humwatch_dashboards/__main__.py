"""Command ``python -m humwatch_dashboards FOLDER``, which writes the dashboards' JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from humwatch_dashboards.writing import write


def main() -> None:
    """Write the dashboards into the folder on the command line."""
    parser = argparse.ArgumentParser(prog="humwatch_dashboards", description="Write the Grafana dashboards as JSON.")
    parser.add_argument("folder", type=Path, help="where the files go; those of the same names are replaced")
    for path in write(parser.parse_args().folder):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
