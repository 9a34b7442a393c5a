"""Recordings of a watched folder, sent as one stream whose count of samples outlives restarts.

Before any sound of a recording is sent, the database knows at which sample of which stream it begins. What was scored
is known to the sample as well (the position of the machine, written with its alarms), so a service that was killed
goes on in the middle of a recording: the sound before that only warms up, and is neither judged nor recorded again.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from typing import Final, TypeVar

from humwatch.errors import AudioChannelMissing, AudioError, AudioRateUnsupported, HumwatchError
from humwatch_service.errors import FileUnreadable, ShuttingDown
from humwatch_service.live.session import StreamSession
from humwatch_service.protocol.messages import Position
from humwatch_service.sources.connection import check, connected
from humwatch_service.sources.folder.folder_host import FolderHost
from humwatch_service.sources.folder.folder_stream import FolderStream, Opened, hello_for, is_same_form, streams_of
from humwatch_service.sources.folder.refusals import outcome_of
from humwatch_service.sources.folder.watched_folder import WatchedFolder
from humwatch_service.sources.sequence import RecordingSequence
from humwatch_service.storage.folder_records import FolderPart, KeptFolder
from humwatch_service.telemetry.logs import event_logger

Result = TypeVar("Result")

_log = event_logger("humwatch.sources")

CHUNK_S: Final = 0.1
POLL_S: Final = 1.0
"""Time between looks at a folder."""
OPEN_POLL_S: Final = 0.1
"""Time between looks whether the database is read."""
ATTEMPTS: Final = 3
"""Times that a recording may fail to be read while its file is there, before it is given up."""


class FolderFeed:
    """Feeder of the stream of a machine with the recordings of a folder. Belongs to the event loop."""

    def __init__(self, folder: WatchedFolder, host: FolderHost) -> None:
        """Feed nothing yet.

        Args:
            folder: the folder.
            host: live part of the service.
        """
        self.folder = folder
        self._source = folder.source
        self._host = host
        self._number = 0
        self._over: list[FolderPart] = []
        self._sent = ("", 0)
        self._attempts: dict[int, int] = {}
        self._busy = threading.Lock()
        self._closed = False

    async def run(self) -> None:
        """Feed until cancelled; raises what ends the stream, and goes on where it was when called again."""
        while not self._host.is_open():
            await asyncio.sleep(OPEN_POLL_S)
        await self._blocking(self._look)  # before the models are there: what comes from now on is new
        self._host.session(self._source.machine)  # raises while they are loaded
        streams = await self._blocking(self._unfinished)
        opened: Opened | None = None
        while True:
            stream = streams.pop(0) if streams else FolderStream(uuid.uuid4().hex)
            if not stream.parts:
                opened = opened or await self._next()
            opened = await self._feed(stream, opened, is_last=not streams)
            self._over += stream.parts
            if opened is None and not streams and not stream.parts:
                streams = [stream]  # nothing of it is there any more; its count goes on

    async def close(self) -> None:
        """Wait for what is being written; nothing is afterwards. The task of ``run`` has to be cancelled."""

        def finish() -> None:
            with self._busy:
                self._closed = True

        await asyncio.to_thread(finish)

    async def _blocking(self, work: Callable[[], Result]) -> Result:
        def run() -> Result:
            with self._busy:
                if self._closed:
                    raise ShuttingDown("the service is stopping")
                return work()

        return await asyncio.to_thread(run)

    def _look(self) -> KeptFolder:
        kept = self.folder.open()
        self.folder.look()
        return kept

    def _unfinished(self) -> list[FolderStream]:
        """Return the streams that were not scored to their end, in order; the last goes on."""
        kept = self._look()
        self._number = max([self._number, *(part.number for part in kept.parts)])
        streams, self._over = streams_of(kept, self._host.written(self._source.machine))
        position = self._host.position(self._source.machine)
        for stream in streams:
            if stream.stream_id == self._sent[0]:  # of this life: the service goes on, or begins where it ended
                stream.follows_position = False
                is_scored = position is not None and position.stream_id == stream.stream_id
                reached = position.next_sample if position is not None and is_scored else self._sent[1]
                stream.scored_until = max(stream.scored_until, reached)
        return streams

    async def _feed(self, stream: FolderStream, opened: Opened | None, *, is_last: bool) -> Opened | None:
        """Feed a stream with its parts and, if it is the last, with what comes, while that has the same form.

        Return the recording of another form, of which none was sent.
        """
        form = None if opened is None else opened.recordings
        if stream.parts:
            form = await self._blocking(lambda: self._form(stream)) or form
        if form is None:
            return opened
        hello = hello_for(stream, form, self._source.channel)
        try:
            async with connected(self._host.session, self._source, hello, timeout_s=self._source.every_s) as connection:
                at = await self._send_again(connection.session, stream, connection.next_sample)
                while is_last:
                    opened = opened or await self._next()
                    if not is_same_form(form, opened.recordings):
                        _log.info("recordings of another form", machine_id=self._source.machine, rate_hz=form.rate_hz)
                        return opened
                    at = await self._send_new(connection.session, stream, opened, at)
                    opened = None
                return opened
        except (AudioRateUnsupported, AudioChannelMissing) as error:
            refusal: HumwatchError = error
        await self._blocking(lambda: self._refuse(stream, opened, refusal))
        return None

    def _form(self, stream: FolderStream) -> RecordingSequence | None:
        """Return the form of a stream by the first of its parts that can be read; let go of those before."""
        while stream.parts:
            try:
                return self._open(stream.parts[0])
            except (AudioError, FileUnreadable) as error:
                self._lose(stream, stream.parts[0], error)
        return None

    def _open(self, part: FolderPart) -> RecordingSequence:
        if not self.folder.has(part):
            raise FileUnreadable(f"{part.path} is not there any more, or was written over")
        return RecordingSequence([self.folder.path_of(part.path)])

    def _lose(self, stream: FolderStream, part: FolderPart, error: HumwatchError) -> None:
        """Let go of a part that cannot be sent again: a loss if it was not scored to its end."""
        if stream.is_scored(part):
            self.folder.advance(stream.stream_id, stream.scored_until, [part])
        else:
            self.folder.refuse_if_away()
            self.folder.lose(part, "gone", error.code, str(error))
        stream.let_go([part])

    async def _send_again(self, session: StreamSession, stream: FolderStream, at: int) -> int:
        """Send what the service has not got of the parts of a stream; return the sample that comes next."""
        for part, end in stream.ends():
            if end is not None and end <= at:
                stream.sent[part.number] = end
                continue
            try:
                recordings = await self._blocking(lambda part=part: self._open(part))  # type: ignore[misc]
            except (AudioError, FileUnreadable) as error:
                failure: HumwatchError = error
                await self._blocking(lambda part=part, failure=failure: self._lose(stream, part, failure))  # type: ignore[misc]
                continue
            at = await self._send(session, stream, part, recordings, at, end)
        if stream.parts:
            await self._settle(session, stream, at)
        return at

    async def _send_new(self, session: StreamSession, stream: FolderStream, opened: Opened, at: int) -> int:
        form = opened.recordings
        self._number += 1
        part = await self._blocking(
            lambda: self.folder.assign(
                opened.file, self._number, stream.stream_id, at, samples=form.samples, rate_hz=form.rate_hz
            )
        )
        stream.parts.append(part)
        at = await self._send(session, stream, part, form, at, None)
        await self._settle(session, stream, at)
        return at

    async def _send(
        self,
        session: StreamSession,
        stream: FolderStream,
        part: FolderPart,
        recordings: RecordingSequence,
        at: int,
        end: int | None,
    ) -> int:
        """Send a part from a sample on, and up to another; return the sample that comes next."""
        check(session)
        if at < part.start_sample:  # what was there before a restart is not there any more
            at = part.start_sample
            await session.take(Position(sample=at))
        await session.recorded_at(part.recorded_s + (at - part.start_sample) / recordings.rate_hz)
        frame, piece = recordings.frame_bytes, max(1, round(CHUNK_S * recordings.rate_hz)) * recordings.frame_bytes
        blocks, here = recordings.blocks(), part.start_sample
        try:
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                start, here = here, here + len(block) // frame
                stop = len(block) if end is None else max(0, end - start) * frame
                for begin in range(max(0, at - start) * frame, min(stop, len(block)), piece):
                    check(session)
                    data = block[begin : min(begin + piece, stop)]
                    await session.data(data)
                    at += len(data) // frame
                    self._sent = stream.stream_id, at
        except (AudioError, FileUnreadable) as error:
            failure: HumwatchError = error
            await self._blocking(lambda: self._fail(stream, part, failure))
        else:
            self.folder.count_heard()
        stream.sent[part.number] = at
        return at

    def _fail(self, stream: FolderStream, part: FolderPart, error: HumwatchError) -> None:
        """Keep that a part cannot be read to its end; raise where that may pass."""
        attempts = self._attempts[part.number] = self._attempts.get(part.number, 0) + 1
        passes = isinstance(error, FileUnreadable) and attempts < ATTEMPTS
        if passes or not self.folder.has(part):
            raise FileUnreadable(str(error)) from error
        del self._attempts[part.number]
        self.folder.fail(part, outcome_of(error), error.code, str(error))

    async def _settle(self, session: StreamSession, stream: FolderStream, at: int) -> None:
        """Keep how far the stream was scored, and let go of parts that are not needed again."""
        idle = await self._blocking(self._is_idle)
        position = self._host.position(self._source.machine)
        if idle or position is None or position.stream_id != stream.stream_id:
            await session.drained()
            check(session)
        await self._blocking(lambda: self._keep(stream, at, idle=idle))

    def _is_idle(self) -> bool:
        self.folder.look()
        return not self.folder.has_whole

    def _keep(self, stream: FolderStream, at: int, *, idle: bool) -> None:
        machine_id = self._source.machine
        position = self._host.position(machine_id)
        is_kept = True
        if position is None or position.stream_id != stream.stream_id:
            stream.scored_until = at  # no model gives scores: collected is all that sound can be
        else:
            if idle:
                self._host.checkpoint(machine_id)
            written = self._host.written(machine_id)
            is_kept = written is not None and written.stream_id == stream.stream_id
            if written is not None and is_kept:
                stream.scored_until = max(stream.scored_until, written.next_sample)
            idle = idle and written == position
        settled = stream.settled(tail=idle and self._source.delete)
        if is_kept:
            settled, self._over = [*self._over, *settled], []
            self.folder.advance(stream.stream_id, stream.scored_until, settled)
        stream.let_go(settled)

    async def _next(self) -> Opened:
        """Wait for the next recording, and open it; pass over those that cannot be opened."""
        while (opened := await self._blocking(self._open_next)) is None:
            await asyncio.sleep(POLL_S)
        return opened

    def _open_next(self) -> Opened | None:
        self.folder.look()
        while (file := self.folder.next()) is not None:
            try:
                return Opened(file, RecordingSequence([self.folder.path_of(file.path)]))
            except FileUnreadable as error:
                self.folder.try_later(file, str(error))
            except HumwatchError as error:
                self.folder.pass_over(file, outcome_of(error), error.code, str(error))
        return None

    def _refuse(self, stream: FolderStream, opened: Opened | None, error: HumwatchError) -> None:
        """Pass over recordings that the service does not take in this form."""
        for part in stream.parts:
            self.folder.lose(part, "unsupported", error.code, str(error))
        if opened is not None and not stream.parts:
            self.folder.pass_over(opened.file, "unsupported", error.code, str(error))
        stream.let_go(list(stream.parts))
