"""Supervisor of the sound that the service fetches itself: sound cards, watched folders, loops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from humwatch.audio.files import is_audio_file
from humwatch.errors import AudioError, HumwatchError
from humwatch_service.backoff import Backoff
from humwatch_service.config.sources import FolderSource, LoopSource, SoundCardSource, SourceSettings
from humwatch_service.errors import FileUnreadable, ModelsLoading
from humwatch_service.live.session import StreamSession
from humwatch_service.protocol.messages import Clock, Dropped, Hello, Position
from humwatch_service.sources.capture import Microphone, capture_blocks, load_sounddevice
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.telemetry.logs import event_logger

CHUNK_S: Final = 0.1
CLOCK_S: Final = 1.0
POLL_S: Final = 1.0
"""Time between looks at a watched folder."""

_log = event_logger("humwatch.sources")


class SourceSupervisor:
    """Tasks that fetch the sound of every source of the configuration, each tried again until it works."""

    def __init__(self, open_session: Callable[[str], StreamSession], sources: Sequence[SourceSettings]) -> None:
        """Begin with no task.

        Args:
            open_session: maker of the session that feeds the stream of the machine of this id.
            sources: sources of the configuration.
        """
        self._open_session = open_session
        self._sources = sources
        self._folders: dict[FolderSource, _WatchedFolder] = {}
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to fetch; machines may come later."""
        self._tasks = [asyncio.create_task(self._keep_running(source)) for source in self._sources]

    async def close(self) -> None:
        """Stop all of them."""
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep_running(self, source: SourceSettings) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            started_s = time.monotonic()
            try:
                await self._run(source)
            except ModelsLoading:
                _log.debug("source waits for the models", machine_id=source.machine, kind=source.kind)
            except HumwatchError as error:
                _log.error(
                    "source failed", machine_id=source.machine, kind=source.kind, code=error.code, reason=str(error)
                )
            except Exception:
                _log.exception("source failed", machine_id=source.machine, kind=source.kind)
            if time.monotonic() - started_s > 60.0:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _run(self, source: SourceSettings) -> None:
        if isinstance(source, LoopSource):
            await self._loop(source)
        elif isinstance(source, FolderSource):
            await self._folder(source)
        else:
            await self._sound_card(source)

    async def _loop(self, source: LoopSource) -> None:
        recordings = await asyncio.to_thread(RecordingSequence, source.files)
        async with self._session(source, _hello(recordings, source, realtime=True)) as session:
            chunk = max(1, round(CHUNK_S * recordings.rate_hz))
            async for data in recordings.chunks(chunk, speed=1.0, loop=True, stop=self._stop):
                _check(session)
                await session.data(data)

    async def _folder(self, source: FolderSource) -> None:
        folder = self._folders.get(source)
        if folder is None:
            folder = self._folders[source] = await asyncio.to_thread(_WatchedFolder, source)
        recordings = await self._next(folder)
        while recordings is not None:
            hello = _hello(recordings, source, realtime=False)
            async with self._session(source, hello, timeout_s=source.every_s) as session:
                before, recordings = recordings, await self._send(session, folder, recordings)
                while recordings is not None and _hello(recordings, source, realtime=False) == hello:
                    recordings = await self._send(session, folder, recordings)
                _log.info("recordings of another form", machine_id=source.machine, rate_hz=before.rate_hz)

    async def _send(
        self, session: StreamSession, folder: _WatchedFolder, recordings: RecordingSequence
    ) -> RecordingSequence | None:
        """Send a recording; return the next one, once it is there."""
        piece = max(1, round(CHUNK_S * recordings.rate_hz)) * recordings.frame_bytes
        try:
            blocks = recordings.blocks()
            while (data := await asyncio.to_thread(next, blocks, None)) is not None:
                for at in range(0, len(data), piece):
                    _check(session)
                    await session.data(data[at : at + piece])
        except AudioError as error:
            folder.skip(error)
        else:
            await asyncio.to_thread(folder.mark_done)
        return await self._next(folder)

    async def _next(self, folder: _WatchedFolder) -> RecordingSequence | None:
        while not self._stop.is_set():
            recordings = await asyncio.to_thread(folder.next)
            if recordings is not None:
                return recordings
            await asyncio.sleep(POLL_S)
        return None

    async def _sound_card(self, source: SoundCardSource) -> None:
        sound = await asyncio.to_thread(load_sounddevice)
        wanted = None if source.device is None else str(source.device)
        microphone = await asyncio.to_thread(
            lambda: Microphone(sound, wanted, rate_hz=source.rate_hz, channels=source.channels, bits=source.bits)
        )
        await asyncio.to_thread(microphone.open)
        hello = Hello(
            rate_hz=microphone.rate_hz,
            format=microphone.format,
            channels=source.channels,
            channel=source.channel,
            realtime=True,
        )
        async with self._session(source, hello) as session:
            sample, clock_s = 0, 0.0
            async for block in capture_blocks(microphone, stop=self._stop, on_trouble=_trouble_log(source)):
                _check(session)
                if block.overflows:
                    await session.take(Dropped(overflows=block.overflows))
                if block.gap_samples:
                    sample += block.gap_samples
                    await session.take(Position(sample=sample))
                await session.data(block.data)
                sample += block.samples
                if block.time_s - clock_s >= CLOCK_S:
                    clock_s = block.time_s
                    await session.take(Clock(sample=sample, time_s=block.time_s))

    @contextlib.asynccontextmanager
    async def _session(
        self, source: SourceSettings, hello: Hello, *, timeout_s: float | None = None
    ) -> AsyncIterator[StreamSession]:
        session = self._open_session(source.machine)
        reading = asyncio.create_task(_discard(session))
        try:
            await session.hello(hello)
            session.expect_within(timeout_s)
            _log.info("source is heard", machine_id=source.machine, kind=source.kind, rate_hz=hello.rate_hz)
            yield session
        finally:
            session.close()
            reading.cancel()


