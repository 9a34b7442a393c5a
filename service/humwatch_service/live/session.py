"""Session of one connection that feeds a stream: its messages in order, whichever way they travel."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Final

from humwatch.arrays import Float32, Int16
from humwatch.errors import HumwatchError
from humwatch_service.errors import StreamIdle, StreamInvalid
from humwatch_service.live.admission import StreamAdmission
from humwatch_service.live.machine import LiveMachine
from humwatch_service.metrics.live import LiveMetrics
from humwatch_service.problems import status_of
from humwatch_service.protocol.containers import StreamHead
from humwatch_service.protocol.limits import MAX_MESSAGE_BYTES
from humwatch_service.protocol.messages import (
    Bye,
    ClientMessage,
    Clock,
    Dropped,
    Eof,
    Failure,
    Hello,
    Position,
    Ready,
    Received,
    ServerMessage,
    Warn,
    understood,
)
from humwatch_service.protocol.pcm import PcmDecoder
from humwatch_service.streams.burst_repeat import BurstStart
from humwatch_service.streams.clock_notes import ignored, repeated
from humwatch_service.streams.outgoing import Outgoing
from humwatch_service.streams.sample_clock import Anchor, can_be
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_items import ClockReading, Gap, Overflow
from humwatch_service.telemetry.logs import event_logger

ARRIVALS_S: Final = 0.5
"""Time between readings of the service's own clock for a client that sends none."""
MAX_BACKLOG_S: Final = 2.0
"""Waiting sound beyond which the service is slow, and arrival times tell nothing of the source."""

_log = event_logger("humwatch.stream")


