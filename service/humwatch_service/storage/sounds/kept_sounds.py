"""Normal sounds of machines that are kept to train with: a quota each, of as many conditions as there were.

A folder a machine, with FLAC files and ``index.json``, which says what is kept; a file that it does not name is what a
crash left, and goes with the next sound.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from humwatch.audio.variety import band_levels, most_alike
from humwatch.durable import replace_durably
from humwatch_service.storage.sounds.disk_errors import disk_named
from humwatch_service.storage.sounds.flac import Samples, flac_of

INDEX: Final = "index.json"


class KeptSound(BaseModel):
    """A normal sound that is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[0-9]+\.flac$", description="name in the machine's folder")
    at_s: float = Field(description="its end, seconds since 1970 (UTC)")
    seconds: float = Field(description="its length")
    score: float = Field(description="normalised score at its end")
    model_version: str = Field(description="version that gave the score")
    levels_db: tuple[float, ...] = Field(description="its level in a few bands")


_INDEX: Final = TypeAdapter(list[KeptSound])


class KeptSounds:
    """Kept normal sounds of all machines; used from any thread. Every method blocks on the disk.

    Args:
        root: the folder; it is made when it is first needed.
        quota: most sounds of a machine; 0: none are kept.
        retention_s: longest that a sound is kept, seconds.
    """

    def __init__(self, root: Path, *, quota: int, retention_s: float) -> None:
        self.root = root
        self.quota = quota
        self._retention_s = retention_s
        self._lock = threading.Lock()

    def add(
        self, machine_id: str, samples: Samples, rate_hz: int, *, at_s: float, score: float, model_version: str
    ) -> None:
        """Keep int16 or float32 (n,); where the quota is full, the sound goes that is most like another, maybe this.

        Raises:
            StateUnusable: the disk does not take it.
        """
        if not self.quota:
            return
        levels = tuple(round(float(level), 2) for level in band_levels(samples, rate_hz))
        new = KeptSound(
            file=f"{round(1_000 * at_s)}.flac",
            at_s=at_s,
            seconds=len(samples) / rate_hz,
            score=score,
            model_version=model_version,
            levels_db=levels,
        )
        with self._lock:
            kept = [each for each in self._read(machine_id) if each.file != new.file]
            if any(each.levels_db == levels for each in kept):
                return  # the same sound again, as of a recording that is played in a loop
            chosen = self._chosen([*kept, new], None)
            if new not in chosen:
                return
            folder = self.root / machine_id
            with disk_named(folder):
                folder.mkdir(parents=True, exist_ok=True)
                encoded = flac_of(samples, rate_hz)
                replace_durably(folder / new.file, lambda file: file.write(encoded))
            self._write(machine_id, chosen)

    def sounds(self, machine_id: str) -> list[KeptSound]:
        """Return the sounds of a machine, the oldest first. Raises :class:`StateUnusable`."""
        with self._lock:
            return self._read(machine_id)

    def path(self, machine_id: str, sound: KeptSound) -> Path:
        """Return the path of a sound, which may be gone."""
        return self.root / machine_id / sound.file

    def machine_ids(self) -> list[str]:
        """Return the machines of which sounds are kept."""
        with disk_named(self.root):
            return sorted(path.parent.name for path in self.root.glob(f"*/{INDEX}"))

    def forget(self, machine_id: str, since_s: float, most: int, *, until_s: float = math.inf) -> None:
        """Delete the newest sounds of a time of a machine, which may not have been normal.

        Args:
            machine_id: the machine.
            since_s: end from which sounds are deleted, seconds since 1970.
            until_s: end of the last that are, seconds since 1970.
            most: most sounds to delete: those of recordings lie close together.

        Raises:
            StateUnusable: the disk does not do it.
        """
        with self._lock:
            kept = self._read(machine_id)
            doubtful = [sound for sound in kept if since_s <= sound.at_s <= until_s][-most:]
            chosen = [sound for sound in kept if sound not in doubtful]
            if chosen != kept:
                self._write(machine_id, chosen)

    def enforce(self, now_s: float | None) -> None:
        """Delete what is past its time (None: nothing is), or over the quota. Raises :class:`StateUnusable`."""
        for machine_id in self.machine_ids():
            with self._lock:
                kept = self._read(machine_id)
                chosen = self._chosen(kept, now_s)
                if chosen != kept:
                    self._write(machine_id, chosen)

    def _chosen(self, sounds: list[KeptSound], now_s: float | None) -> list[KeptSound]:
        young = [sound for sound in sounds if now_s is None or now_s - sound.at_s <= self._retention_s]
        chosen = sorted(young, key=lambda sound: sound.at_s)
        while len(chosen) > max(1, self.quota):
            levels = np.array([sound.levels_db for sound in chosen])
            del chosen[most_alike(levels, np.array([sound.at_s for sound in chosen]))]
        return chosen if self.quota else []

    def _read(self, machine_id: str) -> list[KeptSound]:
        folder = self.root / machine_id
        with disk_named(folder):
            try:
                kept = _INDEX.validate_json((folder / INDEX).read_bytes())
            except FileNotFoundError:
                return []
            except ValidationError:
                return []  # a folder of unknown sounds is begun anew
        return [sound for sound in kept if (folder / sound.file).is_file()]

    def _write(self, machine_id: str, chosen: list[KeptSound]) -> None:
        """Write the index, then delete what it does not name any more."""
        folder = self.root / machine_id
        named = {sound.file for sound in chosen}
        with disk_named(folder):
            replace_durably(folder / INDEX, lambda file: file.write(_INDEX.dump_json(chosen)))
            for path in folder.glob("*.flac"):
                if path.name not in named:
                    path.unlink(missing_ok=True)
