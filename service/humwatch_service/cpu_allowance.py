"""Processors that this process may use: of its affinity, and no more than a container's CPU quota leaves (Linux).

A quota is set on a control group and on any of those that it lies in; the least holds. ``cpu.max`` is version 2's,
``cpu.cfs_quota_us`` version 1's.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class CpuAllowance:
    """Processors that this process may use.

    Attributes:
        processors: number of those that it may run on.
        quota: processors that it may keep busy at a time, a fraction too; None without a quota.
    """

    processors: int
    quota: float | None

    @property
    def cores(self) -> float:
        """Processors that it can keep busy."""
        return float(self.processors) if self.quota is None else min(float(self.processors), self.quota)

    @property
    def workers(self) -> int:
        """Number of threads that have something to run on; 1 at least."""
        return max(1, math.ceil(self.cores))

    def __str__(self) -> str:
        runs = f"{self.processors} processor{'s' if self.processors != 1 else ''}"
        return runs if self.quota is None else f"{self.cores:g} of {runs}, by a CPU quota of {self.quota:g}"


@dataclass(frozen=True)
class _Quota:
    cores: float
    period_s: float


class ControlGroup:
    """Control group of this process for processors, with those that it lies in as far as they can be seen."""

    def __init__(self, root: Path = ROOT) -> None:
        """Look for it, in ``/proc`` and where that says; ``root`` stands for the file system's."""
        self._folders = list(dict.fromkeys(_folders(root)))

    def quota(self) -> float | None:
        """Return the processors that its quota leaves; None without one."""
        return min((quota.cores for _, quota in self._limited()), default=None)

    def throttled_s(self) -> tuple[float, ...]:
        """Return the length of all periods so far in which each quota was used up, seconds; its own first."""
        return tuple(_throttled_periods(folder) * quota.period_s for folder, quota in self._limited())

    def _limited(self) -> Iterator[tuple[Path, _Quota]]:
        for folder in self._folders:
            quota = _quota(folder)
            if quota is not None:
                yield folder, quota


def cpu_allowance(root: Path = ROOT) -> CpuAllowance:
    """Return the processors that this process may use now."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return CpuAllowance(affinity, ControlGroup(root).quota())


def _folders(root: Path) -> Iterator[Path]:
    """Return the folders of the control groups that may limit processors, each before the one that it lies in."""
    for version, group in _groups(root):
        for mount_version, origin, mounted in _mounts(root):
            if mount_version != version:
                continue
            top = root / mounted.lstrip("/")
            inside = _relative(group, origin)
            folder = top / inside
            while folder != top:
                yield folder
                folder = folder.parent
            yield top


def _groups(root: Path) -> Iterator[tuple[int, str]]:
    """Return version and path of the groups that this process is in, of those that may limit processors."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, path
        elif "cpu" in controllers.split(","):
            yield 1, path


def _mounts(root: Path) -> Iterator[tuple[int, str, str]]:
    """Return version, group at its top, and place of mounts of control groups."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        places, kind = before.split(), after.split()
        if len(places) < 5 or len(kind) < 3:
            continue
        origin, mounted = (_ESCAPED.sub(lambda found: chr(int(found[1], 8)), place) for place in places[3:5])
        if kind[0] == "cgroup2":
            yield 2, origin, mounted
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield 1, origin, mounted


def _relative(group: str, origin: str) -> str:
    """Return the path of a group below the one that is mounted; of one that is not below it, nothing can be seen."""
    inside = group if origin == "/" else group.removeprefix(origin) if f"{group}/".startswith(f"{origin}/") else ""
    return "" if ".." in inside.split("/") else inside.strip("/")


def _quota(folder: Path) -> _Quota | None:
    with suppress(OSError, ValueError):
        limit, _, period = (folder / "cpu.max").read_text("ascii").strip().partition(" ")
        return None if limit == "max" else _quota_of(int(limit), int(period or 100_000))
    with suppress(OSError, ValueError):
        limit, period = ((folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return _quota_of(int(limit), int(period))
    return None


def _quota_of(limit_us: int, period_us: int) -> _Quota | None:
    return _Quota(limit_us / period_us, period_us / 1e6) if limit_us > 0 and period_us > 0 else None


def _throttled_periods(folder: Path) -> int:
    counts = dict(line.split(" ", 1) for line in _lines(folder / "cpu.stat") if " " in line)
    with suppress(ValueError):
        return int(counts.get("nr_throttled", 0))
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
