"""Use of processors and memory by processes, as the system counts it (Linux: /proc)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """Use of processors and memory by a process that leads a session and all others of its session.

    Attributes:
        at_s: time of the reading by the monotonic clock, seconds.
        cpu_s: processor time so far, seconds.
        rss_mb: resident memory now, MB of 10^6 bytes; what processes share counts for each.
    """

    at_s: float
    cpu_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Measure a process with what it started; one that is gone has used nothing."""
        family = _family(pid)
        return cls(time.monotonic(), sum(map(_cpu_s, family)), sum(map(_rss_mb, family)))

    def cores_since(self, before: Usage) -> float:
        """Return the processors that were kept busy since another reading."""
        return max(0.0, self.cpu_s - before.cpu_s) / max(1e-9, self.at_s - before.at_s)


def busy_s() -> float:
    """Return the processor time that all programs of this host have used so far, seconds."""
    user, nice, system, _, _, irq, softirq, steal = map(int, _text(PROC / "stat").split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    """Return the process and all that it started: they share a session, which the service has for itself."""
    numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid, *(number for number in numbers if number != pid and _session(number) == pid)]


def _session(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[3]) if fields else 0


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields behind the name, which may hold blanks itself: state, parent, group, session, ..."""
    return _text(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _rss_mb(pid: int) -> float:
    fields = _text(PROC / str(pid) / "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if fields else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
