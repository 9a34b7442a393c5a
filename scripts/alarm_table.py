"""Tables of ``docs/alarms.md``: transitions of the alarm state machine, found by running it, and its rule.

``python scripts/alarm_table.py docs/alarms.md`` writes them into the page, between the markers.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from humwatch.alarm.events import NO_SOUND, AlarmEvent, Observation
from humwatch.alarm.rule import AlarmRule
from humwatch.alarm.state_machine import AlarmStateMachine
from humwatch.alarm.trackers import ALARM_LEVEL
from humwatch.errors import OperationRefused

RULE: Final = AlarmRule()
LATCHING: Final = AlarmRule(latch=True)
WARN_LEVEL: Final = 0.7
LONG_S: Final = 60
"""Longer than every delay of the rule, shorter than its re-alarm time."""

BELOW: Final = 0.1
BETWEEN: Final = 0.8
IN_DEAD_BAND: Final = ALARM_LEVEL - RULE.dead_band / 2
OVER: Final = 1.2


class Trial:
    """Alarm state machine under test; its clock goes on with the sound."""

    def __init__(self, rule: AlarmRule) -> None:
        self.machine = AlarmStateMachine(rule, warn_level=WARN_LEVEL)
        self.at_s = 0.0
        self._last = Observation(0.0, 0.0, "unknown", None, (NO_SOUND,))

    def score(self, score: float, *reasons: str, seconds: int = LONG_S) -> list[AlarmEvent]:
        """Observe one score a second."""
        return [event for _ in range(seconds) for event in self._observe("scored", score, reasons)]

    def lose_sound(self) -> list[AlarmEvent]:
        """Observe that there is nothing to judge."""
        return self._observe("unknown", None, (NO_SOUND,))

    def stop(self) -> list[AlarmEvent]:
        """Observe that the machine does not run."""
        return self._observe("off")

    def start(self) -> list[AlarmEvent]:
        """Observe that it runs again, and is louder at first."""
        return self.stop() + self.score(OVER, seconds=1)

    def go_on(self) -> list[AlarmEvent]:
        """Repeat the last observation for the re-alarm time."""
        last = self._last
        return self._observe(last.condition, last.score, last.reasons, audio_s=self.machine.rule.realarm_s or 0.0)

    def acknowledge(self) -> list[AlarmEvent]:
        """Acknowledge the alarm."""
        return self.machine.acknowledge(**self._operator())

    def shelve(self) -> list[AlarmEvent]:
        """Shelve the alarm, for longer than the sound of any other step lasts."""
        return self.machine.shelve(**self._operator(), for_s=RULE.shelve_max_s)

    def unshelve(self) -> list[AlarmEvent]:
        """End the shelf by hand."""
        return self.machine.unshelve(**self._operator())

    def end_shelf(self) -> list[AlarmEvent]:
        """Let the shelf run out."""
        return self.machine.tick(self.at_s + RULE.shelve_max_s)

    def take_out(self) -> list[AlarmEvent]:
        """Take the machine out of service."""
        return self.machine.take_out_of_service(**self._operator())

    def bring_back(self) -> list[AlarmEvent]:
        """Return the machine to service."""
        return self.machine.return_to_service(**self._operator())

    def _operator(self) -> dict[str, Any]:
        return {"who": "operator", "why": "", "at_s": self.at_s}

    def _observe(
        self, condition: Any, score: float | None = None, reasons: tuple[str, ...] = (), audio_s: float = 1.0
    ) -> list[AlarmEvent]:
        self.at_s += audio_s
        self._last = Observation(self.at_s, audio_s, condition, score, reasons)
        return self.machine.observe(self._last)


Step = Callable[[Trial], list[AlarmEvent]]


@dataclass(frozen=True)
class Situation:
    """Way to a state.

    Attributes:
        besides: conditions beside the state that is shown.
        steps: steps from a new machine, in order.
        rule: rule in force.
    """

    besides: str
    steps: tuple[Step, ...]
    rule: AlarmRule = RULE

    def trial(self) -> Trial:
        """Return a machine in this situation."""
        trial = Trial(self.rule)
        for step in self.steps:
            step(trial)
        return trial


def _below(trial: Trial) -> list[AlarmEvent]:
    return trial.score(BELOW)


def _between(trial: Trial) -> list[AlarmEvent]:
    return trial.score(BETWEEN)


def _in_dead_band(trial: Trial) -> list[AlarmEvent]:
    return trial.score(IN_DEAD_BAND)


def _over(trial: Trial) -> list[AlarmEvent]:
    return trial.score(OVER)


def _doubtful(trial: Trial) -> list[AlarmEvent]:
    return trial.score(BELOW, "clipped")


SITUATIONS: Final = (
    Situation("", (_below,)),
    Situation("shelved", (_below, Trial.shelve)),
    Situation("", (_between,)),
    Situation("", (_over,)),
    Situation("shelved", (_over, Trial.shelve)),
    Situation("acknowledged", (_over, Trial.acknowledge)),
    Situation("acknowledged, shelved", (_over, Trial.acknowledge, Trial.shelve)),
    Situation("the rule latches", (_over,), LATCHING),
    Situation("latched and over", (_over, _below), LATCHING),
    Situation("latched and over, shelved", (_over, _below, Trial.shelve), LATCHING),
    Situation("", (Trial.lose_sound,)),
    Situation("alarm in force", (_over, Trial.lose_sound)),
    Situation("alarm in force, shelved", (_over, Trial.lose_sound, Trial.shelve)),
    Situation("", (Trial.stop,)),
    Situation("alarm in force", (_over, Trial.stop)),
    Situation("", (_below, Trial.take_out)),
    Situation("alarm in force", (_over, Trial.take_out)),
    Situation("alarm in force, shelved", (_over, Trial.take_out, Trial.shelve)),
)
SOUNDS: Final[Mapping[str, Step]] = {
    "score below": _below,
    "score between": _between,
    "score in the dead-band": _in_dead_band,
    "score over": _over,
    "score below, doubtful": _doubtful,
    "no sound": Trial.lose_sound,
    "machine stops": Trial.stop,
    "machine starts": Trial.start,
    "re-alarm time goes by": Trial.go_on,
}
OPERATIONS: Final[Mapping[str, Step]] = {
    "acknowledge": Trial.acknowledge,
    "shelve": Trial.shelve,
    "unshelve": Trial.unshelve,
    "shelf runs out": Trial.end_shelf,
    "out of service": Trial.take_out,
    "in service": Trial.bring_back,
}


def transition_table() -> str:
    """Return Markdown: the effect of each sound and each operation in each situation."""
    return f"{_transitions(SOUNDS)}\n\n{_transitions(OPERATIONS)}"


def rule_table() -> str:
    """Return Markdown: the parameters of the rule, their defaults and limits."""
    parameters = AlarmRule.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", f"`{_toml(about['default'])}`", _limits(about), about["description"])
        for name, about in parameters.items()
    ]
    return _table(("parameter", "default", "allowed", "meaning"), rows)


PARTS: Final[Mapping[str, Callable[[], str]]] = {"rule": rule_table, "transitions": transition_table}


def with_tables(page: str) -> str:
    """Return the page with its tables as the code has them.

    Raises:
        ValueError: the markers of a table are not there, each once.
    """
    for name, table in PARTS.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise ValueError(f"the page has to hold {begin} and then {end}, each once")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table()}\n{end}{rest.partition(end)[2]}"
    return page


def _transitions(stimuli: Mapping[str, Step]) -> str:
    rows = []
    for situation in SITUATIONS:
        outcomes = [_outcome(situation.trial(), step) for step in stimuli.values()]
        rows.append((_words(situation.trial().machine.state), situation.besides, *outcomes))
    return _table(("shown", "besides", *stimuli), rows)


def _outcome(trial: Trial, step: Step) -> str:
    before = trial.machine.state
    try:
        events = step(trial)
    except OperationRefused:
        return "refused"
    happened = ", ".join(_event(event) for event in events if event.kind != "state_changed")
    changed = f"**{_words(trial.machine.state)}**" if trial.machine.state != before else ""
    return ": ".join(filter(None, [changed, happened])) or "-"


def _event(event: AlarmEvent) -> str:
    return _words(event.kind) + ("!" if event.announced else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(about: Mapping[str, Any]) -> str:
    """Return the limits in a parameter's JSON schema; for one that may be null, those of the number."""
    number = next((kind for kind in about.get("anyOf", ()) if kind["type"] != "null"), about)
    if number["type"] == "boolean":
        return "`true`, `false`"
    if "enum" in number:
        return ", ".join(f"`{value}`" for value in number["enum"])
    least = f"over {number['exclusiveMinimum']:g}" if "exclusiveMinimum" in number else f"{number['minimum']:g}"
    return f"{least} to {number['maximum']:.10g}" if "maximum" in number else f"{least}, `inf`: never"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(re.sub(r" +", " ", f"| {' | '.join(cells)} |") for cells in lines)


def main(words: list[str] | None = None) -> None:
    """Write the tables into the page that is named."""
    parser = argparse.ArgumentParser(prog="python scripts/alarm_table.py", description=main.__doc__)
    parser.add_argument("page", type=Path, help="Markdown with the markers of the tables, as docs/alarms.md")
    path = parser.parse_args(words).page
    try:
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
    except (OSError, ValueError) as error:
        parser.error(f"{path}: {error}")


if __name__ == "__main__":
    main()
