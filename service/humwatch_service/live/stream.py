"""One stream of one machine: a bounded buffer that the event loop fills, and a worker thread that listens.

A stream outlives its connections: a client that comes back with the same ``stream_id`` goes on where it was.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from humwatch.alarm.events import MachineState
from humwatch.errors import HumwatchError
from humwatch.live.monitor import LiveModel, LiveMonitor, LiveStep
from humwatch_service.errors import InternalError
from humwatch_service.live.audio_ring import SoundRing
from humwatch_service.live.executor import CATCH_UP_S, TurnPool
from humwatch_service.live.stream_items import ClockReading, End, Gap, Item, Overflow, RunSignal, StreamFormat, Swap
from humwatch_service.protocol.messages import Bye, ServerMessage
from humwatch_service.telemetry.logs import event_logger

Float32 = npt.NDArray[np.float32]

RING_S: Final = 120.0
"""Sound that is kept for evidence: delay, clip and what is wanted before them."""
ENOUGH_S: Final = 0.2
"""Sound that is worth waking a worker for while there is no model, whose next step would tell."""
AHEAD_S: Final = 2.0
"""Sound that comes so much faster than time was kept while a connection was broken: the stream catches up."""
TRICKLE: Final = 10.0
"""A second of live sound stands for at most so many of the clock: what comes more slowly is no sound."""
MAX_ITEMS: Final = 4_096
"""Messages of a stream that may wait, however little sound they hold."""
LATE_S: Final = 0.5
"""Sound comes in blocks, over networks: so late it is in time."""
SLEW_EVERY_S: Final = 60.0
SLEW_S: Final = 0.5
"""Most that the wall clock of samples is corrected by each time: 8,000 ppm, no sound card is so far off."""
TURN_S: Final = 2.0
"""Sound that one stream may have scored before the next one has its turn."""

_log = event_logger("humwatch.live")


class Listening(Protocol):
    """What a stream reports to, from its worker thread."""

    def heard(self, stream: LiveStream, steps: list[LiveStep]) -> list[ServerMessage]:
        """Judge steps; return what the client is told."""

    def taken(self, stream: LiveStream, start: int, mono: Float32) -> None:
        """See the sound that is listened to, float32 (n,), whose first sample has the index ``start``."""

    def noted(self, stream: LiveStream, item: Gap | Overflow | ClockReading) -> None:
        """Know of samples that never came, and of the source's clock."""

    def worked(self, stream: LiveStream, seconds: float) -> None:
        """Know of the processor time that a turn took."""


class Connection(Protocol):
    """Who feeds a stream now. Called on the event loop."""

    def deliver(self, messages: list[ServerMessage]) -> None:
        """Take what the client is told."""

    def evict(self, reason: HumwatchError) -> None:
        """Know that somebody else feeds the stream from now on, or nobody can."""