class _WatchedFolder:
    """Folder, and which of its files are done: those that are there when nothing is deleted count as old."""

    def __init__(self, source: FolderSource) -> None:
        self._source = source
        self._sizes: dict[Path, tuple[int, float]] = {}
        self._done = set() if source.delete else set(self._files())
        self._current: Path | None = None

    def next(self) -> RecordingSequence | None:
        """Return the next whole file, by name (blocking), None when there is none; skip those that cannot be read."""
        files = self._files()
        self._done &= set(files)
        for path in files:
            if path not in self._done and self._is_whole(path):
                self._current = path
                try:
                    return RecordingSequence([path])
                except HumwatchError as error:
                    self.skip(error)
        return None

    def skip(self, error: HumwatchError) -> None:
        """Pass over the current file, which cannot be used; it stays where it is."""
        if self._current is not None:
            self._done.add(self._current)
            _log.error("recording skipped", machine_id=self._source.machine, code=error.code, reason=str(error))

    def mark_done(self) -> None:
        """Note that the current file is done with (blocking)."""
        if self._current is not None:
            self._done.add(self._current)
            if self._source.delete:
                self._current.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        try:
            return sorted(filter(is_audio_file, self._source.folder.iterdir()))
        except OSError as error:
            raise FileUnreadable(f"{self._source.folder} cannot be read: {error.strerror}") from error

    def _is_whole(self, path: Path) -> bool:
        """Return True if the file has not grown for a while."""
        try:
            size = path.stat().st_size
        except OSError:
            return False
        known = self._sizes.get(path)
        if known is None or known[0] != size:
            self._sizes[path] = (size, time.monotonic())
            return False
        if time.monotonic() - known[1] < self._source.settle_s:
            return False
        del self._sizes[path]
        return True


def _hello(recordings: RecordingSequence, source: LoopSource | FolderSource, *, realtime: bool) -> Hello:
    return Hello(
        rate_hz=recordings.rate_hz,
        format=recordings.format,
        channels=recordings.channels,
        channel=source.channel,
        realtime=realtime,
    )


def _check(session: StreamSession) -> None:
    if session.evicted.done():
        raise session.evicted.result()


def _trouble_log(source: SoundCardSource) -> Callable[[str], None]:
    def on_trouble(reason: str) -> None:
        _log.warning("sound card in trouble", machine_id=source.machine, reason=reason)

    return on_trouble


async def _discard(session: StreamSession) -> None:
    """Drop the messages that a client would be told; states and alarms are in the log."""
    while await session.outgoing.get() is not None:
        pass
