"""Normal sound of machines: the last one of each, to compare an alarm with."""

from __future__ import annotations

import time
from pathlib import Path

from humwatch.durable import replace_durably
from humwatch_service.errors import NormalSoundNotFound
from humwatch_service.storage.sounds.disk_errors import disk_named
from humwatch_service.storage.sounds.flac import Samples, flac_of


class NormalSounds:
    """One file a machine; used from any thread. Every method blocks on the disk.

    Args:
        root: the folder; it is made when it is first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, machine_id: str, samples: Samples, rate_hz: int) -> None:
        """Keep int16 or float32 (n,), in place of what was kept. Raises :class:`StateUnusable`."""
        encoded = flac_of(samples, rate_hz)
        with disk_named(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            replace_durably(self._place(machine_id), lambda file: file.write(encoded))

    def path(self, machine_id: str) -> Path:
        """Return the path of a machine's normal sound, FLAC. Raises :class:`NormalSoundNotFound`."""
        path = self._place(machine_id)
        if not path.is_file():
            raise NormalSoundNotFound(f"no normal sound of {machine_id} was kept yet: it takes a minute of it")
        return path

    def age_s(self, machine_id: str) -> float | None:
        """Return the seconds since it was written; None where there is none."""
        try:
            return max(0.0, time.time() - self._place(machine_id).stat().st_mtime)
        except OSError:
            return None

    def _place(self, machine_id: str) -> Path:
        return self.root / f"{machine_id}.flac"  # an id that the service knows: it has no separator, and is no dot