class LiveStream:
    """Buffer, monitor and evidence of one stream. Its public methods belong to the event loop."""

    def __init__(
        self,
        form: StreamFormat,
        listening: Listening,
        *,
        listen_with: Callable[[LiveStream, LiveModel, int], LiveMonitor],
        first_sample: int,
        heard_until: int = 0,
        start_time_s: float,
        buffer_s: float,
        turns: TurnPool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without a monitor until :meth:`note` brings a model: a machine that is being calibrated may have none.

        Args:
            form: what does not change.
            listening: what it reports to.
            listen_with: makes the monitor of a model that listens from a sample on.
            first_sample: index of the first sample that comes.
            heard_until: first sample that was not scored before a restart.
            start_time_s: wall clock of sample 0, seconds since 1970.
            buffer_s: sound that may wait, seconds.
            turns: of the workers.
            clock: the wall clock.
        """
        self.form = form
        self.monitor: LiveMonitor | None = None
        self.heard_until = heard_until
        self.ring = SoundRing(round(RING_S * form.rate_hz), integers=form.integers)
        self.accepted = first_sample
        self.gap_samples = 0
        self.steps = 0
        self.worst_score: float | None = None
        self.heard_s = time.monotonic()
        self.connection: Connection | None = None
        self.patience_s: float | None = None
        self.begun_s = self.heard_s
        self.catching_up = False
        self.given_up = False
        self.failure: HumwatchError | None = None
        self._listening = listening
        self._listen_with = listen_with
        self._first = first_sample
        self._position = first_sample
        self._start_time_s = start_time_s
        self._buffer_samples = round(buffer_s * form.rate_hz)
        self._turns = turns
        self._clock = clock
        self._items: deque[Item] = deque()
        self._queued = 0
        self._in_turn = 0
        self._wanted = round(ENOUGH_S * form.rate_hz)
        self._ahead_s = 0.0
        self._urgent = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._least_late_s, self._judged_s = math.inf, self.heard_s
        self._stands_until_s = self.heard_s
        self._arrivals: deque[tuple[int, float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    @property
    def waiting_s(self) -> float:
        """Sound that waits for a worker or is with one, seconds; what is too little for a step waits for more sound."""
        return self._queued / self.form.rate_hz if self._wake.is_set() or self._in_turn else 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._task.done()

    def time_of(self, sample: int) -> float:
        """Wall clock at a sample, seconds since 1970: never in the future, and for a recording always now."""
        now_s = self._clock()
        if not self.form.realtime:
            return now_s
        return min(now_s, self._start_time_s + sample / self.form.rate_hz)

    def anchor(self, start_time_s: float) -> None:
        """Correct the wall clock of sample 0."""
        self._start_time_s = start_time_s

    def silent_for(self, patience_s: float) -> bool:
        """Whether no sound came for so long, or hardly any, and none waits; asked about once a second."""
        now_s = time.monotonic()
        self._stands_until_s = max(self._stands_until_s, now_s - patience_s - 1.0)  # sound after a pause counts at once
        return not self.waiting_s and now_s - self._stands_until_s > patience_s

    def latency_s(self, sample: int) -> float | None:
        """Since the sample before ``sample`` came, seconds; asked in order. From the worker."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < sample:
            self._arrivals.popleft()
        return time.monotonic() - self._arrivals[0][1] if self._arrivals else None

    def tell(self, messages: list[ServerMessage]) -> None:
        """Let the client know; from any thread."""
        self._loop.call_soon_threadsafe(self._deliver, messages)

    async def take(self, item: Float32 | Gap | Overflow | ClockReading) -> None:
        """Take what comes next; waits while too much waits (back-pressure)."""
        while (self._queued > self._buffer_samples or len(self._items) > MAX_ITEMS) and not self.ended:
            self._room.clear()
            await self._room.wait()
        if isinstance(item, Gap):
            self.accepted += item.samples
            self.gap_samples += item.samples
        if isinstance(item, np.ndarray):
            if not len(item):
                return
            self._note_pace(len(item) / self.form.rate_hz)
            self.accepted += len(item)
            stands_for_s = TRICKLE * len(item) / self.form.rate_hz if self.form.realtime else math.inf
            self._stands_until_s = min(self.heard_s, self._stands_until_s + stands_for_s)
            self._keep_time()
            self._arrivals.append((self.accepted, self.heard_s))
            self._queued += len(item)
        self._put(item)

    def note(self, item: Swap | RunSignal) -> None:
        """Take what the service itself has to say, in order."""
        self._put(item)

    def note_from_anywhere(self, item: Swap | RunSignal) -> None:
        """The same, from any thread."""
        self._loop.call_soon_threadsafe(self._put, item)

    async def abandon(self, seconds: float) -> None:
        """Score what waits, for so long at most, and stop; the stream is not over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.drained()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def drained(self) -> None:
        """Wait until all that was taken is scored."""
        self._urgent = True
        self._wake.set()
        await self._idle.wait()

    async def end(self) -> None:
        """Score what is left, the stream is over."""
        if not self.ended:
            self._put(End())
        await asyncio.wait({self._task})

    def summary(self, state: MachineState) -> Bye:
        """What came of it."""
        return Bye(
            samples=self.accepted - self._first - self.gap_samples,
            gap_samples=self.gap_samples,
            steps=self.steps,
            worst_score=self.worst_score,
            state=state,
        )

    def _note_pace(self, seconds: float) -> None:
        """Sound has come: see whether it comes faster than time."""
        before_s, self.heard_s = self.heard_s, time.monotonic()
        self._ahead_s = max(0.0, self._ahead_s - (self.heard_s - before_s)) + seconds
        self.catching_up = self.catching_up or self._ahead_s > AHEAD_S

    def _keep_time(self) -> None:
        """Follow a sound card whose seconds are longer than the clock's, slowly: a backlog is late too, for a while."""
        late_s = self._clock() - (self._start_time_s + self.accepted / self.form.rate_hz)
        self._least_late_s = min(self._least_late_s, late_s)
        if self.heard_s - self._judged_s >= SLEW_EVERY_S:
            self._start_time_s += min(max(0.0, self._least_late_s - LATE_S), SLEW_S)
            self._least_late_s, self._judged_s = math.inf, self.heard_s

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._idle.clear()
        enough = self._queued - self._in_turn >= self._wanted or len(self._items) > MAX_ITEMS // 2
        self._urgent = self._urgent or enough or not isinstance(item, (np.ndarray, ClockReading))
        if self._urgent:
            self._wake.set()

    def _deliver(self, messages: list[ServerMessage]) -> None:
        if messages and self.connection is not None:
            self.connection.deliver(messages)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                turn, last = self._turn()
                later_s = CATCH_UP_S if self.catching_up else 0.0
                messages = await asyncio.wrap_future(self._turns.submit_later(later_s, self._work, turn))
                self._taken_back()
                self._deliver(messages)
                if not self._items:
                    self._idle.set()
                if last:
                    return
        except HumwatchError as error:
            self._fail(error)
        except Exception:
            _log.exception("a stream broke", stream_id=self.form.stream_id)
            self._fail(InternalError("scoring the stream failed; see the log"))
        finally:
            self._room.set()
            self._idle.set()

    def _taken_back(self) -> None:
        """A turn is over: there is room, and the next step is due when so much more sound has come."""
        self._queued, self._in_turn = self._queued - self._in_turn, 0
        self._room.set()
        if self.monitor is not None:
            self._wanted = self.monitor.samples_until_step
        if self._queued >= self._wanted:
            self._wake.set()
        elif self._queued < ENOUGH_S * self.form.rate_hz:
            self._ahead_s, self.catching_up = 0.0, False

    def _fail(self, error: HumwatchError) -> None:
        self.failure = error
        if self.connection is not None:
            self.connection.evict(error)

    def _turn(self) -> tuple[list[Item], bool]:
        """What is done next, and whether it is the end."""
        turn: list[Item] = []
        sound = 0
        while self._items and sound < TURN_S * self.form.rate_hz:
            item = self._items.popleft()
            turn.append(item)
            if isinstance(item, np.ndarray):
                sound += len(item)
        if not self._items:
            self._urgent = False
            self._wake.clear()
        self._in_turn = sound
        return turn, any(isinstance(item, End) for item in turn)

    def _work(self, turn: list[Item]) -> list[ServerMessage]:
        """In a worker thread: one turn at a time."""
        began_s = time.thread_time()
        messages: list[ServerMessage] = []
        for item in _together(turn):
            steps = self._done(item)
            self.steps += sum(step.step is not None for step in steps)
            scores = [step.clip_score for step in steps if step.clip_score is not None]
            self.worst_score = max([*scores, *([] if self.worst_score is None else [self.worst_score])], default=None)
            messages += self._listening.heard(self, steps)
        self._listening.worked(self, time.thread_time() - began_s)
        return messages

    def _done(self, item: Item) -> list[LiveStep]:
        monitor = self.monitor
        if isinstance(item, np.ndarray):
            return self._listened(item)
        if isinstance(item, Gap):
            self._position += item.samples
        if isinstance(item, (Gap, Overflow, ClockReading)):
            self._listening.noted(self, item)
        if monitor is None:
            if isinstance(item, Swap):
                self.monitor = self._listen_with(self, item.model, self._position)
            return []
        if isinstance(item, Gap):
            return monitor.gap(item.samples)
        if isinstance(item, Overflow):
            monitor.overflow(item.count)
        elif isinstance(item, ClockReading):
            monitor.clock(item.sample, item.time_s)
        elif isinstance(item, Swap):
            monitor.swap(item.model)
        elif isinstance(item, RunSignal):
            monitor.signal(item.running)
        return monitor.flush() if isinstance(item, End) else []

    def _listened(self, samples: Float32) -> list[LiveStep]:
        start = self._position
        mono = np.ascontiguousarray(samples[:, self.form.channel])
        self.ring.push(start, mono)
        self._position += len(mono)
        self._listening.taken(self, start, mono)
        return [] if self.monitor is None else self.monitor.push(mono)


def _together(turn: list[Item]) -> Iterator[Item]:
    """The items of a turn, with sound that came in pieces as one: every look at a piece has its price."""
    for is_sound, items in groupby(turn, lambda item: isinstance(item, np.ndarray)):
        if is_sound:
            yield np.concatenate([item for item in items if isinstance(item, np.ndarray)])
        else:
            yield from items
