"""``humwatch replay``: recordings sent to the service as if a microphone heard them now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from humwatch.audio.decoding import DecodeLimits
from humwatch_service.cli.client_options import (
    DEFAULT_URL,
    ChannelOption,
    KeyFileOption,
    MachineOption,
    MessagesOption,
    UrlOption,
    address,
    link_event_text,
    print_message,
)
from humwatch_service.cli.console import failures, say
from humwatch_service.cli.given import on_disk
from humwatch_service.cli.interruption import interruptible
from humwatch_service.client import Backlog, LinkEvent, Patience, ServiceAddress, StreamClient
from humwatch_service.errors import RequestInvalid, ServiceUnreachable
from humwatch_service.protocol.messages import Bye, Hello, Score, ServerMessage, Warn
from humwatch_service.sources.sequence import RecordingSequence

PATIENCE: Final = Patience(first_s=10.0, lost_s=300.0)
"""Someone waits for the end."""

BUFFER_S: Final = 120.0

PIPED: Final = DecodeLimits(max_duration_s=86_400.0)
"""Most that is taken from a pipe: it is written to a temporary file."""

GOODBYE_S: Final = 10.0
"""Longest time for what was sent to be scored, after the signal to stop."""

OnMessage = Callable[[ServerMessage], None]


@dataclass(frozen=True)
class Pace:
    """Pace at which recordings are sent: ``speed`` 1 is real time, 0 as fast as it goes."""

    speed: float
    loop: bool
    chunk_ms: int

    def chunk_samples(self, rate_hz: int) -> int:
        """Return the number of frames in a piece."""
        return max(1, rate_hz * self.chunk_ms // 1000)


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them; - is standard input.")],
    machine: MachineOption,
    url: UrlOption = DEFAULT_URL,
    key_file: KeyFileOption = None,
    channel: ChannelOption = None,
    speed: Annotated[
        float, typer.Option(min=0.0, max=1000.0, help="1 is real time, 10 ten times as fast, 0 as fast as it goes.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end, until SIGTERM or Ctrl-C.")] = False,
    chunk_ms: Annotated[int, typer.Option(min=1, max=10_000, help="Length of the pieces that are sent, ms.")] = 100,
    start_time: Annotated[
        str | None,
        typer.Option(
            help="When the first of them was recorded, ISO 8601 (local time without a zone) or seconds since 1970;"
            " default: they end now."
        ),
    ] = None,
    as_json: MessagesOption = False,
) -> None:
    """Send recordings to a machine's stream, one after the other. Exits with 0 for alarms too."""
    pace = Pace(speed, loop, chunk_ms)
    with failures(as_json=as_json), on_disk(files, PIPED) as copies:
        recordings = RecordingSequence(copies)
        for remark in recordings.remarks:
            say(remark)
        hello = Hello(
            rate_hz=recordings.rate_hz,
            format=recordings.format,
            channels=recordings.channels,
            channel=channel,
            realtime=speed == 1.0,
            start_time_s=_start_time_s(start_time, recordings.duration_s, speed=speed, loop=loop),
        )
        where = address(url, key_file)
        bye = asyncio.run(_replay(where, machine, hello, recordings, pace, as_json))
    if not as_json:
        typer.echo(_result(machine, bye))


def _start_time_s(said: str | None, duration_s: float, *, speed: float, loop: bool) -> float | None:
    """Return when recordings began that are said to, or that end when all of them are sent; None: they are from now.

    Raises:
        RequestInvalid: it is no time.
    """
    if said is not None:
        try:
            return float(said) if _is_number(said) else datetime.fromisoformat(said).timestamp()
        except (ValueError, OverflowError, OSError) as error:
            raise RequestInvalid(f"--start-time: {said[:80]!r} is no time in ISO 8601, and no number") from error
    if loop or 0.0 < speed <= 1.0:
        return None
    return time.time() - duration_s * (1.0 if speed == 0.0 else 1.0 - 1.0 / speed)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


