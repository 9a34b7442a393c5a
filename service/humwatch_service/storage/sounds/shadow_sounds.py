"""Sound of alarms that only a candidate would have raised: a folder a machine, one FLAC file an alarm."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final

from humwatch.bundle.manifest import MACHINE_ID
from humwatch.durable import replace_durably
from humwatch_service.errors import EvidenceGone
from humwatch_service.storage.sounds.disk_errors import disk_named
from humwatch_service.storage.sounds.flac import Samples, flac_of

MAX_FILES: Final = 50
MAX_BYTES: Final = 256 << 20
"""Most sounds of one machine, and their bytes; the oldest go first."""

_NAME: Final = re.compile(r"[1-9][0-9]{0,8}-[0-9]{1,15}")


class ShadowSounds:
    """Sounds by machine and name; used from any thread. Every method blocks on the disk.

    Args:
        root: the folder; it is made when it is first needed.
        max_files: most sounds of one machine.
        max_bytes: most bytes of the sounds of one machine.
    """

    def __init__(self, root: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self.root = root
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def write(self, machine_id: str, name: str, samples: Samples, rate_hz: int) -> None:
        """Keep int16 or float32 (n,), and let the oldest go for it. Raises :class:`StateUnusable`."""
        encoded = flac_of(samples, rate_hz)
        path = self._place(machine_id, name)
        with disk_named(self.root), self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_durably(path, lambda file: file.write(encoded))
            self._make_room(path.parent)

    def path(self, machine_id: str, name: str) -> Path:
        """Return the path of a sound, FLAC. Raises :class:`EvidenceGone`."""
        path = self._place(machine_id, name)
        if not path.is_file():
            raise EvidenceGone(f"the sound {name} of {machine_id} is not kept, or not any more")
        return path

    def names(self, machine_id: str) -> list[str]:
        """Return the names of a machine's sounds, the oldest first."""
        if not MACHINE_ID.fullmatch(machine_id):
            return []
        return [path.stem for path in self._files(self.root / machine_id)]

    def _make_room(self, folder: Path) -> None:
        files = self._files(folder)
        sizes = [path.stat().st_size for path in files]
        while len(files) > 1 and (len(files) > self._max_files or sum(sizes) > self._max_bytes):
            files.pop(0).unlink()
            sizes.pop(0)

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        found = [path for path in folder.glob("*.flac") if _NAME.fullmatch(path.stem)]
        return sorted(found, key=lambda path: int(path.stem.partition("-")[2]))

    def _place(self, machine_id: str, name: str) -> Path:
        if not MACHINE_ID.fullmatch(machine_id) or not _NAME.fullmatch(name):
            raise EvidenceGone(f"there is no sound {name[:40]!r}")
        return self.root / machine_id / f"{name}.flac"


def sound_name(version: str, start_s: float) -> str:
    """Return the name of the sound of an alarm that a version would have raised, by milliseconds since 1970."""
    return f"{version}-{max(0, round(1000 * start_s))}"
