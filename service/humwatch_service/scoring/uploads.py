"""The upload of a recording: from a multipart form or a raw body to a file that does not fill the memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from humwatch_service.errors import ClientGone, MediaTypeUnsupported, Overloaded
from humwatch_service.protocol.media_types import FORM_TYPE, UNSPECIFIED_TYPES, WAV_TYPES, media_type_of
from humwatch_service.scoring.forms import received_form
from humwatch_service.scoring.peeked_body import PeekedBody, is_binary, is_recording

SPOOL_BYTES: Final = 1 << 20
"""Size of a recording that is kept in memory; a larger one lies in a temporary file without a name."""

_SOUND_TYPES: Final = (
    (UNSPECIFIED_TYPES - {FORM_TYPE})
    | WAV_TYPES
    | {
        "application/flac",
        "application/x-flac",
        "application/ogg",
    }
)
"""Types of recordings besides ``audio/`` and ``video/``; nothing at all is one."""
_SAMPLE_TYPES: Final = frozenset({"audio/l16", "audio/l24", "audio/x-raw", "audio/pcm"})


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
        RequestMalformed: the form cannot be read, or ends early.
        RequestInvalid: the form has no recording, or several.
        BodyTooLarge, BodyTimedOut, ClientGone: the body is too large, comes too slowly, or ends early.
    """
    content_type = request.headers.get("content-type", "")
    media_type = media_type_of(content_type)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeUnsupported("send the recording as it is, without Content-Encoding; FLAC makes it small")
    try:
        body = await PeekedBody.of(request.stream())
        if media_type == "multipart/form-data" and not is_recording(body.head):
            async with received_form(body, content_type) as (file, fields):
                yield Upload(file, fields)
        else:
            _check_type(media_type, body.head)
            async with _raw(body) as upload:
                yield upload
    except ClientDisconnect as error:
        raise ClientGone("the caller hung up") from error


@asynccontextmanager
async def _raw(body: PeekedBody) -> AsyncIterator[Upload]:
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        recording = cast("BinaryIO", file)
        spooled = UploadFile(recording, size=0)
        async for chunk in body.chunks():
            await spooled.write(chunk)
        await spooled.seek(0)
        yield Upload(recording, {})


def _check_type(media_type: str, head: bytes) -> None:
    """Take a body whose type says that it is sound, or whose first bytes leave no doubt that it is a recording."""
    if media_type in _SAMPLE_TYPES and head and not is_recording(head):
        raise MediaTypeUnsupported(
            f"{media_type} is samples without a header: send them to /v1/machines/{{machine_id}}/stream?realtime=false,"
            " or with a WAV header to be scored as a recording"
        )
    if not head or media_type in _SOUND_TYPES or media_type.startswith(("audio/", "video/")):
        return
    if media_type == FORM_TYPE and head.startswith((b"RIFF", b"fLaC")) and b"\0" not in head:
        raise MediaTypeUnsupported(
            "the recording has lost its zeros, as curl's -d takes them out: send it with -T name.wav, --data-binary"
            " @name.wav or -F file=@name.wav"
        )
    if is_recording(head) or (media_type == FORM_TYPE and is_binary(head)):
        return
    raise MediaTypeUnsupported(
        f"{media_type[:80]!r} is not read, and the body does not begin as a recording does: send the recording itself"
        " (curl: -T name.wav), or multipart/form-data with a field `file` (curl: -F file=@name.wav)"
    )
