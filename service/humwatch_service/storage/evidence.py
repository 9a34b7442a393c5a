"""The sound of alarms: a folder an alarm, with ``clip.flac`` and ``picture.png``.

Files are written beside their place, fsynced and renamed: whole or not there. A clip without the sound after the alarm
is called ``clip.partial.flac`` until the whole one takes its place.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from humwatch.durable import replace_durably, sync_folder
from humwatch_service.errors import AlarmNotFound, EvidenceGone
from humwatch_service.storage.records import EvidenceState, split_alarm_id
from humwatch_service.storage.sounds.disk_errors import disk_named
from humwatch_service.storage.sounds.flac import Samples, flac_of

CLIP: Final = "clip.flac"
PARTIAL_CLIP: Final = "clip.partial.flac"
PICTURE: Final = "picture.png"


@dataclass(frozen=True)
class _EvidenceEntry:
    """Evidence of one alarm on the disk; ``at_s`` is when the newest of its files was written."""

    alarm_id: str
    folder: Path
    size_bytes: int
    at_s: float


class EvidenceFolder:
    """Sound and pictures of alarms, up to a quota; used from any thread. Every method blocks on the disk.

    Names come from ids of alarms and from nothing else; what is no id of an alarm is refused as
    :class:`AlarmNotFound`. A disk that does not do what it is asked is a :class:`StateUnusable`.

    Args:
        root: the folder; it is made when it is first needed.
        quota_bytes: most that :meth:`enforce` leaves.
        retention_s: longest that :meth:`enforce` leaves evidence, seconds.
    """

    def __init__(self, root: Path, *, quota_bytes: int, retention_s: float) -> None:
        self.root = root
        self.quota_bytes = quota_bytes
        self.retention_s = retention_s
        self._lock = threading.Lock()
        self._size_bytes: int | None = None

    def write_clip(
        self, alarm_id: str, samples: Samples, rate_hz: int, *, partial: bool, fit: bool = False
    ) -> EvidenceState:
        """Keep an alarm's sound, in place of an earlier clip; returns what the alarm's row should say.

        Args:
            alarm_id: the alarm.
            samples: its sound; see :func:`humwatch_service.storage.sounds.flac.flac_of`.
            rate_hz: samples a second and channel.
            partial: whether the sound after the alarm is missing.
            fit: whether floats beyond full scale are scaled down.

        Raises:
            ValueError: it cannot be FLAC.
        """
        encoded = flac_of(samples, rate_hz, fit=fit)
        with self._lock, disk_named(self.root), self._resized(alarm_id):
            folder = self._folder_for(alarm_id)
            replace_durably(folder / (PARTIAL_CLIP if partial else CLIP), lambda file: file.write(encoded))
            if not partial:
                (folder / PARTIAL_CLIP).unlink(missing_ok=True)
        return self.state(alarm_id)

    def write_picture(self, alarm_id: str, png: bytes) -> None:
        """Keep an alarm's picture, in place of an earlier one."""
        with self._lock, disk_named(self.root), self._resized(alarm_id):
            replace_durably(self._folder_for(alarm_id) / PICTURE, lambda file: file.write(png))

    def clip_path(self, alarm_id: str) -> Path:
        """Return the path of an alarm's sound, FLAC. Raises :class:`EvidenceGone`."""
        for name in (CLIP, PARTIAL_CLIP, CLIP):  # the whole one may take the place of the other meanwhile
            path = self._place(alarm_id) / name
            if path.is_file():
                return path
        raise EvidenceGone(f"the sound of {alarm_id} is not kept, or not any more")

    def picture_path(self, alarm_id: str) -> Path:
        """Return the path of an alarm's picture, PNG. Raises :class:`EvidenceGone`."""
        path = self._place(alarm_id) / PICTURE
        if not path.is_file():
            raise EvidenceGone(f"the picture of {alarm_id} is not kept, or not any more")
        return path

    def state(self, alarm_id: str) -> EvidenceState:
        """Return the state of an alarm's sound: ``kept``, ``partial`` or ``none``."""
        folder = self._place(alarm_id)
        if (folder / CLIP).is_file():
            return "kept"
        return "partial" if (folder / PARTIAL_CLIP).is_file() else "none"

    def states(self) -> dict[str, EvidenceState]:
        """Return the state of every alarm's sound, for ``StateStore.reconcile_evidence``."""
        with self._lock, disk_named(self.root):
            states = {kept.alarm_id: self.state(kept.alarm_id) for kept in self._all()}
        return {alarm_id: state for alarm_id, state in states.items() if state != "none"}

    def used_bytes(self) -> int:
        """Return the bytes of all evidence."""
        with self._lock, disk_named(self.root):
            return sum(kept.size_bytes for kept in self._all())

    def size_bytes(self) -> int | None:
        """Return the bytes of all evidence, None while the disk cannot be read.

        They are added up once and kept up to date with what is written and deleted here: cheap, however many there are.
        """
        with self._lock:
            try:
                if self._size_bytes is None:
                    self._size_bytes = sum(kept.size_bytes for kept in self._all())
                elif self._size_bytes:
                    self.root.stat()
            except OSError:
                self._size_bytes = None
            return self._size_bytes

    def enforce(self, now_s: float | None, protected: Collection[str]) -> list[str]:
        """Delete what is past its time, then the oldest until the quota holds; ``protected`` alarms keep theirs.

        Age is that of the files, by the disk's clock. The quota is passed where protected evidence alone is more.

        Args:
            now_s: seconds since 1970; None: nothing is past its time.
            protected: ids of alarms that are active.

        Returns:
            ids of the alarms whose evidence went: their rows should say ``purged``.
        """
        purged = []
        with self._lock, disk_named(self.root):
            found = sorted(self._all(), key=lambda kept: kept.at_s)
            used = sum(kept.size_bytes for kept in found)
            for kept in found:
                late = now_s is not None and now_s - kept.at_s > self.retention_s
                if kept.alarm_id not in protected and (late or used > self.quota_bytes):
                    self._size_bytes = None  # until it is known that all of it is gone
                    shutil.rmtree(kept.folder)
                    used -= kept.size_bytes
                    purged.append(kept.alarm_id)
            self._size_bytes = used
        return purged

    @contextmanager
    def _resized(self, alarm_id: str) -> Iterator[None]:
        """Follow the size of an alarm's folder while its files are written."""
        folder, known = self._place(alarm_id), self._size_bytes
        before, self._size_bytes = _folder_bytes(folder), None
        yield
        if known is not None:
            self._size_bytes = known - before + _folder_bytes(folder)

    def _place(self, alarm_id: str) -> Path:
        split_alarm_id(alarm_id)
        return self.root / alarm_id

    def _folder_for(self, alarm_id: str) -> Path:
        folder = self._place(alarm_id)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.root)
        return folder

    def _all(self) -> Iterator[_EvidenceEntry]:
        if not self.root.exists():
            return
        for folder in self.root.iterdir():
            if _is_alarm(folder.name) and folder.is_dir() and not folder.is_symlink():
                status = [file.lstat() for file in folder.iterdir()]
                newest_s = max((each.st_mtime for each in status), default=folder.stat().st_mtime)
                yield _EvidenceEntry(folder.name, folder, sum(each.st_size for each in status), newest_s)


def _folder_bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.iterdir()) if folder.is_dir() else 0


def _is_alarm(name: str) -> bool:
    try:
        split_alarm_id(name)
    except AlarmNotFound:
        return False
    return True
