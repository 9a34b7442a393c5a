"""Supervisor of the sound that the service fetches itself: sound cards, watched folders, loops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from humwatch.errors import HumwatchError
from humwatch_service.backoff import Backoff
from humwatch_service.config.sources import FolderSource, LoopSource, SoundCardSource, SourceSettings
from humwatch_service.errors import ModelsLoading
from humwatch_service.metrics.folders import FolderMetrics
from humwatch_service.protocol.messages import Clock, Dropped, Hello, Position
from humwatch_service.sources.capture import Microphone, capture_blocks, load_sounddevice
from humwatch_service.sources.connection import check, connected
from humwatch_service.sources.folder.folder_feed import FolderFeed
from humwatch_service.sources.folder.folder_host import FolderHost
from humwatch_service.sources.folder.folder_state import FolderState
from humwatch_service.sources.folder.watched_folder import WatchedFolder
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.storage.folder_rows import FolderRows
from humwatch_service.telemetry.logs import event_logger

CHUNK_S: Final = 0.1
CLOCK_S: Final = 1.0

_log = event_logger("humwatch.sources")


class SourceSupervisor:
    """Tasks that fetch the sound of every source of the configuration, each tried again until it works."""

    def __init__(
        self, host: FolderHost, sources: Sequence[SourceSettings], rows: FolderRows, metrics: FolderMetrics
    ) -> None:
        """Begin with no task.

        Args:
            host: live part of the service.
            sources: sources of the configuration.
            rows: memory of watched folders.
            metrics: metrics of watched folders.
        """
        self._host = host
        self._sources = sources
        folders = [source for source in sources if isinstance(source, FolderSource)]
        places = {source.folder for source in folders}
        self._folders = {
            source: FolderFeed(
                WatchedFolder(source, rows, metrics.of(source.machine), excluded=places - {source.folder}), host
            )
            for source in folders
        }
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to fetch; machines may come later."""
        self._tasks = [asyncio.create_task(self._keep_running(source)) for source in dict.fromkeys(self._sources)]

    async def close(self) -> None:
        """Stop all of them."""
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for feed in self._folders.values():
            await feed.close()

    def folders(self) -> list[FolderState]:
        """Return what can be said of the watched folders now; from any thread."""
        return [feed.folder.state() for feed in self._folders.values()]

    async def _keep_running(self, source: SourceSettings) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            started_s = time.monotonic()
            try:
                await self._run(source)
            except ModelsLoading:
                _log.debug("source waits for the models", machine_id=source.machine, kind=source.kind)
                backoff.reset()
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
            await self._folders[source].run()
        else:
            await self._sound_card(source)

    async def _loop(self, source: LoopSource) -> None:
        recordings = await asyncio.to_thread(RecordingSequence, source.files)
        async with connected(self._host.session, source, _hello(recordings, source)) as connection:
            session = connection.session
            chunk = max(1, round(CHUNK_S * recordings.rate_hz))
            async for data in recordings.chunks(chunk, speed=1.0, loop=True, stop=self._stop):
                check(session)
                await session.data(data)

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
        async with connected(self._host.session, source, hello) as connection:
            session = connection.session
            sample, clock_s = 0, 0.0
            async for block in capture_blocks(microphone, stop=self._stop, on_trouble=_trouble_log(source)):
                check(session)
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


def _hello(recordings: RecordingSequence, source: LoopSource) -> Hello:
    return Hello(
        rate_hz=recordings.rate_hz,
        format=recordings.format,
        channels=recordings.channels,
        channel=source.channel,
        realtime=True,
    )


def _trouble_log(source: SoundCardSource) -> Callable[[str], None]:
    def on_trouble(reason: str) -> None:
        _log.warning("sound card in trouble", machine_id=source.machine, reason=reason)

    return on_trouble
