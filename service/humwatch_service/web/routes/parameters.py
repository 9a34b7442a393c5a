"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from humwatch.bundle.manifest import MACHINE_ID
from humwatch_service.errors import MachineIdInvalid

MachinePath = Annotated[str, Path(description="id of the machine")]


def checked_machine_id(machine_id: str) -> str:
    """Return a machine id, if it is a possible one. Raises :class:`MachineIdInvalid`."""
    if not MACHINE_ID.fullmatch(machine_id):
        raise MachineIdInvalid(
            "a machine id is 1 to 64 of a-z, 0-9, dot, underscore and hyphen, and starts with a letter or digit"
        )
    return machine_id
