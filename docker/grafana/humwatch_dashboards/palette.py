"""Colours that people with colour blindness can distinguish, and their meanings; none stands without text beside it.

Those of the states were chosen for it: in the simulation of protanopia, deuteranopia and tritanopia by G. Machado, M.
Oliveira and L. Fernandes (2009), any two stay 30 units of CIELAB apart, as a test shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.models import dashboard as models

RED: Final = "#CC3311"
AMBER: Final = "#FFB000"
PURPLE: Final = "#AA3377"
SKY: Final = "#56B4E9"
GREY: Final = "#BBBBBB"
INDIGO: Final = "#332288"
BLUE: Final = "#0072B2"
"""Colour of a value that is neither good nor bad."""


@dataclass(frozen=True)
class Shown:
    """Text and colour in place of a number.

    Attributes:
        name: name in Prometheus' label.
        value: number in a panel.
        text: text in its place.
        colour: colour as ``#RRGGBB``.
    """

    name: str
    value: int
    text: str
    colour: str


STATES: Final = (
    Shown("alarm", 4, "ALARM", RED),
    Shown("warning", 3, "warning", AMBER),
    Shown("unknown", 2, "unknown", PURPLE),
    Shown("normal", 1, "normal", SKY),
    Shown("off", 0, "off", GREY),
    Shown("out_of_service", -1, "out of service", INDIGO),
)
"""States of a machine, the worst first; the values are those of ``machine:humwatch_trouble:rank``."""

FAULTS: Final = (
    Shown("silent", 9, "silent", RED),
    Shown("stuck", 8, "stuck", RED),
    Shown("drop_outs", 7, "drop-outs", RED),
    Shown("wrong_rate", 6, "wrong rate", RED),
    Shown("bandwidth_limited", 5, "bandwidth limited", RED),
    Shown("clipped", 4, "clipped", AMBER),
    Shown("level_unusual", 3, "level unusual", AMBER),
    Shown("dc_offset", 2, "DC offset", AMBER),
    Shown("clock_drift", 1, "clock drift", AMBER),
)
"""Faults of a source; those that leave nothing to judge come first, and are red."""

NO_FAULT: Final = Shown("", 0, "none", SKY)

VERDICTS: Final = (
    Shown("true_alarm", 0, "right", SKY),
    Shown("false_alarm", 1, "false", RED),
    Shown("unsure", 2, "unsure", AMBER),
    Shown("unjudged", 3, "not judged", PURPLE),
)
"""What operators said of alarms; the values are unused."""
RAISED_BY: Final = (
    Shown("both", 0, "both", SKY),
    Shown("old", 1, "in use alone", BLUE),
    Shown("new", 2, "candidate alone", AMBER),
)
"""Which version raised an alarm while a candidate runs; the values are unused."""
DRIFTED: Final = (Shown("", 1, "has moved", AMBER), Shown("", 0, "as it was", SKY))
STAGE: Final = (Shown("", 1, "provisional", AMBER), Shown("", 0, "done", SKY))
CANDIDATE: Final = (Shown("", 1, "running", BLUE), Shown("", 0, "failed", RED))


def mapped(shown: Sequence[Shown], *, nothing: str | None = None) -> list[models.ValueMapping]:
    """Return value mappings for these numbers; ``nothing`` is shown for NaN and null."""
    results = {
        str(one.value): models.ValueMappingResult(text=one.text, color=one.colour, index=index)
        for index, one in enumerate(shown)
    }
    mappings: list[models.ValueMapping] = [models.ValueMap(options=results)] if results else []
    if nothing is not None:
        result = models.ValueMappingResult(text=nothing, color=PURPLE, index=len(shown))
        special = models.DashboardSpecialValueMapOptions(match=models.SpecialValueMatch.NULL_AND_NAN, result=result)
        mappings.append(models.SpecialValueMap(options=special))
    return mappings


def state_number(matchers: str) -> str:
    """Return the expression for the value of each machine's state in ``STATES``."""
    branches = (f'{one.value} * (humwatch_alarm_state{{{matchers}, state="{one.name}"}} == 1)' for one in STATES)
    return f"max by (instance, machine_id) ({' or '.join(branches)})"


def fault_number(matchers: str) -> str:
    """Return the expression for the worst fault of each machine's source in ``FAULTS``; 0 without one."""
    branches = (f'{one.value} * humwatch_source_fault{{{matchers}, fault="{one.name}"}}' for one in FAULTS)
    return f"max by (instance, machine_id) ({' or '.join(branches)})"
