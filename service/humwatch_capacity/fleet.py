"""One bundle for many machines: what a service has to load to be played to by as many microphones."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Final

from humwatch.bundle.bundle import read_bundle
from humwatch.bundle.manifest import MANIFEST

VERSION: Final = "1"


def machine_ids(count: int) -> list[str]:
    """Return the ids of so many machines."""
    return [f"mic-{number:04d}" for number in range(count)]


class Fleet:
    """Copies of a bundle under other machine ids; all but the manifests are hard links to the same files."""

    def __init__(self, source: Path, folder: Path) -> None:
        """Copy the bundle in ``source`` to ``folder``. Raises :class:`BundleError` for one that is not whole."""
        self.bundle = read_bundle(source)
        self.manifest = self.bundle.manifest
        self._written = json.loads((source / MANIFEST).read_text("utf-8"))  # an older version knows no newer fields
        self._folder = folder
        self._files = folder / "bundle"
        self._files.mkdir()
        for name in self.manifest.files:
            shutil.copyfile(source / name, self._files / name)

    @property
    def machine_id(self) -> str:
        """Machine whose bundle it is."""
        return self.manifest.machine_id

    def models(self, count: int) -> Path:
        """Make a models folder with so many machines and no others. Raises :class:`OSError`."""
        models = self._folder / "models"
        shutil.rmtree(models, ignore_errors=True)
        for machine_id in machine_ids(count):
            self._make(models / machine_id / VERSION, machine_id)
        return models

    def _make(self, folder: Path, machine_id: str) -> None:
        folder.mkdir(parents=True)
        for name in self.manifest.files:
            os.link(self._files / name, folder / name)
        manifest = self._written | {"machine_id": machine_id, "version": VERSION}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
