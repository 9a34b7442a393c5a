"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import JsonValue, ValidationError

from humwatch.alarm.rule import AlarmRule
from humwatch.bundle.manifest import MACHINE_ID
from humwatch_service.errors import MachineIdInvalid, RequestInvalid

MachinePath = Annotated[str, Path(description="id of the machine")]
RuleChanges = dict[str, JsonValue]
"""Parameters of an alarm rule that are to be others, by name."""


def checked_machine_id(machine_id: str) -> str:
    """Return a machine id, if it is a possible one. Raises :class:`MachineIdInvalid`."""
    if not MACHINE_ID.fullmatch(machine_id):
        raise MachineIdInvalid(
            "a machine id is 1 to 64 of a-z, 0-9, dot, underscore and hyphen, and starts with a letter or digit"
        )
    return machine_id


def changed_rule(rule: AlarmRule, changes: RuleChanges) -> AlarmRule:
    """Return a rule with some parameters changed. Raises :class:`RequestInvalid`."""
    try:
        return AlarmRule.model_validate({**rule.model_dump(), **changes})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'rule'}: {e['msg']}" for e in error.errors())
        raise RequestInvalid(f"rule: {wrong}") from error
