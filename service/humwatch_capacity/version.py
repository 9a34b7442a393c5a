"""Versions of the service that can be measured: this one, and another beside it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from humwatch_service.errors import RequestInvalid

PACKAGES: Final = ("core", "service")
"""Folders of a checkout that hold the packages of the service."""
_PROGRAM: Final = "from humwatch_service.__main__ import main; main()"


@dataclass(frozen=True)
class ServiceVersion:
    """A version of the service, and how its ``humwatch`` command is run.

    Attributes:
        name: name in the report.
        command: command, without its arguments.
        environment: variables that it needs.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


THIS: Final = ServiceVersion("this", (sys.executable, "-c", _PROGRAM))


def version_at(given: str) -> ServiceVersion:
    """Return the version that is installed, or checked out, at a place.

    Args:
        given: a ``humwatch`` command, the folder of a virtual environment that has one, or the folder of a checkout,
            which is run by this interpreter and needs the libraries that are installed for it.

    Raises:
        RequestInvalid: there is no version of the service.
    """
    folder = Path(given)
    if folder.is_dir():
        installed = folder / "bin" / "humwatch"
        if installed.is_file():
            return ServiceVersion(given, (str(installed.absolute()),))
        packages = [folder.absolute() / name for name in PACKAGES]
        if (folder / "service" / "humwatch_service").is_dir() and all(package.is_dir() for package in packages):
            path = os.pathsep.join(map(str, packages))
            return ServiceVersion(given, (sys.executable, "-c", _PROGRAM), {"PYTHONPATH": path})
        raise RequestInvalid(f"{given} holds neither bin/humwatch nor a checkout (core/, service/humwatch_service)")
    command = shutil.which(given)
    if command is None:
        raise RequestInvalid(f"{given} is neither a command nor a folder")
    return ServiceVersion(given, (str(Path(command).absolute()),))
