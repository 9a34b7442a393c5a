"""Recordings that wait to be heard: whole or still written, in the order in which they were taken."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from humwatch.audio.files import natural_order
from humwatch_service.sources.folder.file_head import FileHead, read_head
from humwatch_service.sources.folder.recorded_time import RecordedTime, RecordedTimes
from humwatch_service.sources.folder.scan import FolderScan, FoundFile
from humwatch_service.storage.folder_records import FileIdentity

MAX_WAITING: Final = 20_000
"""Most recordings that are in order; more are looked for again once these are heard."""
HOLD_S: Final = 60.0
"""Longest time for which a recording waits for an older one that is still written."""
TOGETHER: Final = "written at one time with others, as by a copy without times: dated one behind the other"
_BYTES_A_SECOND: Final = 32_000
"""Of a recording whose head does not say how long it is: 16 kHz, 16 bits."""


@dataclass(slots=True)
class WaitingFile:
    """A recording that waits.

    Attributes:
        path: path inside the folder.
        identity: what the file system says of it.
        seen_s: when it was found, monotonic seconds.
        unchanged_s: since when it has not changed, monotonic seconds.
        said: when it was taken, as it says itself; surer once it is whole.
        natural: key of the natural order of names.
        is_whole: True once it has not changed for long enough.
        length_s: length by its head, seconds; known once it is whole.
        time: when it was taken, beside the others.
    """

    path: str
    identity: FileIdentity
    seen_s: float
    unchanged_s: float
    said: RecordedTime
    natural: tuple[object, ...]
    is_whole: bool
    length_s: float
    time: RecordedTime

    @property
    def key(self) -> tuple[float, tuple[object, ...]]:
        """Key of the order in which recordings are heard."""
        return self.time.time_s, self.natural

    @property
    def found(self) -> FoundFile:
        """The file, as it was found."""
        return FoundFile(self.path, self.identity)


class WaitingFiles:
    """Recordings that wait, bounded. For one thread at a time; ``look`` blocks."""

    def __init__(self, root: Path, times: RecordedTimes, *, settle_s: float) -> None:
        """Begin with none.

        Args:
            root: the folder.
            times: reader of times of recordings.
            settle_s: time for which a file must not change before it is whole, seconds.
        """
        self._newest: tuple[float, tuple[object, ...]] | None = None  # key from which on there is no room
        self._root = root
        self._times = times
        self._settle_s = settle_s
        self._files: dict[str, WaitingFile] = {}
        self._order: list[WaitingFile] | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    @property
    def unfinished(self) -> int:
        """Number of files that are still written."""
        return sum(not file.is_whole for file in list(self._files.values()))

    @property
    def is_full(self) -> bool:
        """True if newer files than those that wait have to be looked for again."""
        return self._newest is not None

    def reopen(self) -> None:
        """Have room again: all that waited were heard."""
        self._newest = None

    def has_room_for(self, file: FoundFile) -> bool:
        """Return False for a file that has to be looked for again once those that wait are heard: it is newer."""
        return self._newest is None or (self._said(file).time_s, natural_order(Path(file.path))) < self._newest

    def add(self, found: Iterable[FoundFile]) -> None:
        """Take files that were found, unless they wait already."""
        now_s = time.monotonic()
        for file in found:
            if file.path not in self._files:
                said, natural = self._said(file), natural_order(Path(file.path))
                self._files[file.path] = WaitingFile(
                    file.path, file.identity, now_s, now_s, said, natural, False, 0.0, said
                )
        if len(self._files) > MAX_WAITING:
            files = sorted(self._files.values(), key=lambda file: file.key)
            room = MAX_WAITING * 9 // 10
            self._newest = files[room].key
            self._files = {file.path: file for file in files[:room]}
            self._order = None

    def look(self, scan: FolderScan) -> list[WaitingFile]:
        """See which files have become whole; return those of them that are empty, which wait no more."""
        now_s = time.monotonic()
        for file in [file for file in self._files.values() if not file.is_whole]:
            identity = scan.identity_of(file.path)
            if identity is None:
                del self._files[file.path]
            elif identity != file.identity:
                file.identity, file.unchanged_s = identity, now_s
            elif now_s - file.unchanged_s >= self._settle_s:
                self._finish(file)
        empty = [file for file in self._files.values() if file.is_whole and not file.identity.size]
        for file in empty:
            del self._files[file.path]
        return empty

    def first(self) -> WaitingFile | None:
        """Return the recording that is next; None where none is, or an older one is still written."""
        if self._order is None:
            self._order = _in_order([file for file in self._files.values() if file.is_whole])
            self._order.reverse()
        if not self._order:
            return None
        file = self._order[-1]
        return None if self._is_held(file) else file

    def remove(self, file: WaitingFile) -> None:
        """Let a recording wait no more."""
        self._files.pop(file.path, None)
        if self._order and self._order[-1] is file:
            self._order.pop()
        else:
            self._order = None

    def wait_again(self, file: WaitingFile, identity: FileIdentity | None) -> None:
        """Wait until a file is whole that has changed, or let it go if it is not there any more."""
        self.remove(file)
        if identity is not None:
            self.add([FoundFile(file.path, identity)])

    def _said(self, file: FoundFile) -> RecordedTime:
        return self._times.of_file(file, time.time())

    def _finish(self, file: WaitingFile) -> None:
        try:
            head = read_head(self._root / file.path, file.identity.size)
        except OSError:
            head = FileHead(None, None)
        file.is_whole = True
        file.length_s = file.identity.size / _BYTES_A_SECOND if head.length_s is None else head.length_s
        said = self._times.of(file.path, FileHead(file.length_s, head.made), file.identity.modified_s, time.time())
        file.said = file.time = said
        self._order = None

    def _is_held(self, file: WaitingFile) -> bool:
        """Return True while an older recording, or one that was copied together with this one, is still written."""
        if time.monotonic() - file.seen_s > HOLD_S:
            return False
        newest_s = max(time.monotonic() - HOLD_S, 0.0)
        return any(
            not other.is_whole and other.seen_s > newest_s and (other.key < file.key or file.time.doubt == TOGETHER)
            for other in self._files.values()
        )


def _in_order(files: list[WaitingFile]) -> list[WaitingFile]:
    """Return files in the order in which they were taken; those whose times contradict that they follow are redated."""
    for file in files:
        file.time = file.said
    unsaid = sorted((file for file in files if file.said.origin in ("file", "now")), key=_end)
    group: list[WaitingFile] = []
    for file in unsaid:
        if group and not _overlap(group[-1], file):
            _date_together(group)
            group = []
        group.append(file)
    _date_together(group)
    return sorted(files, key=lambda file: file.key)


def _end(file: WaitingFile) -> tuple[float, tuple[object, ...]]:
    return file.time.time_s + file.length_s, file.natural


def _overlap(one: WaitingFile, other: WaitingFile) -> bool:
    """Return True if two recordings, one of which ends before the other, cannot both be of one recorder."""
    shared_s = one.time.time_s + one.length_s - other.time.time_s
    return shared_s > 0.5 * min(one.length_s, other.length_s)


def _date_together(group: list[WaitingFile]) -> None:
    if len(group) < 2:
        return
    end_s = max(file.time.time_s + file.length_s for file in group)
    for file in sorted(group, key=lambda file: file.natural, reverse=True):
        end_s -= file.length_s
        file.time = RecordedTime(end_s, file.time.origin, TOGETHER)
