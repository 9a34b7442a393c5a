"""Admission of streams: a connection says hello, and gets the stream that it names, or a new one, or a refusal."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch.errors import AudioRateUnsupported
from humwatch.live.model import LiveModel
from humwatch.live.monitor import LiveMonitor
from humwatch.recording import choose_channel
from humwatch_service.config.settings import Settings
from humwatch_service.errors import Overloaded, ShuttingDown, StreamOwned, StreamsFull
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.protocol.limits import MAX_MESSAGE_BYTES
from humwatch_service.protocol.messages import FLOAT_FORMATS, FORMAT_BITS, Hello, Limits, Warn
from humwatch_service.streams.sample_clock import SampleClock
from humwatch_service.streams.stream import LiveStream
from humwatch_service.streams.stream_items import StreamFormat
from humwatch_service.streams.stream_parties import Connection, StreamObserver
from humwatch_service.streams.stream_start import start_of
from humwatch_service.streams.workers import StreamWorkers

RESUME_GRACE_S: Final = 30.0
"""Time for which a stream without a connection keeps its place, unless it was given up."""
WARM_UP_S: Final = 2.0
"""Sound that is asked for again after a restart, beyond one clip: frames and windows take some before the first."""


@dataclass(frozen=True)
class OpenedStream:
    """Stream that a connection feeds from now on.

    Attributes:
        stream: the stream.
        resumed: False for a new one.
        warning: why the client's ``start_time_s`` is not believed; None where it is.
    """

    stream: LiveStream
    resumed: bool
    warning: Warn | None = None


class StreamAdmission:
    """Admission of connections to streams. Belongs to the event loop."""

    def __init__(
        self,
        settings: Settings,
        workers: StreamWorkers,
        load: Load,
        *,
        observer_for: Callable[[LiveMachine], StreamObserver],
        live: Callable[[], int],
        stream_s: Callable[[str], float],
        on_open: Callable[[LiveMachine], None],
        on_end: Callable[[LiveStream], None],
        on_refusal: Callable[[StreamsFull | Overloaded], None],
    ) -> None:
        """Admit streams from now on.

        Args:
            settings: limits, and the rule of who owns a machine.
            workers: workers of the streams.
            load: load of the service.
            observer_for: maker of the observer of a machine's stream.
            live: count of the streams that connections feed.
            stream_s: lookup of the processor time that the predictions of a second of a machine's stream take, seconds.
            on_open: callback for machines whose stream was opened.
            on_end: callback for streams that are over.
            on_refusal: callback for refusals for want of room.
        """
        self._settings = settings
        self._workers = workers
        self._load = load
        self._observer_for = observer_for
        self._live = live
        self._stream_s = stream_s
        self._on_open = on_open
        self._on_end = on_end
        self._on_refusal = on_refusal
        self._closed = False

    @property
    def limits(self) -> Limits:
        """Limits that a client is told of."""
        return Limits(
            max_message_bytes=MAX_MESSAGE_BYTES,
            buffer_s=self._settings.stream_buffer_s,
            idle_timeout_s=self._settings.stream_idle_timeout_s,
        )

    def close(self) -> None:
        """Open no more streams."""
        self._closed = True

    async def open(
        self, machine: LiveMachine, hello: Hello, connection: Connection, *, length_s: float | None = None
    ) -> OpenedStream:
        """Let a connection feed a stream: the one that it names and that is there, or a new one.

        Args:
            machine: machine whose sound comes.
            hello: first message of the client.
            connection: the connection.
            length_s: length of all that it is going to send, seconds; None where that is not known.

        Raises:
            StreamOwned: another stream is live for the machine.
            StreamsFull, Overloaded, ShuttingDown: not now.
            AudioRateUnsupported, AudioChannelMissing: the format cannot be heard.
        """
        async with machine.opening:
            form = self._format(machine, hello)
            self.refuse_if_full(machine)
            if not machine.is_fed:
                self._load.on_admission(self._stream_s(machine.machine_id), self._live())
            opened = (
                self._join(machine, form, hello, length_s)
                or (self._resume(machine, form, hello) if hello.join_s is None else None)
                or await self._begin(machine, form, hello, length_s)
            )
            opened.stream.connection = connection
        self._on_open(machine)
        return opened

    def refuse_if_full(self, machine: LiveMachine) -> None:
        """Refuse a stream that there is no room for, also before its connection is taken.

        Raises:
            StreamsFull, Overloaded, ShuttingDown: not now.
        """
        if self._closed:
            raise ShuttingDown("the service is stopping")
        refusal = None if machine.is_fed else self._refusal(machine)
        if refusal is not None:
            self._on_refusal(refusal)
            raise refusal

    def _refusal(self, machine: LiveMachine) -> StreamsFull | Overloaded | None:
        live = self._live()
        if live >= self._settings.max_streams:
            return StreamsFull(f"{live} streams are live, as many as the service takes")
        stream = machine.stream
        if stream is not None and not stream.given_up and time.monotonic() - stream.arrivals.last_s < RESUME_GRACE_S:
            return None
        return self._load.refusal(self._stream_s(machine.machine_id), live)

    def _format(self, machine: LiveMachine, hello: Hello) -> StreamFormat:
        settings = self._settings
        if not settings.min_rate_hz <= hello.rate_hz <= settings.max_rate_hz:
            raise AudioRateUnsupported(
                f"{hello.rate_hz} Hz; {settings.min_rate_hz} to {settings.max_rate_hz} Hz are taken"
            )
        default = machine.model.bundle.manifest.channel if machine.model is not None else 0
        return StreamFormat(
            stream_id=hello.stream_id or uuid.uuid4().hex,
            rate_hz=hello.rate_hz,
            channels=hello.channels,
            channel=choose_channel(hello.channels, hello.channel, default),
            sample_bits=FORMAT_BITS[hello.format],
            full_scale=hello.format not in FLOAT_FORMATS,
            realtime=hello.realtime and hello.join_s is None,
        )

    def _join(
        self, machine: LiveMachine, form: StreamFormat, hello: Hello, length_s: float | None
    ) -> OpenedStream | None:
        """Let a burst go on in the stream of those before it; None where there is none, or its pause was too long."""
        stream, named = machine.stream, hello.stream_id is not None
        if hello.join_s is None or stream is None:
            return None
        if named and stream.form == form and stream.connection is not None:
            stream.connection.evict(StreamOwned("the next burst came over another connection"))
            stream.connection = None
        if not stream.goes_on_with(form, named=named):
            return None
        start = start_of(hello, stream.accepted, said_s=hello.start_time_s, length_s=length_s)
        stream.join(start.anchor, claim=start.claim)
        stream.begin_burst(hello.join_s)
        return OpenedStream(stream, resumed=True, warning=start.warning)

    def _resume(self, machine: LiveMachine, form: StreamFormat, hello: Hello) -> OpenedStream | None:
        """Take the stream of the same format from the connection that had it; None where there is none."""
        stream = machine.stream
        if stream is None or stream.form != form or stream.ended:
            return None
        if stream.connection is not None:
            stream.connection.evict(StreamOwned("the same stream came over another connection"))
        stream.given_up = False
        if hello.start_time_s is None:
            return OpenedStream(stream, resumed=True)  # the count of samples is unbroken, and so is their time
        said_s = hello.start_time_s + stream.accepted / form.rate_hz
        start = start_of(hello, stream.accepted, said_s=said_s, length_s=None)
        stream.join(start.anchor, claim=start.claim)
        return OpenedStream(stream, resumed=True, warning=start.warning)

    async def _begin(
        self, machine: LiveMachine, form: StreamFormat, hello: Hello, length_s: float | None
    ) -> OpenedStream:
        await self._make_room(machine)
        first, scored_until = self._place(machine, form, hello)
        said_s = None if hello.start_time_s is None else hello.start_time_s + first / form.rate_hz
        start = start_of(hello, first, said_s=said_s, length_s=length_s)
        stream = LiveStream(
            form,
            self._observer_for(machine),
            make_monitor=self._monitor_maker(machine),
            first_sample=first,
            scored_until=scored_until,
            clock=SampleClock(form.rate_hz, start.anchor, claim=start.claim, length_s=start.length_s),
            buffer_s=self._settings.stream_buffer_s,
            workers=self._workers,
        )
        stream.join_s = hello.join_s
        machine.begin_stream(stream)
        return OpenedStream(stream, resumed=scored_until > 0, warning=start.warning)

    async def _make_room(self, machine: LiveMachine) -> None:
        """End the stream that the machine has, if it may be ended."""
        stream = machine.stream
        if stream is None or stream.ended:
            return
        if stream.connection is not None:
            if self._settings.stream_owner == "first":
                raise StreamOwned(f"{machine.machine_id} is fed by another stream")
            stream.connection.evict(StreamOwned("a newer stream took over"))
            stream.connection = None
        await stream.end()
        self._on_end(stream)

    @staticmethod
    def _place(machine: LiveMachine, form: StreamFormat, hello: Hello) -> tuple[int, int]:
        """Return the first sample that is asked for, and the first that was not scored before a restart."""
        first, scored_until = hello.start_sample, 0
        kept = machine.restored if hello.join_s is None else None  # a burst is sent once
        if kept is not None and (kept.stream_id, kept.rate_hz) == (form.stream_id, form.rate_hz):
            scored_until = kept.next_sample
            again_s = WARM_UP_S + (machine.model.clip_seconds if machine.model is not None else 0.0)
            # never sound that the client has not got any more: it was scored, and would count as missing
            first = min(scored_until, max(scored_until - round(again_s * form.rate_hz), hello.start_sample))
        machine.restored = None
        return first, scored_until

    def _monitor_maker(self, machine: LiveMachine) -> Callable[[LiveStream, LiveModel, int], LiveMonitor]:
        use_level = self._settings.machine(machine.machine_id).run_state == "level"

        def make_monitor(stream: LiveStream, model: LiveModel, first_sample: int) -> LiveMonitor:
            return LiveMonitor(
                model,
                source_rate_hz=stream.form.rate_hz,
                first_sample=first_sample,
                scored_until=stream.scored_until,
                time_of=stream.time_of,
                running=machine.running,
                use_level=use_level,
                in_real_time=stream.form.realtime,
                full_scale=stream.form.full_scale,
            )

        return make_monitor
