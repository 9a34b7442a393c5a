"""One stream of one machine: what the event loop takes into its buffer, workers score batch by batch.

A stream outlives its connections: a client that comes back with the same ``stream_id`` goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from humwatch.alarm.events import MachineState
from humwatch.arrays import Float32, Int16
from humwatch.errors import HumwatchError
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch_service.errors import InternalError
from humwatch_service.protocol.messages import Bye, ServerMessage
from humwatch_service.streams.arrival_clock import ArrivalClock
from humwatch_service.streams.arrival_dating import ArrivalDating
from humwatch_service.streams.audio_ring import SoundRing
from humwatch_service.streams.burst_repeat import BurstStart
from humwatch_service.streams.clock_notes import warning_of
from humwatch_service.streams.sample_clock import Anchor, SampleClock
from humwatch_service.streams.stream_batch import StreamBatch
from humwatch_service.streams.stream_buffer import StreamBuffer
from humwatch_service.streams.stream_items import (
    Beside,
    ClockReading,
    Elsewhere,
    End,
    Gap,
    Overflow,
    RunSignal,
    ScoredItem,
    Seam,
    StreamFormat,
    Swap,
)
from humwatch_service.streams.stream_parties import Connection, StreamObserver
from humwatch_service.streams.stream_scorer import MonitoredChannel, StreamScorer
from humwatch_service.streams.workers import CATCH_UP_S, StreamWorkers
from humwatch_service.telemetry.logs import event_logger

_log = event_logger("humwatch.live")


class LiveStream:
    """One stream: buffer, clocks and scorer, whose batches it hands to workers. Belongs to the event loop.

    ``time_of``, ``publish`` and ``put_from_any_thread`` may be called from any thread, ``note``, ``latency_s`` and
    ``ring`` are for the worker that has the stream's batch; the parts say of themselves to whom they belong.

    Attributes:
        form: format of the stream.
        scored_until: first sample that was not scored before a restart.
        accepted: index of the sample after the newest.
        gap_samples: number of samples that never came.
        connection: connection that feeds the stream; None between two.
        timeout_s: longest pause of the sound, seconds; None leaves it to the service's setting.
        join_s: longest pause between two bursts that are joined, seconds; None where none are.
        burst: start of the last burst that said when it was recorded.
        begun_s: start of the stream, monotonic seconds.
        given_up: True if the stream had to go because the service could not keep up.
        failure: error that ended the stream.
    """

    def __init__(
        self,
        form: StreamFormat,
        observer: StreamObserver,
        *,
        make_monitor: Callable[[LiveStream, LiveModel, int], LiveMonitor],
        first_sample: int,
        scored_until: int = 0,
        clock: SampleClock,
        buffer_s: float,
        workers: StreamWorkers,
    ) -> None:
        """Begin a stream, without a model until :meth:`put` brings one.

        Args:
            form: format of the stream.
            observer: observer of the stream.
            make_monitor: maker of the monitor of a model from a sample on.
            first_sample: index of the first sample that comes.
            scored_until: first sample that was not scored before a restart.
            clock: wall clock of its samples.
            buffer_s: sound that may wait, seconds.
            workers: workers that score batches.
        """
        self.form = form
        self.scored_until = scored_until
        self.accepted = first_sample
        self.gap_samples = 0
        self.connection: Connection | None = None
        self.timeout_s: float | None = None
        self.join_s: float | None = None
        self.burst: BurstStart | None = None
        self.given_up = False
        self.failure: HumwatchError | None = None
        self.monitored = MonitoredChannel(form)
        self.buffer = StreamBuffer(form.rate_hz, buffer_s, on_due=self._hand_over)
        self.clock = clock
        self._dating = ArrivalDating(self.buffer, clock, form.rate_hz)
        self._to_date = clock.newest.source == "arrival"
        self.arrivals = ArrivalClock(form.rate_hz, realtime=form.realtime)
        self.begun_s = self.arrivals.last_s
        self._held_back_s = 0.0
        self.scorer = StreamScorer(
            form, first_sample, make_monitor=lambda model, sample: make_monitor(self, model, sample)
        )
        self.observer = observer
        self._first = first_sample
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        workers.join()

    @property
    def ring(self) -> SoundRing:
        """Last sound of the stream."""
        return self.scorer.ring

    @property
    def waiting_s(self) -> float:
        """Sound that waits to be scored, seconds."""
        return self.buffer.waiting_s

    @property
    def catching_up(self) -> bool:
        """True while sound is scored that was kept during a break of the connection."""
        return self.arrivals.catching_up

    @property
    def ended(self) -> bool:
        """True once nothing can be sent any more."""
        return self._over.is_set()

    def time_of(self, sample: int) -> float:
        """Return the wall clock where the sample before ``sample`` ends, seconds since 1970."""
        return self.clock.end_of(sample)

    def silent_for(self, timeout_s: float) -> bool:
        """Return True if no sound came for so long, or hardly any, and none waits; to be asked about once a second."""
        return self.arrivals.silent_for(timeout_s) and not self.waiting_s

    def latency_s(self, sample: int) -> float | None:
        """Return the seconds since the sample before ``sample`` came; to be asked in order."""
        return self.arrivals.latency_s(sample)

    def publish(self, messages: list[ServerMessage]) -> None:
        """Deliver messages to the client; from any thread."""
        self._loop.call_soon_threadsafe(self.deliver, messages)

    @property
    def has_room(self) -> bool:
        """False while so much waits that a sender has to wait, too."""
        return not self.buffer.is_full

    async def room(self) -> None:
        """Wait while too much waits (back-pressure)."""
        if self.has_room:
            return
        asked_s = time.monotonic()
        await self.buffer.room()
        self._held_back_s += time.monotonic() - asked_s

    async def take(self, item: Float32 | Int16 | Gap | Overflow | ClockReading) -> None:
        """Take the next item as :meth:`accept` does, once there is room."""
        await self.room()
        self.accept(item)

    def accept(self, item: Float32 | Int16 | Gap | Overflow | ClockReading) -> None:
        """Take the next item, sound as (n, channels), float32 in [-1, 1] or integers; its sender waited for room."""
        if isinstance(item, np.ndarray):
            if not len(item):
                return
            self.accepted += len(item)
            self.arrivals.on_audio(len(item), self.accepted, self._held_back_s)
            self._held_back_s = 0.0
            self.buffer.put(item)
            self._date()
            return
        if isinstance(item, Gap):
            self.accepted += item.samples
            self.gap_samples += item.samples
        self.buffer.put(item)

    def join(self, anchor: Anchor, *, claim: Anchor | None = None) -> None:
        """Have the sound from an anchor on, which is still to come, from another time; nothing is missing before it."""
        self._dating.end()
        self.clock.anchor(anchor, claim=claim)
        self._to_date = anchor.source == "arrival"
        self.buffer.put(Seam())

    def goes_on_with(self, form: StreamFormat, *, named: bool) -> bool:
        """Return True if a burst of a format is joined to those before, which its client has ``named`` or not.

        Nobody sends then, and the pause was no longer than the sender said it would be.
        """
        same = form == self.form if named else form == replace(self.form, stream_id=form.stream_id)
        if self.join_s is None or self.connection is not None or self.ended or not same:
            return False
        return time.monotonic() - self.arrivals.last_s <= self.join_s

    def begin_burst(self, join_s: float) -> None:
        """Count what is summed up at the end of a burst anew."""
        self.join_s = join_s
        self._first, self.gap_samples = self.accepted, 0
        self.scorer.steps, self.scorer.worst_score = 0, None

    async def end_burst(self) -> None:
        """Score what is there; the stream goes on with the next burst."""
        if self.ended:
            return
        await self.drained()

    def put(self, item: Swap | RunSignal | Beside) -> None:
        """Take an item of the service's own, in order."""
        self.buffer.put(item)

    def put_from_any_thread(self, item: Swap | RunSignal | Beside) -> None:
        """Take an item of the service's own; from any thread."""
        self._loop.call_soon_threadsafe(self.buffer.put, item)

    async def abandon(self, seconds: float) -> None:
        """Score what waits, for so long at most, and stop; the stream is not over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.drained()
        self._close()

    async def drained(self) -> None:
        """Wait until all that was taken is scored."""
        self._dating.end()
        await self.buffer.drained()

    async def end(self) -> None:
        """Score what is left: the stream is over."""
        self._dating.end()
        if not self.ended:
            self.buffer.put(End())
        await self._over.wait()

    def summary(self, state: MachineState) -> Bye:
        """Return the message that ends the stream."""
        return Bye(
            samples=self.accepted - self._first - self.gap_samples,
            gap_samples=self.gap_samples,
            steps=self.scorer.steps,
            worst_score=self.scorer.worst_score,
            state=state,
        )

    def _date(self) -> None:
        """See when sound was recorded that has come."""
        if self._to_date:
            self._to_date = False
            self._dating.begin(self.accepted)
        elif self._dating.holds:
            self._dating.on_audio(self.accepted)
        elif (note := self.clock.follow(self.accepted)) is not None:
            self.observer.on_note(self, note)
            self.deliver([warning_of(note)])

    def note(self, item: ScoredItem) -> None:
        """Tell the observer of an item before it is scored; in a worker."""
        if isinstance(item, np.ndarray):
            self.observer.on_audio(self, self.scorer.position, item)
        elif isinstance(item, (Gap, Overflow, ClockReading, Elsewhere)):
            self.observer.on_item(self, item)

    def deliver(self, messages: list[ServerMessage]) -> None:
        """Give messages to the connection, if there is one; on the event loop."""
        if messages and self.connection is not None:
            self.connection.deliver(messages)

    def _hand_over(self) -> None:
        """Give the batch that is due to the workers."""
        batch = StreamBatch(self, self._loop, self.buffer.next_batch())
        try:
            self._workers.submit(batch, CATCH_UP_S if self.catching_up else 0.0)
        except RuntimeError:
            self._break()

    def go_on(self, *, over: bool, error: Exception | None) -> None:
        """Go on behind a batch: with the next, or to the end; on the event loop."""
        if self.ended:
            return
        if error is not None:
            self._break(error)
        elif over:
            self._close()
        else:
            monitor = self.scorer.monitor
            self.buffer.batch_done(None if monitor is None else monitor.samples_until_step)
            if self.buffer.is_nearly_empty:
                self.arrivals.on_caught_up()
            self.buffer.go_on()

    def _break(self, error: Exception | None = None) -> None:
        """End for an error; one of our own is in the log alone."""
        if isinstance(error, HumwatchError):
            self.failure = error
        else:
            _log.error("a stream broke", exc_info=error, stream_id=self.form.stream_id)
            self.failure = InternalError("scoring the stream failed; see the log")
        if self.connection is not None:
            self.connection.evict(self.failure)
        self._close()

    def _close(self) -> None:
        """Score no more."""
        if not self.ended:
            self._over.set()
            self._workers.leave()
            self.buffer.close()
