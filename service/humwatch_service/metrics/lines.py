"""The metrics of machines: families whose lines are kept as text, so that a scrape writes only those that changed.

The client library writes every line anew for every scrape: with 1,000 machines that is half a second, in which streams
wait for the interpreter (ADR 14). Here a scrape writes the lines whose value has changed, and joins them all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client.utils import floatToGoString

from humwatch_service.metrics.table import MetricSpec

_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
"""In the values of labels, of both text formats."""
_ESCAPED_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})

TextFormat = Literal["plain", "openmetrics"]


class Line:
    """A series: the text before its value, and the value. Used from any thread."""

    __slots__ = ("_family", "head", "value")

    def __init__(self, family: LineFamily, head: str) -> None:
        self._family = family
        self.head = head
        self.value = 0.0

    def set(self, value: float) -> None:
        """Show a value."""
        if value != self.value:  # NaN is written again: it is rare, and no worse for it
            self._family.put(self, value)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the value."""
        if amount:
            self._family.add(self, amount)

    def __str__(self) -> str:
        value: str = floatToGoString(self.value)  # type: ignore[no-untyped-call]
        return f"{self.head}{value}\n"


class LineFamily:
    """All series of a metric. Used from any thread."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: dict[Line, str] = {}
        self._changed: set[Line] = set()

    def line(self, *labels: str) -> Line:
        """Return a new series, shown from now on; its value is 0."""
        pairs = zip(self._spec.labels, labels, strict=True)
        written = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs)
        line = Line(self, f"{self._spec.name}{{{written}}} ")
        with self._lock:
            self._lines[line] = str(line)
        return line

    def remove(self, line: Line) -> None:
        """Show a series no more; changes of its value have no effect from then on."""
        with self._lock:
            self._lines.pop(line, None)

    def put(self, line: Line, value: float) -> None:
        """Give a series of this family a value."""
        with self._lock:
            line.value = float(value)
            self._changed.add(line)

    def add(self, line: Line, amount: float) -> None:
        """Add to a series of this family."""
        with self._lock:
            line.value += amount
            self._changed.add(line)

    def text(self, form: TextFormat) -> str:
        """Return the text of the family."""
        with self._writing:
            with self._lock:
                changed, self._changed = self._changed, set()
            written = {line: str(line) for line in changed}  # without the lock, so that nobody waits who counts
            with self._lock:
                self._lines.update((line, text) for line, text in written.items() if line in self._lines)
                lines = "".join(self._lines.values())
        name = self._spec.name.removesuffix("_total") if form == "openmetrics" else self._spec.name
        text = self._spec.help.translate(_ESCAPED if form == "openmetrics" else _ESCAPED_HELP)
        return f"# HELP {name} {text}\n# TYPE {name} {self._spec.kind}\n{lines}"


class LineSet:
    """A set of series that come and go together."""

    def __init__(self) -> None:
        self._lines: list[tuple[LineFamily, Line]] = []

    def add(self, family: LineFamily, *labels: str) -> Line:
        """Return a new series, shown from now on."""
        line = family.line(*labels)
        self._lines.append((family, line))
        return line

    def remove(self) -> None:
        """Show none of them any more."""
        for family, line in self._lines:
            family.remove(line)
        self._lines.clear()


def text_of(families: Iterable[LineFamily], form: TextFormat) -> str:
    """Return the text of all families."""
    return "".join(family.text(form) for family in families)
