"""The upload of a recording: from a multipart form or a raw body to a file that does not fill the memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from humwatch_service.errors import ClientGone, MediaTypeUnsupported, Overloaded, RequestInvalid

SPOOL_BYTES: Final = 1 << 20
"""Size of a recording that is kept in memory; a larger one lies in a temporary file without a name."""

MAX_FIELDS: Final = 8
MAX_FIELD_BYTES: Final = 64 << 10

_RAW_TYPES: Final = frozenset({"", "application/octet-stream"})


@dataclass(frozen=True)
class Upload:
    """A received recording, with the other fields of its form."""

    file: BinaryIO
    fields: dict[str, str]


class UploadSlots:
    """The bound of the number of bodies that are received at a time."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._taken = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot. Raises :class:`Overloaded` when there is none."""
        if self._taken >= self._at_most:
            raise Overloaded(f"{self._at_most} recordings are being received; ask again later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@asynccontextmanager
async def receive(request: Request) -> AsyncIterator[Upload]:
    """Receive a recording; its file is gone afterwards.

    Raises:
        MediaTypeUnsupported: the body is neither a form nor sound.
        RequestInvalid: the form has no file, or several.
        BodyTooLarge, BodyTimedOut, ClientGone: the body is too large, comes too slowly, or ends early.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeUnsupported("send the recording as it is, without Content-Encoding; FLAC makes it small")
    try:
        if media_type == "multipart/form-data":
            async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
                yield _of_form(form.multi_items())
        elif media_type in _RAW_TYPES or media_type.startswith("audio/"):
            async with _raw(request) as upload:
                yield upload
        else:
            raise MediaTypeUnsupported(
                f"{media_type[:80]!r} is not read: send multipart/form-data with a field `file`, or the recording"
                " itself as audio/wav, audio/flac or application/octet-stream"
            )
    except ClientDisconnect as error:
        raise ClientGone("the caller hung up") from error


def _of_form(items: list[tuple[str, UploadFile | str]]) -> Upload:
    fields: dict[str, str] = {}
    file: UploadFile | None = None
    for name, value in items:
        if isinstance(value, UploadFile):
            if name != "file":
                raise RequestInvalid("the recording has to be in the field `file`")
            file = value
        elif name == "file":
            raise RequestInvalid("the field `file` has to be a file: it needs a file name (curl: `-F file=@name.wav`)")
        elif name in fields:
            raise RequestInvalid("a field of the form was sent twice")
        else:
            fields[name] = value
    if file is None:
        raise RequestInvalid("the field `file` is missing: it holds the recording")
    return Upload(file.file, fields)


@asynccontextmanager
async def _raw(request: Request) -> AsyncIterator[Upload]:
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        recording = cast("BinaryIO", file)
        spooled = UploadFile(recording, size=0)
        async for chunk in request.stream():
            await spooled.write(chunk)
        await spooled.seek(0)
        yield Upload(recording, {})
