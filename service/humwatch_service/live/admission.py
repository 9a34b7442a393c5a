"""Who may feed which stream: a connection says hello, and gets the stream that it names, or a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from humwatch.errors import AudioRateUnsupported
from humwatch.live.monitor import LiveModel, LiveMonitor
from humwatch.recording import choose_channel
from humwatch_service.config.settings import Settings
from humwatch_service.errors import Overloaded, ShuttingDown, StreamOwned, StreamsFull
from humwatch_service.live.executor import TurnPool
from humwatch_service.live.load import Load
from humwatch_service.live.machine import LiveMachine
from humwatch_service.live.stream import Connection, Listening, LiveStream
from humwatch_service.live.stream_items import StreamFormat, Swap
from humwatch_service.protocol.messages import Hello

MAX_AGE_S: Final = 3_600.0
"""Sound may be this old when it comes; what a client says beyond that is its clock's fault."""
BACK_SOON_S: Final = 30.0
"""A stream whose connection was broken for less has kept its place, unless it was given up."""
REWARM_S: Final = 2.0
"""Sound that is asked for again after a restart, beyond one clip: frames and windows take some before the first."""


@dataclass(frozen=True)
class Opened:
    """A stream that a connection feeds from now on."""

    stream: LiveStream
    resumed: bool


class Reception:
    """Opens streams; belongs to the event loop."""

    def __init__(
        self,
        settings: Settings,
        turns: TurnPool,
        load: Load,
        *,
        report_for: Callable[[LiveMachine], Listening],
        live: Callable[[], int],
        stream_s: Callable[[LiveMachine], float],
        on_end: Callable[[LiveStream], None],
        on_refusal: Callable[[StreamsFull | Overloaded], None],
    ) -> None:
        """Make the place where connections come to.

        Args:
            settings: limits and who owns a machine.
            turns: of the streams.
            load: of the service.
            report_for: what a machine's stream reports to.
            live: counts the streams that somebody feeds.
            stream_s: processor time that the predictions of a second of a machine's stream take.
            on_end: is told of streams that are over.
            on_refusal: is told of streams that there is no room for.
        """
        self._settings = settings
        self._turns = turns
        self._load = load
        self._report_for = report_for
        self._live = live
        self._stream_s = stream_s
        self._on_end = on_end
        self._on_refusal = on_refusal
        self._closed = False

    def close(self) -> None:
        """Open no more streams."""
        self._closed = True

    async def open(self, machine: LiveMachine, hello: Hello, connection: Connection) -> Opened:
        """Let a connection feed a stream: the one that it names and that is there, or a new one.

        Raises:
            StreamOwned: another stream is live for the machine.
            StreamsFull, Overloaded, ShuttingDown: not now.
            AudioRateUnsupported, AudioChannelMissing: the format cannot be heard.
        """
        async with machine.opening:
            form = self._format(machine, hello)
            self.refuse_if_full(machine)
            if not machine.is_fed:
                self._load.admitted(self._stream_s(machine), self._live())
            stream = machine.stream
            if stream is not None and stream.form == form and not stream.ended:
                if stream.connection is not None:
                    stream.connection.evict(StreamOwned("the same stream came over another connection"))
                stream.anchor(self._start_time_s(hello, stream.accepted))
                stream.connection = connection
                stream.given_up = False
                return Opened(stream, resumed=True)
            await self._make_room(machine)
            machine.stream = stream = self._new_stream(machine, form, hello)
            stream.connection = connection
            return Opened(stream, resumed=stream.heard_until > 0)

    def refuse_if_full(self, machine: LiveMachine) -> None:
        """Refuse what there is no room for, also before a connection is taken.

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
        if stream is not None and not stream.given_up and time.monotonic() - stream.heard_s < BACK_SOON_S:
            return None
        return self._load.refusal(self._stream_s(machine), live)

    def _format(self, machine: LiveMachine, hello: Hello) -> StreamFormat:
        settings = self._settings
        if not settings.min_rate_hz <= hello.rate_hz <= settings.max_rate_hz:
            raise AudioRateUnsupported(
                f"{hello.rate_hz} Hz; {settings.min_rate_hz} to {settings.max_rate_hz} Hz are taken"
            )
        default = machine.model.bundle.manifest.channel if machine.model is not None else 0
        return StreamFormat(
            stream_id=hello.stream_id or "",
            rate_hz=hello.rate_hz,
            channels=hello.channels,
            channel=choose_channel(hello.channels, hello.channel, default),
            integers=hello.format != "f32le",
            realtime=hello.realtime,
        )

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

    def _new_stream(self, machine: LiveMachine, form: StreamFormat, hello: Hello) -> LiveStream:
        first, heard_until = hello.start_sample, 0
        kept = machine.restored
        if kept is not None and (kept.stream_id, kept.rate_hz) == (form.stream_id, form.rate_hz):
            heard_until = kept.next_sample
            again_s = REWARM_S + (machine.model.clip_seconds if machine.model is not None else 0.0)
            # never sound that the client has not got any more: it was heard, and would count as missing
            first = min(heard_until, max(heard_until - round(again_s * form.rate_hz), hello.start_sample))
        machine.restored = None
        stream = LiveStream(
            form,
            self._report_for(machine),
            listen_with=self._monitor_of(machine),
            first_sample=first,
            heard_until=heard_until,
            start_time_s=self._start_time_s(hello, first),
            buffer_s=self._settings.stream_buffer_s,
            turns=self._turns,
        )
        if machine.model is not None:
            stream.note(Swap(machine.model))
        if machine.collector is not None:
            machine.collector.begin(form.rate_hz, 16 if form.integers else 24)
        return stream

    def _monitor_of(self, machine: LiveMachine) -> Callable[[LiveStream, LiveModel, int], LiveMonitor]:
        use_level = self._settings.machine(machine.machine_id).run_state == "level"

        def listen_with(stream: LiveStream, model: LiveModel, first_sample: int) -> LiveMonitor:
            return LiveMonitor(
                model,
                source_rate_hz=stream.form.rate_hz,
                first_sample=first_sample,
                heard_until=stream.heard_until,
                time_of=stream.time_of,
                running=machine.running,
                use_level=use_level,
                in_real_time=stream.form.realtime,
            )

        return listen_with

    def _start_time_s(self, hello: Hello, sample: int) -> float:
        """Wall clock of sample 0: what the client says, unless that cannot be."""
        now_s = time.time()
        said = hello.start_time_s
        if said is not None and now_s - MAX_AGE_S <= said + sample / hello.rate_hz <= now_s + 1.0:
            return said
        return now_s - sample / hello.rate_hz
