"""Folder of models: the machines in it, their versions, and the one in use.

``<models>/<machine_id>/active.json`` names the active version and those before it, for ``rollback``; without it the
highest version is active. Ids and versions are looked up among what is there, never joined to a path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from humwatch.bundle.bundle import Bundle, read_bundle, read_manifest
from humwatch.bundle.manifest import MACHINE_ID, MANIFEST, Manifest, Version
from humwatch.durable import replace_durably
from humwatch.errors import BundleError, BundleInvalid, MachineNotFound, RepositoryError, VersionNotFound
from humwatch.text_files import read_text

ACTIVE: Final = "active.json"
MAX_HISTORY: Final = 20

_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class ActiveVersion(BaseModel):
    """Content of ``active.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version
    previous: list[Version] = []


class ModelRepository:
    """Folder of models.

    Args:
        root: path of the folder.

    Example:
        >>> from pathlib import Path
        >>> from humwatch import ModelRepository
        >>> models = ModelRepository(Path("models"))
        >>> models.machine_ids()
        ['fan-id_00']
        >>> bundle = models.read("fan-id_00")
        >>> bundle.manifest.version == models.active_version("fan-id_00")
        True
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def machine_ids(self) -> list[str]:
        """Return the ids of the machines that have a model, sorted.

        Raises:
            RepositoryError: the folder cannot be read.
        """
        return sorted(name for name in self._names() if self._versions(name))

    def versions(self, machine_id: str) -> list[str]:
        """Return the versions of a machine's model, oldest first. Raises :class:`MachineNotFound`."""
        return self._versions(self._known(machine_id))

    def active_version(self, machine_id: str) -> str:
        """Return the version in use. Raises :class:`MachineNotFound`, :class:`BundleInvalid`."""
        return self._active(self._known(machine_id)).version

    def folder(self, machine_id: str, version: str | None = None) -> Path:
        """Return the folder of a version, by default the active one.

        Raises:
            RepositoryError: no such machine or version, or the folder cannot be read.
            BundleInvalid: ``active.json`` cannot be read.
        """
        machine = self._known(machine_id)
        chosen = version or self._active(machine).version
        if chosen not in self._versions(machine):
            raise VersionNotFound(f"{machine} has no version {chosen[:20]!r}")
        return self.root / machine / chosen

    def manifest(self, machine_id: str, version: str | None = None) -> Manifest:
        """Return the manifest of a version. Raises :class:`RepositoryError`, :class:`BundleInvalid`."""
        return self._in_place(read_manifest(self.folder(machine_id, version)), machine_id)

    def read(self, machine_id: str, version: str | None = None) -> Bundle:
        """Read and check a bundle. Raises :class:`RepositoryError`, :class:`humwatch.errors.BundleError`."""
        bundle = read_bundle(self.folder(machine_id, version))
        self._in_place(bundle.manifest, machine_id)
        return bundle

    def bundles_of_type(self, machine_type: str) -> list[Bundle]:
        """Return the bundles in use of a type of machine without unreadable ones; none if the folder is missing."""
        found = []
        for machine_id in self.machine_ids() if self.root.is_dir() else []:
            try:
                if self.manifest(machine_id).machine_type == machine_type:
                    found.append(self.read(machine_id))
            except (BundleError, RepositoryError):
                continue
        return found

    def next_version(self, machine_id: str) -> str:
        """Return the version that a new bundle of this machine gets; the machine may be new."""
        return str(max((int(version) for version in self._versions(machine_id)), default=0) + 1)

    def activate(self, machine_id: str, version: str) -> None:
        """Use ``version`` from now on, also when a higher one comes.

        Raises:
            RepositoryError, BundleInvalid: there is no such machine or version, or ``active.json`` cannot be read.
        """
        machine = self._known(machine_id)
        self.folder(machine, version)
        before = self._active(machine)
        previous = before.previous if before.version == version else [*before.previous, before.version]
        self._write_active(machine, ActiveVersion(version=version, previous=previous))

    def rollback(self, machine_id: str) -> str:
        """Go back to the version in use before; return it. Raises :class:`VersionNotFound` when there is none."""
        machine = self._known(machine_id)
        before = self._active(machine)
        there = self._versions(machine)
        previous = [version for version in before.previous if version in there]
        if not previous:
            raise VersionNotFound(f"{machine} has no version before {before.version}")
        self._write_active(machine, ActiveVersion(version=previous[-1], previous=previous[:-1]))
        return previous[-1]

    def _known(self, machine_id: str) -> str:
        """Return the name of the machine's folder; the others are not read."""
        for name in self._names():
            if name == machine_id and self._versions(name):
                return name
        raise MachineNotFound(f"there is no machine {machine_id[:80]!r}")

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.root) as entries:
                return [entry.name for entry in entries]
        except OSError as error:
            raise RepositoryError(f"the models folder {self.root} cannot be read: {error.strerror}") from error

    def _versions(self, machine: str) -> list[str]:
        try:
            entries = list((self.root / machine).iterdir()) if MACHINE_ID.fullmatch(machine) else []
        except OSError:
            return []
        found = [entry.name for entry in entries if _VERSION.fullmatch(entry.name) and (entry / MANIFEST).is_file()]
        return sorted(found, key=int)

    def _active(self, machine: str) -> ActiveVersion:
        path = self.root / machine / ACTIVE
        try:
            return ActiveVersion.model_validate_json(read_text(path))
        except FileNotFoundError:
            return ActiveVersion(version=self._versions(machine)[-1])
        except (OSError, ValueError) as error:
            raise BundleInvalid(f"{path} cannot be read") from error

    def _write_active(self, machine: str, active: ActiveVersion) -> None:
        active = active.model_copy(update={"previous": active.previous[-MAX_HISTORY:]})
        data = active.model_dump_json().encode() + b"\n"
        replace_durably(self.root / machine / ACTIVE, lambda file: file.write(data))

    def _in_place(self, manifest: Manifest, machine_id: str) -> Manifest:
        if manifest.machine_id != machine_id:
            raise BundleInvalid(f"a bundle of {manifest.machine_id} lies in the folder of {machine_id}")
        return manifest
