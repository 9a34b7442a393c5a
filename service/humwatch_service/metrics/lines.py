"""Metrics of machines: families whose lines are kept as text, so that a scrape writes only what has changed.

The client library writes every line anew for every scrape: with 1,000 machines that is half a second, in which streams
wait for the interpreter. Here a line is written when its value is another one, and a scrape joins them.
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
    """A series: what stands before its value, and the value. Used from any thread."""

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
        """Count."""
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
        """A new series, shown from now on; its value is 0."""
        pairs = zip(self._spec.labels, labels, strict=True)
        written = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs)
        line = Line(self, f"{self._spec.name}{{{written}}} ")
        with self._lock:
            self._lines[line] = str(line)
        return line

    def remove(self, line: Line) -> None:
        """Show a series no more; whoever still has it may go on with it, to no effect."""
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
        """The family as it is scraped."""
        with self._writing:
            with self._lock:
                changed, self._changed = self._changed, set()
            written = {line: str(line) for line in changed}  # whoever counts does not wait for this
            with self._lock:
                self._lines.update((line, text) for line, text in written.items() if line in self._lines)
                lines = "".join(self._lines.values())
        name = self._spec.name.removesuffix("_total") if form == "openmetrics" else self._spec.name
        told = self._spec.help.translate(_ESCAPED if form == "openmetrics" else _ESCAPED_HELP)
        return f"# HELP {name} {told}\n# TYPE {name} {self._spec.kind}\n{lines}"


class LineSet:
    """Series that come and go together."""

    def __init__(self) -> None:
        self._lines: list[tuple[LineFamily, Line]] = []

    def add(self, family: LineFamily, *labels: str) -> Line:
        """A new series, shown from now on."""
        line = family.line(*labels)
        self._lines.append((family, line))
        return line

    def remove(self) -> None:
        """Show none of them any more."""
        for family, line in self._lines:
            family.remove(line)
        self._lines.clear()


def text_of(families: Iterable[LineFamily], form: TextFormat) -> str:
    """All families as they are scraped."""
    return "".join(family.text(form) for family in families)
