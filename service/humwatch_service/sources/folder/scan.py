"""Looks at a folder: cheap ones often, whole ones as often as their cost allows; with no help of the file system.

Events of the kernel (inotify) do not come from network shares, so looks there have to be anyway. A cheap look asks each
folder for its time of change, and lists those that changed; a whole look asks for the size and time of each file.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from humwatch.audio.files import is_system_folder
from humwatch_service.errors import FileUnreadable
from humwatch_service.sources.folder.file_names import is_recording_name
from humwatch_service.storage.folder_records import FileIdentity
from humwatch_service.storage.folder_rows import ROWS_TOGETHER

HOT_S: Final = 3.0
"""Time for which a folder that changed is listed: file systems count the time of a change in up to 2 s."""
MAX_FOLDERS: Final = 100_000
"""Most folders in a folder that are watched."""
OTHERS_NAMED: Final = 3
MAX_TROUBLES: Final = 100
"""Most folders that cannot be read and are named."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that was found.

    Attributes:
        path: path inside the watched folder.
        identity: what the file system says of it.
    """

    path: str
    identity: FileIdentity


class LookInterval:
    """Times between looks: at least a second, and so long that looks take less than a hundredth of a processor."""

    def __init__(self, *, least_s: float = 1.0, cpu: float = 200.0, wall: float = 3.0) -> None:
        """Begin with a look that is due.

        Args:
            least_s: shortest time between two looks, seconds.
            cpu: times the processor time of the last look that passes before the next.
            wall: times its duration, as on a slow network share.
        """
        self._least_s, self._cpu, self._wall = least_s, cpu, wall
        self._due_s = -1.0

    @property
    def is_due(self) -> bool:
        """True when it is time for the next look."""
        return time.monotonic() >= self._due_s

    def run(self, look: Callable[[], None]) -> None:
        """Look, and see what it cost."""
        cpu_s, wall_s = time.thread_time(), time.monotonic()
        try:
            look()
        finally:
            now_s = time.monotonic()
            spent_s = self._cpu * (time.thread_time() - cpu_s)
            self._due_s = now_s + max(self._least_s, spent_s, self._wall * (now_s - wall_s))


class FolderScan:
    """Files and folders of a watched folder, as they are found. For one thread at a time.

    Attributes:
        present: number of recordings that the last whole look found.
        others: number of files that it found which are no recordings, by their names.
        other_names: a few of these.
        troubles: folders that could not be read, and why.
    """

    def __init__(self, root: Path, *, subfolders: bool, excluded: Collection[Path] = ()) -> None:
        """Look at nothing yet.

        Args:
            root: the watched folder.
            subfolders: True if the folders in it are watched, too, and those that links in it lead to.
            excluded: folders that are not watched: others watch them.
        """
        self.present = 0
        self.others = 0
        self.other_names: list[str] = []
        self.troubles: dict[str, str] = {}
        self._root = root
        self._subfolders = subfolders
        self._excluded = {path.resolve() for path in excluded}
        self._changed_ns: dict[str, int] = {}
        self._hot_until_s: dict[str, float] = {}
        self._visited: set[tuple[int, int]] = set()

    def device(self) -> str:
        """Return the device that the folder lies on. Raises :class:`FileUnreadable`."""
        try:
            return str(self._root.stat().st_dev)
        except OSError as error:
            raise self._unreadable(error) from error

    def whole(self, is_new: Callable[[str, FileIdentity], bool]) -> Iterator[FoundFile]:
        """Yield the files that are new, or another than they were. Raises :class:`FileUnreadable`."""
        self.present, self.others, self.other_names, self.troubles = 0, 0, [], {}
        before, self._changed_ns, self._visited = self._changed_ns, {}, set()
        for found in self._explore([""], wanted=lambda path: True):
            self.present += 1
            if is_new(found.path, found.identity):
                yield found
        now_s = time.monotonic()
        hot = {path: until_s for path, until_s in self._hot_until_s.items() if path in self._changed_ns}
        hot |= {path: now_s + HOT_S for path, at_ns in self._changed_ns.items() if before.get(path) != at_ns}
        self._hot_until_s = hot

    def changed(self, is_new_name: Callable[[str], bool]) -> Iterator[FoundFile]:
        """Yield files with new names, of folders that changed. Raises :class:`FileUnreadable`."""
        now_s = time.monotonic()
        for path in list(self._changed_ns):
            try:
                at_ns = (self._root / path).stat().st_mtime_ns
            except OSError as error:
                if not path:
                    raise self._unreadable(error) from error
                del self._changed_ns[path]
                continue
            if at_ns != self._changed_ns[path]:
                self._changed_ns[path] = at_ns
                self._hot_until_s[path] = now_s + HOT_S
            if self._hot_until_s.get(path, 0.0) > now_s:
                inside: list[tuple[str, bool]] = []
                yield from self._recordings(path, inside, is_new_name)
                yield from self._explore([one for one, _ in inside if one not in self._changed_ns], wanted=is_new_name)
            else:
                self._hot_until_s.pop(path, None)

    def is_empty(self) -> bool:
        """Return True if nothing at all is in the folder. Raises :class:`FileUnreadable`."""
        return next(self._entries(""), None) is None

    def identity_of(self, path: str) -> FileIdentity | None:
        """Return what the file system says of a file; None where it is not there, or none."""
        try:
            status = (self._root / path).stat()
        except OSError:
            return None
        return FileIdentity.of(status) if stat.S_ISREG(status.st_mode) else None

    def _explore(self, start: list[str], *, wanted: Callable[[str], bool]) -> Iterator[FoundFile]:
        """Yield the recordings in folders and those in them; each folder once, however links lead there."""
        waiting, links = start, list[str]()
        while waiting or links:
            path = waiting.pop() if waiting else links.pop(0)
            if not self._enter(path):
                continue
            inside: list[tuple[str, bool]] = []
            yield from self._recordings(path, inside, wanted)
            waiting += [one for one, is_link in inside if not is_link]
            links += [one for one, is_link in inside if is_link]

    def _enter(self, path: str) -> bool:
        """Return True for a folder that was not looked at yet, and note its time of change before it is listed."""
        try:
            status = (self._root / path).stat()
        except OSError as error:
            if not path:
                raise self._unreadable(error) from error
            self._trouble(path, error)
            return False
        place = (status.st_dev, status.st_ino)
        if place in self._visited or len(self._visited) >= MAX_FOLDERS:
            return False
        self._visited.add(place)
        self._changed_ns[path] = status.st_mtime_ns
        return True

    def _recordings(
        self, path: str, folders: list[tuple[str, bool]], wanted: Callable[[str], bool]
    ) -> Iterator[FoundFile]:
        """Yield the recordings right in a folder, and append the folders in it, and whether each is a link."""
        for entry in self._entries(path):
            name = entry.name
            if not is_recording_name(name):
                if entry.is_dir():
                    self._append_folder(folders, path, entry)
                else:
                    self.others += 1
                    if len(self.other_names) < OTHERS_NAMED:
                        self.other_names.append(path + name)
                continue
            relative = path + name
            if wanted(relative):
                try:
                    status = entry.stat()
                except OSError:  # a link that leads nowhere, or it is gone
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield FoundFile(relative, FileIdentity.of(status))
                elif stat.S_ISDIR(status.st_mode):
                    self._append_folder(folders, path, entry)

    def _append_folder(self, folders: list[tuple[str, bool]], path: str, entry: os.DirEntry[str]) -> None:
        if not self._subfolders or is_system_folder(entry.name):
            return
        inside = f"{path}{entry.name}/"
        if not self._excluded or (self._root / inside).resolve() not in self._excluded:
            folders.append((inside, entry.is_symlink()))

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / path) as entries:
                yield from entries
        except OSError as error:
            if not path:
                raise self._unreadable(error) from error
            self._trouble(path, error)

    def _trouble(self, path: str, error: OSError) -> None:
        if len(self.troubles) < MAX_TROUBLES and os.path.lexists(self._root / path):
            self.troubles[path] = error.strerror or str(error)

    def _unreadable(self, error: OSError) -> FileUnreadable:
        return FileUnreadable(f"{self._root} cannot be read: {error.strerror}")


def together(found: Iterable[FoundFile]) -> Iterator[list[FoundFile]]:
    """Yield files, as many at a time as are written together."""
    files = iter(found)
    while some := list(islice(files, ROWS_TOGETHER)):
        yield some