class StreamSession:
    """Connection's side of a stream; its transport calls it. Belongs to the event loop.

    Attributes:
        outgoing: messages that the transport sends.
        evicted: reason why the connection has to end, once it has to.
    """

    def __init__(self, machine: LiveMachine, admission: StreamAdmission, metrics: LiveMetrics) -> None:
        """Begin before the first message.

        Args:
            machine: machine whose sound comes.
            admission: admission to its stream.
            metrics: metrics of live streams.
        """
        self.outgoing = Outgoing()
        self.evicted: asyncio.Future[HumwatchError] = asyncio.get_running_loop().create_future()
        self._machine = machine
        self._admission = admission
        self._metrics = metrics
        self._stream: LiveStream | None = None
        self._head = StreamHead()
        self._decoder = PcmDecoder("s16le", 1)
        self._cursor = 0
        self._confirmed = 0
        self._join_s: float | None = None
        self._burst: BurstStart | None = None
        self._burst_named = False
        self._has_clock = False
        self._clock_s = 0.0

    async def hello(self, hello: Hello, *, length_s: float | None = None) -> None:
        """Open or resume the stream. Raises a named error when it is refused.

        Args:
            hello: first message of the client.
            length_s: length of all that it is going to send, seconds; None where that is not known.
        """
        if hello.stream_id is None and hello.join_s is None and self._join_s is not None:
            hello = hello.model_copy(update={"join_s": self._join_s})
        if hello.stream_id is None and hello.join_s is None:
            hello = hello.model_copy(update={"stream_id": uuid.uuid4().hex})
        opened = await self._admission.open(self._machine, hello, self, length_s=length_s)
        self._stream = stream = opened.stream
        self._decoder = PcmDecoder(hello.format, hello.channels)
        self._cursor = self._confirmed = stream.accepted
        model = self._machine.model
        self.outgoing.put(
            Ready(
                stream_id=stream.form.stream_id,
                machine_id=self._machine.machine_id,
                model_version=model.bundle.manifest.version if model else None,
                model_sha256=model.bundle.digest if model else None,
                next_sample=stream.accepted,
                resumed=opened.resumed,
                state=self._machine.state,
                limits=self._admission.limits,
            )
        )
        self._warn(opened.warning)
        if stream.join_s is not None and hello.start_time_s is not None:
            self._burst = stream.burst = BurstStart(hello.start_time_s, stream.accepted, stream.burst)

    def join_by_default(self, seconds: float | None) -> None:
        """Join the bursts of a client that names no stream and says nothing of pauses; None: join none."""
        self._join_s = seconds

    def expect_within(self, seconds: float | None) -> None:
        """Let the sound pause for so long; None: as long as the service's setting says."""
        self._open_stream.timeout_s = seconds

    async def recorded_at(self, time_s: float | None) -> None:
        """Say when the sample that comes next was taken, seconds since 1970; None: now."""
        await self._open_stream.room()
        self._recorded_at(time_s)

    def _recorded_at(self, time_s: float | None) -> None:
        stream, now_s = self._open_stream, time.time()
        self._end_head()
        self._whole_frames()
        claim = None if time_s is None else Anchor(self._cursor, time_s, "said")
        if claim is not None and can_be(claim.time_s, now_s):
            stream.join(claim)
        else:
            stream.join(Anchor(self._cursor, now_s, "arrival"), claim=claim)
            self._warn(None if claim is None else ignored(claim.time_s, now_s))

    def hear(self, message: str | bytes) -> bool:
        """Take a message at once; return False where it has to wait (``hello``, ``eof``, any without room)."""
        stream = self._stream
        if stream is None or not stream.has_room:
            return False
        if isinstance(message, bytes):
            self._data(stream, message)
            return True
        said = understood(message)
        if isinstance(said, (Hello, Eof)):
            return False
        self._note(stream, said)
        return True

    async def text(self, text: str) -> Bye | None:
        """Take a JSON message; return ``bye`` when it was the last."""
        return await self.take(understood(text))

    async def take(self, message: ClientMessage) -> Bye | None:
        """Take a message; wait while too much sound waits; return ``bye`` when it was the last."""
        if isinstance(message, Hello):
            if self._stream is not None:
                raise StreamInvalid("hello was said before")
            await self.hello(message)
            return None
        stream = self._open_stream
        await stream.room()
        if isinstance(message, Eof):
            return await self.finish()
        self._note(stream, message)
        return None

    async def data(self, data: bytes) -> None:
        """Take PCM; wait while too much sound waits."""
        stream = self._open_stream
        await stream.room()
        self._data(stream, data)

    def _note(self, stream: LiveStream, message: Position | Clock | Dropped) -> None:
        if isinstance(message, Clock):
            self._has_clock = True
            stream.accept(ClockReading(message.sample, message.time_s))
        elif isinstance(message, Position):
            self._end_head()
            self._whole_frames()
            self._head = StreamHead()
            self._cursor = message.sample
        else:
            self._metrics.overflowed(self._machine.machine_id, message.overflows)
            stream.accept(Overflow(message.overflows))

    def _data(self, stream: LiveStream, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise StreamInvalid(f"a message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES} are taken")
        if self._burst is None:
            self._samples(stream, self._decoder.cut(self._head.push(data)))
        else:
            self._hear_burst(stream, self._burst, self._burst.feed(data))
        if stream.accepted - self._confirmed >= stream.form.rate_hz:
            self._confirmed = stream.accepted
            self.outgoing.put_beside(Received(sample=self._confirmed))

    def _hear_burst(self, stream: LiveStream, burst: BurstStart, data: bytes) -> None:
        """Hear PCM of a burst, before what is new of one that was sent before; date it where its clock stands still."""
        if burst.finding in ("sent_again", "clock_stands") and not self._burst_named:
            self._burst_named = True
            self._warn(repeated(burst.finding, burst.start_s))
            if burst.finding == "clock_stands":
                self._recorded_at(None)
            else:
                self._cursor = burst.first_sample
                heard_s = (stream.accepted - burst.first_sample) / stream.form.rate_hz
                stream.join(Anchor(stream.accepted, burst.start_s + heard_s, "said"))
        self._samples(stream, self._decoder.cut(self._head.push(data)))

    def _samples(self, stream: LiveStream, samples: Float32 | Int16) -> None:
        """Take samples (n, channels) that follow what came before, or the last ``position``."""
        if stream.failure is not None:
            raise stream.failure
        start, self._cursor = self._cursor, self._cursor + len(samples)
        if start < stream.accepted:
            samples = samples[stream.accepted - start :]
        elif start > stream.accepted:
            stream.accept(Gap(start - stream.accepted))
        stream.accept(samples)
        if not self._has_clock and stream.form.realtime:
            self._read_clock(stream)

    def _read_clock(self, stream: LiveStream) -> None:
        """Take the time at which sound came for the client's clock, which sends none; not if it waited to be read."""
        now_s = time.monotonic()
        if now_s - self._clock_s >= ARRIVALS_S and stream.waiting_s <= MAX_BACKLOG_S:
            self._clock_s = now_s
            stream.accept(ClockReading(stream.accepted, now_s))

    async def drained(self) -> None:
        """Wait until all that was taken is scored."""
        await self._open_stream.drained()

    async def finish(self) -> Bye:
        """Score what is left; the stream is over, unless bursts are joined. A ``position`` ahead marks a last gap."""
        stream = self._open_stream
        if self._burst is not None:
            self._hear_burst(stream, self._burst, self._burst.end())
        self._end_head()
        self._whole_frames()
        if self._cursor > stream.accepted:
            stream.accept(Gap(self._cursor - stream.accepted))
        await (stream.end() if stream.join_s is None else stream.end_burst())
        if stream.failure is not None:
            raise stream.failure
        bye = stream.summary(self._machine.state)
        self.outgoing.put(bye)
        return bye

    def close(self) -> None:
        """End: the connection is gone; the stream stays for a while, to be resumed."""
        if self._stream is not None and self._stream.connection is self:
            self._stream.connection = None
        self._metrics.scores_dropped(self._machine.machine_id, self.outgoing.dropped)
        self.outgoing.close()

    def deliver(self, messages: list[ServerMessage]) -> None:
        """Take messages for the client."""
        for message in messages:
            self.outgoing.put(message)

    def evict(self, reason: HumwatchError) -> None:
        """End: another connection feeds the stream from now on, or none can."""
        if not self.evicted.done():
            self.evicted.set_result(reason)

    def _warn(self, warning: Warn | None) -> None:
        """Say why a time that was said is not believed, if it is not."""
        if warning is not None:
            self._metrics.redated(self._machine.machine_id, warning.code)
            _log.warning("time of sound not believed", machine_id=self._machine.machine_id, reason=warning.message)
            self.outgoing.put(warning)

    @property
    def _open_stream(self) -> LiveStream:
        if self._stream is None:
            raise StreamInvalid("the first message has to be hello")
        return self._stream

    def _end_head(self) -> None:
        """Hear what was held back of the first bytes: no file begins so."""
        if rest := self._head.rest():
            self._samples(self._open_stream, self._decoder.cut(rest))

    def _whole_frames(self) -> None:
        if self._decoder.rest_bytes:
            raise StreamInvalid(f"{self._decoder.rest_bytes} bytes do not make a whole frame")


def failure_of(error: HumwatchError) -> Failure:
    """Return the message that tells the client of an error before the stream is closed."""
    after_s = getattr(error, "retry_after_s", None)
    retry = after_s is not None or isinstance(error, StreamIdle) or status_of(error) >= 500
    return Failure(code=error.code, detail=str(error), retry=retry, retry_after_s=after_s)
