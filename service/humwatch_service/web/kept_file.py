"""An answer from a file that may be replaced or deleted while it is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

_TRIES: Final = 3
"""Looks for a file that another takes the place of between the look and the opening."""


class KeptFileResponse(FileResponse):
    """One open file from its first to its last byte, whatever takes its place meanwhile.

    ``FileResponse`` asks for the size, sends it, and opens the file by its name then: it may be another by that time.
    """

    def __init__(
        self, file: BinaryIO, *, media_type: str | None = None, filename: str | None = None, status_code: int = 200
    ) -> None:
        """Take an open file; it is closed when the answer was sent."""
        self._file = file
        descriptor = file.fileno()
        super().__init__(
            f"/dev/fd/{descriptor}",  # opened anew for each answer: the same file, at its begin
            status_code,
            media_type=media_type,
            filename=filename,
            stat_result=os.fstat(descriptor),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the ranges of it that were asked for."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def kept_file(find: Callable[[], Path], *, media_type: str, filename: str | None = None) -> KeptFileResponse:
    """Return the answer with a file.

    Args:
        find: gives the path of the file, or raises what the caller is told where there is none; blocks on the disk.
        media_type: of the answer.
        filename: name that a browser saves it under; None: it is shown.
    """
    file = await run_in_threadpool(_opened, find)
    return KeptFileResponse(file, media_type=media_type, filename=filename)


def _opened(find: Callable[[], Path]) -> BinaryIO:
    for _ in range(_TRIES - 1):
        try:
            return find().open("rb")
        except FileNotFoundError:
            continue
    return find().open("rb")
