"""Write what extras of the project need, one requirement a line: ``python docker/requirements.py pyproject.toml web``.

An image installs these before it has the project's code, so that a change of the code leaves their layer as it is.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """Everything that ``project[extras]`` needs, sorted; extras that extras name are followed.

    Raises:
        KeyError: the project has no such extra.
    """
    found = set(project["dependencies"])
    for extra in extras:
        found.update(_of_extra(project, extra))
    return sorted(found)


def _of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    own = re.compile(rf"{re.escape(project['name'])}\[([^\]]+)\]")
    for requirement in project["optional-dependencies"][extra]:
        named = own.fullmatch(requirement)
        if named is None:
            yield requirement
        else:
            for other in named[1].split(","):
                yield from _of_extra(project, other.strip())


def main(arguments: list[str]) -> None:
    """Write the requirements of the extras that are named to stdout."""
    file, *extras = arguments
    project = tomllib.loads(Path(file).read_text("utf-8"))["project"]
    sys.stdout.write("".join(f"{requirement}\n" for requirement in requirements(project, extras)))


if __name__ == "__main__":
    main(sys.argv[1:])
