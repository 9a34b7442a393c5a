"""Those whom a stream deals with: the connection that feeds it, and the observer that judges what it scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from humwatch.arrays import Float32
from humwatch.errors import HumwatchError
from humwatch.live.step import LiveStep
from humwatch_service.protocol.messages import ServerMessage
from humwatch_service.streams.sample_clock import Note
from humwatch_service.streams.stream_items import ClockReading, Elsewhere, Gap, Overflow

if TYPE_CHECKING:
    from humwatch_service.streams.stream import LiveStream


class StreamObserver(Protocol):
    """Observer of a stream. Called by the worker that has the stream's batch."""

    def on_steps(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps; return the messages for the client."""

    def on_audio(self, stream: LiveStream, start: int, mono: Float32) -> None:
        """Take the sound that is monitored, float32 (n,), whose first sample has the index ``start``."""

    def on_item(self, stream: LiveStream, item: Gap | Overflow | ClockReading | Elsewhere) -> None:
        """Take samples that never came, and readings of the source's clock."""

    def on_note(self, stream: LiveStream, note: Note) -> None:
        """Know that the times of a stream are counted anew; on the event loop."""

    def on_cpu_time(self, stream: LiveStream, seconds: float) -> None:
        """Take the processor time of a batch."""


class Connection(Protocol):
    """Connection that feeds a stream now. Called on the event loop."""

    def deliver(self, messages: list[ServerMessage]) -> None:
        """Take messages for the client."""

    def evict(self, reason: HumwatchError) -> None:
        """End: another connection feeds the stream from now on, or none can."""
