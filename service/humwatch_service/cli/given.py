"""Recordings that a command is given: files, folders, and pipes, which are written to a file first."""

from __future__ import annotations

import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from humwatch.audio.decoding import DecodeLimits
from humwatch.audio.wav_opening import read_wav_opening
from humwatch.errors import AudioTooLarge, AudioTooLong
from humwatch_service.cli.console import say
from humwatch_service.errors import FileUnreadable
from humwatch_service.given_recordings import recordings_in

STANDARD_INPUT: Final = Path("-")

_PIECE: Final = 1 << 16
_BYTES_A_SAMPLE: Final = 8
"""No encoding takes more."""


@contextmanager
def on_disk(paths: Sequence[Path], limits: DecodeLimits) -> Iterator[list[Path]]:
    """Give for each path that in which its recording lies: itself, or a temporary copy of what came through a pipe.

    Args:
        paths: files, folders, pipes, ``-`` for standard input.
        limits: limits of decoding, which bound the copies too.

    Raises:
        AudioTooLong, AudioTooLarge: more comes than is taken.
        FileUnreadable: a pipe cannot be read, or the copy cannot be written.
    """
    piped = [path for path in dict.fromkeys(paths) if _is_pipe(path)]
    if not piped:
        yield list(paths)
        return
    folder = Path(tempfile.mkdtemp(prefix="humwatch-"))
    try:
        copies = {path: _copied(path, folder / f"{number}-{_name(path)}", limits) for number, path in enumerate(piped)}
        yield [copies.get(path, path) for path in paths]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def recordings_said(paths: Sequence[Path]) -> list[Path]:
    """Return the recordings among files and folders, and say which files of folders are none. Raises FileUnreadable."""
    found = recordings_in(paths)
    if found.remark:
        say(found.remark)
    return found.recordings


def _is_pipe(path: Path) -> bool:
    if path == STANDARD_INPUT:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _name(path: Path) -> str:
    return "standard-input" if path == STANDARD_INPUT else path.name


def _copied(path: Path, copy: Path, limits: DecodeLimits) -> Path:
    try:
        with copy.open("w+b") as file:
            if path == STANDARD_INPUT:
                _spool(sys.stdin.buffer, file, limits)
            else:
                with path.open("rb") as pipe:
                    _spool(pipe, file, limits)
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    return copy


def _spool(pipe: BinaryIO, file: BinaryIO, limits: DecodeLimits) -> None:
    """Copy until the end; of a WAV file no more than the longest recording has, of others what could be one."""
    at_most, written, rate = limits.max_samples * _BYTES_A_SAMPLE, 0, None
    while piece := pipe.read(_PIECE):
        file.write(piece)
        if written == 0:
            opening = read_wav_opening(file)
            form = None if opening is None else opening.format
            rate = form.bytes_per_s or None if form else None
            file.seek(0, 2)
        written += len(piece)
        if rate is not None and written - _PIECE > rate * limits.max_duration_s:
            raise AudioTooLong(f"more than {limits.max_duration_s:.0f} s came through the pipe")
        if written > at_most:
            raise AudioTooLarge(f"more than {at_most} bytes came through the pipe")