async def _replay(
    where: ServiceAddress, machine: str, hello: Hello, recordings: RecordingSequence, pace: Pace, as_json: bool
) -> Bye:
    with interruptible() as stop, _progress(recordings, pace) as progress:

        def on_message(message: ServerMessage) -> None:
            if as_json:
                print_message(message)
            progress.message(message)

        chunk_samples = pace.chunk_samples(recordings.rate_hz)
        chunks = recordings.chunks(chunk_samples, speed=pace.speed, loop=pace.loop, stop=stop)
        async with aclosing(chunks):
            sending = asyncio.create_task(_send(where, machine, hello, progress.counted(chunks), on_message))
            return await _until_stopped(sending, stop)


async def _until_stopped(sending: asyncio.Task[Bye], stop: asyncio.Event) -> Bye:
    """Wait for the end; after the signal to stop, not for long. Raises what ended the sending."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((sending, stopped), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((sending,), timeout=GOODBYE_S)
        if not sending.done():
            raise ServiceUnreachable(f"the service did not take the rest within {GOODBYE_S:.0f} s")
        return sending.result()
    finally:
        for task in (stopped, sending):
            task.cancel()
        await asyncio.gather(stopped, sending, return_exceptions=True)


async def _send(
    where: ServiceAddress, machine: str, hello: Hello, chunks: AsyncIterator[bytes], on_message: OnMessage
) -> Bye:
    backlog = Backlog(hello, buffer_s=BUFFER_S)

    def on_link(event: LinkEvent) -> None:
        say(link_event_text(event))

    client = StreamClient(where, machine, backlog, patience=PATIENCE, on_message=on_message, on_link=on_link)
    filling = asyncio.create_task(_fill(backlog, chunks, realtime=hello.realtime))
    sending = asyncio.create_task(client.run())
    try:
        await asyncio.wait((filling, sending), return_when=asyncio.FIRST_COMPLETED)
        if filling.done():
            filling.result()  # a recording that cannot be decoded ends it
        return await sending
    finally:
        filling.cancel()
        sending.cancel()
        await asyncio.gather(filling, sending, return_exceptions=True)


async def _fill(backlog: Backlog, chunks: AsyncIterator[bytes], *, realtime: bool) -> None:
    """Bring chunks to the backlog, no faster than the service takes them: of a recording nothing may be lost."""
    async for chunk in chunks:
        await backlog.room(len(chunk) // backlog.frame_bytes)
        backlog.append(chunk, time_s=time.monotonic() if realtime else None)
    backlog.finish()


class _Counter:
    """The progress line: how much was sent, and what the service makes of it."""

    def __init__(self, bar: Progress, recordings: RecordingSequence) -> None:
        self._bar = bar
        self._bytes_per_s = recordings.frame_bytes * recordings.rate_hz
        self._said: set[str] = set()

    async def counted(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Pass chunks on, and count them."""
        async for chunk in chunks:
            yield chunk
            self._bar.advance(self._bar.task_ids[0], len(chunk) / self._bytes_per_s)

    def message(self, message: ServerMessage) -> None:
        """Show a score, with the state; say what the service warns of, each once."""
        if isinstance(message, Score):
            score = "no score yet" if message.score is None else f"score {message.score:.2f}"
            self._bar.update(self._bar.task_ids[0], description=f"{message.state}, {score}")
        elif isinstance(message, Warn) and message.active and message.code not in self._said:
            self._said.add(message.code)
            say(f"warning: {message.code}: {message.message}")


@contextmanager
def _progress(recordings: RecordingSequence, pace: Pace) -> Iterator[_Counter]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} s"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task("replaying", total=None if pace.loop else recordings.duration_s)
        yield _Counter(bar, recordings)


def _result(machine: str, bye: Bye) -> str:
    worst = "no score" if bye.worst_score is None else f"worst score {bye.worst_score:.3f}"
    return f"{machine}: {bye.state}, {worst}; {bye.samples} samples were heard, {bye.gap_samples} are missing"
