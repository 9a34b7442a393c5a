"""Measurement of the service on this machine by ``humwatch capacity``, which starts it and plays streams to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from humwatch_training.errors import BenchError


def measure_service(models: Path, machine: str | None, *, seconds: float) -> dict[str, Any]:
    """Return the report of ``humwatch capacity --json`` (docs/capacity.md), ``POST /score`` included.

    A process of its own, as training knows nothing of the service. Its progress goes to stderr. Raises BenchError where
    it fails.
    """
    main = "from humwatch_service.cli.main import main; main()"
    chosen = () if machine is None else ("--machine", machine)
    command = ["capacity", "--models", str(models), *chosen, "--seconds", f"{seconds:g}", "--score", "--json"]
    process = subprocess.run([sys.executable, "-c", main, *command], stdout=subprocess.PIPE, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(process.stdout)
    except json.JSONDecodeError as error:
        raise BenchError(f"humwatch capacity ended with {process.returncode} and without a report") from error
    if process.returncode:
        reason = report.get("error", {}).get("message", "without a reason")
        raise BenchError(f"humwatch capacity failed: {reason}")
    return report
