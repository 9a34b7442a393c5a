"""Files of commissionings: what is known of each, and its minutes, so that it outlives a restart.

``<machine_id>/record.json`` and ``report.json``; ``<machine_id>/minutes/0001.npz`` and ``0001.flac``. A minute is there
once its evidence is, which is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from humwatch.durable import replace_durably, sync_folder
from humwatch_service.errors import MinuteNotFound
from humwatch_service.storage.sounds.disk_errors import disk_named
from humwatch_service.storage.sounds.flac import Samples, flac_of

RECORD: Final = "record.json"
REPORT: Final = "report.json"
MAX_SOUND_BYTES: Final = 2 << 30
"""Sound of all commissionings together: about 30 hours at 16 kHz. The oldest goes first."""


class CommissioningFolder:
    """A folder a machine; used from any thread, for one machine by one at a time. Every method blocks on the disk.

    A disk that does not do what it is asked is a :class:`StateUnusable`.

    Args:
        root: the folder; it is made when it is first needed.
        max_sound_bytes: most sound that is kept, bytes.
    """

    def __init__(self, root: Path, *, max_sound_bytes: int = MAX_SOUND_BYTES) -> None:
        self.root = root
        self._max_sound_bytes = max_sound_bytes

    def records(self) -> dict[str, bytes]:
        """Return what is known of each commissioning that goes on, by the id of the machine."""
        with disk_named(self.root):
            paths = sorted(self.root.glob(f"*/{RECORD}")) if self.root.is_dir() else []
            return {path.parent.name: path.read_bytes() for path in paths}

    def write_record(self, machine_id: str, content: bytes) -> None:
        """Keep what is known of a commissioning, in place of what was."""
        self._write(self._place(machine_id) / RECORD, content)

    def report(self, machine_id: str) -> bytes | None:
        """Return the report of the machine's last commissioning; None without one."""
        path = self._place(machine_id) / REPORT
        with disk_named(self.root):
            return path.read_bytes() if path.is_file() else None

    def end(self, machine_id: str, report: bytes | None) -> None:
        """End a commissioning: its minutes go, and its report is kept if there is one."""
        place = self._place(machine_id)
        if report is not None:
            self._write(place / REPORT, report)
        with disk_named(self.root):
            (place / RECORD).unlink(missing_ok=True)
            if place.is_dir():
                sync_folder(place)
            shutil.rmtree(place / "minutes", ignore_errors=True)

    def write_minute(
        self,
        machine_id: str,
        number: int,
        evidence: bytes,
        sound: tuple[Samples, int] | None,
        *,
        spare: Collection[Path],
    ) -> None:
        """Keep a minute: its sound, samples and rate in Hz, if there is any, and then its evidence.

        Args:
            machine_id: machine.
            number: number of the minute, from 1.
            evidence: content of its ``.npz`` file.
            sound: int16 or float32 (n,), and its rate, Hz.
            spare: sound that stays when there is too much.
        """
        if sound is not None:
            self._write(self._sound(machine_id, number), flac_of(*sound))
            self._make_room(spare)
        self._write(self._evidence(machine_id, number), evidence)

    def minutes(self, machine_id: str) -> list[int]:
        """Return the numbers of the minutes that there are, in order."""
        with disk_named(self.root):
            return sorted(int(path.stem) for path in self._minutes(machine_id).glob("[0-9]*.npz"))

    def evidence(self, machine_id: str, number: int) -> bytes:
        """Return the evidence of a minute."""
        with disk_named(self.root):
            return self._evidence(machine_id, number).read_bytes()

    def sound_path(self, machine_id: str, number: int) -> Path:
        """Return the path of a minute's sound, FLAC. Raises :class:`MinuteNotFound`."""
        path = self.sound_path_of(machine_id, number)
        if not path.is_file():
            raise MinuteNotFound(f"the sound of minute {number} of {machine_id} is not kept")
        return path

    def sound_path_of(self, machine_id: str, number: int) -> Path:
        """Return the place of a minute's sound, whether it is kept or not."""
        return self._sound(machine_id, number)

    def has_sound(self, machine_id: str, number: int) -> bool:
        """Return True if the sound of a minute is kept."""
        return self._sound(machine_id, number).is_file()

    def drop_minute(self, machine_id: str, number: int) -> None:
        """Delete a minute."""
        with disk_named(self.root):
            for path in (self._evidence(machine_id, number), self._sound(machine_id, number)):
                path.unlink(missing_ok=True)
            if self._minutes(machine_id).is_dir():
                sync_folder(self._minutes(machine_id))

    def _make_room(self, spare: Collection[Path]) -> None:
        with disk_named(self.root):
            kept = sorted(self.root.glob("*/minutes/*.flac"), key=lambda path: path.stat().st_mtime)
            total = sum(path.stat().st_size for path in kept)
            for path in kept:
                if total <= self._max_sound_bytes:
                    return
                if path not in spare:
                    total -= path.stat().st_size
                    path.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        with disk_named(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_durably(path, lambda file: file.write(content))

    def _place(self, machine_id: str) -> Path:
        return self.root / machine_id  # an id that was checked: it has no separator, and is no dot

    def _minutes(self, machine_id: str) -> Path:
        return self._place(machine_id) / "minutes"

    def _evidence(self, machine_id: str, number: int) -> Path:
        return self._minutes(machine_id) / f"{number:04d}.npz"

    def _sound(self, machine_id: str, number: int) -> Path:
        return self._minutes(machine_id) / f"{number:04d}.flac"
