"""Display of ``listen``: a meter on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from humwatch.alarm.events import MachineState
from humwatch_service.client.stream import Connected, LinkEvent
from humwatch_service.protocol.messages import Ready, SampleFormat, Score, ServerMessage, StateChange, Warn
from humwatch_service.protocol.pcm import PcmDecoder

FLOOR_DBFS: Final = -99.0
LINE_EVERY_S: Final = 60.0

_COLOURS: Final[dict[MachineState, str]] = {
    "normal": "green",
    "warning": "yellow",
    "alarm": "bold red",
    "unknown": "magenta",
    "off": "blue",
    "out_of_service": "blue",
}
_METER_CELLS: Final = 40
_METER_DB: Final = 60.0


def levels_dbfs(data: bytes, form: SampleFormat) -> tuple[float, float]:
    """Return peak and RMS of integer samples, dB of full scale; ``FLOOR_DBFS`` for silence."""
    samples = PcmDecoder(form, 1).push(data).astype(np.float64)
    if not samples.size:
        return FLOOR_DBFS, FLOOR_DBFS
    return _dbfs(float(np.abs(samples).max())), _dbfs(math.sqrt(float(np.mean(samples**2))))


def _dbfs(amplitude: float) -> float:
    return max(FLOOR_DBFS, 20.0 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DBFS


class MeterState:
    """Current state of a source and its stream."""

    def __init__(self, machine_id: str, source: str) -> None:
        self.machine_id = machine_id
        self.source = source
        self.peak_dbfs = self.rms_dbfs = FLOOR_DBFS
        self.state: MachineState = "unknown"
        self.score: float | None = None
        self.reasons: list[str] = []
        self.faults: dict[str, str] = {}
        self.connection = "connecting"
        self.dropped_samples = 0

    def on_message(self, message: ServerMessage) -> None:
        """Take over the content of a message."""
        if isinstance(message, (Ready, Score, StateChange)):
            self.state = message.state
        if isinstance(message, Score):
            self.score = message.score
        elif isinstance(message, StateChange):
            self.reasons = message.reasons
        elif isinstance(message, Warn) and message.active:
            self.faults[message.code] = message.message
        elif isinstance(message, Warn):
            self.faults.pop(message.code, None)

    def on_link(self, event: LinkEvent) -> None:
        """Take over the state of the connection."""
        if isinstance(event, Connected):
            self.connection = "connected"
        else:
            self.state, self.score, self.reasons = "unknown", None, []
            self.connection = f"{event.refusal}; trying again in {event.delay_s:.0f} s"

    def line(self) -> str:
        """Return all of it in one line."""
        parts = [
            f"{self.machine_id}: {self.state}" + (f" ({', '.join(self.reasons)})" if self.reasons else ""),
            "no score yet" if self.score is None else f"score {self.score:.2f}",
            f"peak {self.peak_dbfs:.0f} dBFS, RMS {self.rms_dbfs:.0f} dBFS",
            *sorted(self.faults),
            *([f"{self.dropped_samples} samples lost"] if self.dropped_samples else []),
        ]
        return "; ".join(parts)


class StreamDisplay(Protocol):
    """Anything that shows a :class:`MeterState`."""

    def changed(self) -> None:
        """Show what has changed, if it is time to."""

    def note(self, text: str) -> None:
        """Write a line that is not overwritten."""


class LineDisplay:
    """A line when the state changes, and one a minute."""

    def __init__(
        self, meter: MeterState, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter = meter
        self._write = write
        self._clock = clock
        self._state: MachineState | None = None
        self._said_s = clock()

    def changed(self) -> None:
        """Write a line, if it is time to."""
        meter = self._meter
        if meter.state != self._state or self._clock() - self._said_s >= LINE_EVERY_S:
            self._state = meter.state
            self._said_s = self._clock()
            self._write(meter.line())

    def note(self, text: str) -> None:
        """Write a line."""
        self._write(text)


class MeterDisplay:
    """A level meter with the state and the score, drawn anew four times a second."""

    def __init__(self, meter: MeterState, console: Console) -> None:
        self._meter = meter
        self.live = Live(console=console, get_renderable=self._picture, refresh_per_second=4, transient=True)

    def changed(self) -> None:
        """Do nothing: it is drawn anew anyway."""

    def note(self, text: str) -> None:
        """Write a line above the meter."""
        self.live.console.print(text, markup=False, highlight=False)

    def _picture(self) -> Table:
        meter = self._meter
        colour = _COLOURS[meter.state]
        score = "" if meter.score is None else f"  score {meter.score:.2f}"
        reasons = f"  {', '.join(meter.reasons)}" if meter.reasons else ""
        table = Table.grid(padding=(0, 2))
        table.add_row("machine", f"{escape(meter.machine_id)}  [{colour}]{meter.state}[/]{score}{reasons}")
        table.add_row("source", f"{escape(meter.source)}  {_meter(meter.peak_dbfs, meter.rms_dbfs)}")
        table.add_row("service", escape(meter.connection))
        for code, text in sorted(meter.faults.items()):
            table.add_row(escape(code), escape(text))
        if meter.dropped_samples:
            table.add_row("lost", f"{meter.dropped_samples} samples that the buffer had no room for")
        return table


def _meter(peak_dbfs: float, rms_dbfs: float) -> str:
    """Return a bar up to the RMS and a mark at the peak, with both in figures."""
    cells = ["━" if cell < _cell(rms_dbfs) else " " for cell in range(_METER_CELLS)]
    if (peak := _cell(peak_dbfs)) > 0:
        cells[peak - 1] = "┃"
    colour = "red" if peak_dbfs > -1.0 else "green"
    return f"[{colour}]{''.join(cells)}[/] peak {peak_dbfs:.0f} dBFS  RMS {rms_dbfs:.0f} dBFS"


def _cell(level_dbfs: float) -> int:
    return round(_METER_CELLS * min(1.0, max(0.0, 1.0 + level_dbfs / _METER_DB)))


@contextmanager
def display(meter: MeterState) -> Iterator[StreamDisplay]:
    """Show on stderr, as a terminal or a log wants it."""
    console = Console(stderr=True)
    if console.is_terminal:
        shown = MeterDisplay(meter, console)
        with shown.live:
            yield shown
    else:
        yield LineDisplay(meter, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
