"""All dashboards, and their JSON: the same bytes whenever the code is the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from humwatch_dashboards.fleet import fleet
from humwatch_dashboards.machine import machine
from humwatch_dashboards.service import service

DASHBOARDS: Final[Mapping[str, Callable[[], builders.Dashboard]]] = MappingProxyType(
    {"fleet.json": fleet, "machine.json": machine, "service.json": service}
)
"""Function that builds each file."""


def render(dashboard: builders.Dashboard) -> str:
    """Return a dashboard as Grafana reads it: JSON with sorted keys, and a newline at its end."""
    text = json.dumps(dashboard.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n"


def write(folder: Path) -> list[Path]:
    """Write every dashboard into a folder; return the paths of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, build in DASHBOARDS.items():
        path = folder / name
        path.write_text(render(build()), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths
