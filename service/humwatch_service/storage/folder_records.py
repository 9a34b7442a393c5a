"""Records of watched folders, as the database keeps them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

FileOutcome = Literal["heard", "existing", "empty", "unreadable", "unsupported", "gone"]
"""Outcome of a recording; all but ``heard`` were passed over."""
FILE_OUTCOMES: Final[tuple[FileOutcome, ...]] = get_args(FileOutcome)

_INT64: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Identity of a file by the file system, by which it is known again.

    Attributes:
        size: size, bytes.
        modified_ns: last change, nanoseconds since 1970.
        inode: number of the file, as a signed number of 64 bits.
        changed_ns: last change of the file or of what is known of it, nanoseconds since 1970; not compared, as a name
            or permissions change it too.
    """

    size: int
    modified_ns: int
    inode: int
    changed_ns: int = field(default=0, compare=False)

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        """Return the identity of a file."""
        inode = status.st_ino % _INT64
        signed = inode - _INT64 if inode >= _INT64 // 2 else inode
        return cls(status.st_size, status.st_mtime_ns, signed, status.st_ctime_ns)

    @property
    def modified_s(self) -> float:
        """Last change, seconds since 1970."""
        return self.modified_ns / 1e9


@dataclass(frozen=True, slots=True)
class FileRow:
    """A recording that is done with.

    Attributes:
        path: path inside the folder.
        identity: what the file system said of it then.
        outcome: what became of it.
        noted_s: when that was noted, seconds since 1970.
        recorded_s: when it was taken, seconds since 1970; None where nobody looked.
        fingerprint: digest of parts of its content; None where it was not read.
    """

    path: str
    identity: FileIdentity
    outcome: FileOutcome
    noted_s: float
    recorded_s: float | None = None
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class FolderPart:
    """A recording as a part of a stream.

    Attributes:
        number: place in the order in which recordings are heard.
        path: path inside the folder.
        identity: what the file system said of it.
        stream_id: name of the count of samples.
        start_sample: index of its first sample in that count.
        samples: number of its samples, as its header says.
        rate_hz: sample rate, Hz.
        recorded_s: when the first sample was taken, seconds since 1970.
    """

    number: int
    path: str
    identity: FileIdentity
    stream_id: str
    start_sample: int
    samples: int
    rate_hz: int
    recorded_s: float


@dataclass(frozen=True)
class KeptFolder:
    """Record of a folder, but for its files.

    Attributes:
        key: number of the folder.
        device: device that it lay on when it was looked at for the first time; None before.
        stream_id: stream that was scored last; None before any.
        scored_until: sample before which its sound is done with.
        parts: recordings whose sound may be needed again, in order.
    """

    key: int
    device: str | None
    stream_id: str | None
    scored_until: int
    parts: tuple[FolderPart, ...]
