"""The form of an upload, as browsers, libraries and hand-made programs write it: which part is the recording."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from humwatch_service.errors import RequestInvalid, RequestMalformed
from humwatch_service.protocol.containers import LONGEST_BYTES, sniff

FIELDS: Final = ("machine_id", "channel")
"""Parts that are text; any other may be the recording."""
MAX_FIELDS: Final = 8
MAX_FIELD_BYTES: Final = 64 << 10
MAX_FILES: Final = 4
SPOOL_BYTES: Final = (1 << 20) // MAX_FILES
"""Size of a part that is kept in memory; a larger one lies in a temporary file without a name."""


class _Parser(MultiPartParser):
    """Starlette's parser, which keeps every part that may be a recording as a file, and notices a form's early end."""

    spool_max_size = SPOOL_BYTES
    ended: bool = False

    def on_headers_finished(self) -> None:
        """Give a part the names that it should have: one without a file name would be text, and at most 64 KiB."""
        part = self._current_part
        disposition = part.content_disposition or b"form-data"
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            disposition += b'; name="file"'
        if b"filename" not in options and options.get(b"name", b"").decode("latin-1") not in FIELDS:
            disposition += b'; filename=""'
        part.content_disposition = disposition
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note that the form is whole."""
        self.ended = True


@asynccontextmanager
async def received_form(request: Request) -> AsyncIterator[tuple[BinaryIO, dict[str, str]]]:
    """Receive a form; yield its recording, and its other fields. The file is gone afterwards.

    Raises:
        RequestMalformed: it cannot be read, or ends early.
        RequestInvalid: it has no recording, or several.
    """
    form = await _parsed(request)
    try:
        yield await _sorted(form.multi_items())
    finally:
        await form.close()


async def _parsed(request: Request) -> FormData:
    parser = _Parser(
        request.headers, request.stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        hint = " (leave the Content-Type to the program that makes the form)" if "boundary" in error.message else ""
        raise RequestMalformed(f"the form cannot be read: {error.message}{hint}") from error
    if not parser.ended:
        await form.close()
        raise RequestMalformed("the form ends before its last boundary: a part of it is missing")
    return form


async def _sorted(items: list[tuple[str, UploadFile | str]]) -> tuple[BinaryIO, dict[str, str]]:
    """Return the one recording among the parts, and the fields beside it."""
    fields: dict[str, str] = {}
    recordings: list[tuple[str, UploadFile]] = []
    for name, value in items:
        if isinstance(value, UploadFile):
            if await _is_file(name, value):
                recordings.append((name, value))
            elif value.size or value.headers.get("content-type") is None:
                _add(fields, name, "")  # no recording, and no field that there is: named as such
        else:
            _add(fields, name, value)
    if len(recordings) > 1:
        names = ", ".join(repr(name[:40]) for name, _ in recordings)
        raise RequestInvalid(f"the form has {len(recordings)} files, in {names}: send one recording at a time")
    if not recordings:
        _name_the_mistake(fields)
        raise RequestInvalid("the form has no recording: send it in the field `file` (curl: `-F file=@name.wav`)")
    return recordings[0][1].file, fields


async def _is_file(name: str, part: UploadFile) -> bool:
    """Whether a part is a file: it has a file name, or its bytes leave no doubt."""
    if name in FIELDS:
        raise RequestInvalid(f"the field `{name}` is a file; it has to be text")
    if part.filename:
        return True
    head = await part.read(LONGEST_BYTES)
    await part.seek(0)
    return is_recording(head) or is_binary(head)


def _add(fields: dict[str, str], name: str, value: str) -> None:
    if name in fields:
        raise RequestInvalid("a field of the form was sent twice")
    fields[name] = value


def _name_the_mistake(fields: dict[str, str]) -> None:
    if "file" in fields:
        raise RequestInvalid("the field `file` holds text: a recording is sent as a file (curl: `-F file=@name.wav`)")


def is_recording(head: bytes) -> bool:
    """Whether first bytes are those of a recording of any kind."""
    return sniff(head).container is not None


def is_binary(head: bytes) -> bool:
    """Whether first bytes are no text: they have zeros or other control characters, or are no UTF-8."""
    if any(byte < 0x20 and byte not in b"\t\n\r\f" for byte in head):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return True
    return False
