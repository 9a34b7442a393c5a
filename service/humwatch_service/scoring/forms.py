"""The form of an upload, as browsers, libraries and hand-made programs write it: which part is the recording."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from humwatch_service.errors import RequestInvalid, RequestMalformed
from humwatch_service.scoring.peeked_body import HEAD_BYTES, PeekedBody, is_binary, is_recording

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

    async def parse(self) -> FormData:
        """Parse the whole form. Raises :class:`RequestMalformed` where its end is missing."""
        form = await super().parse()
        if not self.ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise RequestMalformed("the form ends before its last boundary: a part of it is missing")
        return form


@asynccontextmanager
async def received_form(body: PeekedBody, content_type: str) -> AsyncIterator[tuple[BinaryIO, dict[str, str]]]:
    """Receive a form; yield its recording, and its other fields. The file is gone afterwards.

    Raises:
        RequestMalformed: it cannot be read, or ends early.
        RequestInvalid: it has no recording, or several.
    """
    form = await _parsed(body, content_type)
    try:
        yield await _sorted(form.multi_items())
    finally:
        await form.close()


async def _parsed(body: PeekedBody, content_type: str) -> FormData:
    parser = _Parser(
        Headers({"Content-Type": _with_boundary(content_type, body.head)}),
        body.chunks(),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        hint = " (leave the Content-Type to the program that makes the form)" if "boundary" in error.message else ""
        raise RequestMalformed(f"the form cannot be read: {error.message}{hint}") from error


def _with_boundary(content_type: str, head: bytes) -> str:
    """Return the content type with the boundary that the body begins with, where it names none.

    Scripts in browsers that set the type by hand leave it out.
    """
    _, options = parse_options_header(content_type)
    first_line = re.match(rb'--([^\r\n"\\]{1,70})\r\n', head)
    if b"boundary" in options or first_line is None:
        return content_type
    return f'multipart/form-data; boundary="{first_line[1].decode("latin-1")}"'


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
    """Return whether a part is a file: it has a file name, or its bytes leave no doubt."""
    if name in FIELDS:
        raise RequestInvalid(f"the field `{name}` is a file; it has to be text")
    if part.filename:
        return True
    head = await part.read(HEAD_BYTES)
    await part.seek(0)
    return is_recording(head) or is_binary(head)


def _add(fields: dict[str, str], name: str, value: str) -> None:
    if name in fields:
        raise RequestInvalid("a field of the form was sent twice")
    fields[name] = value


def _name_the_mistake(fields: dict[str, str]) -> None:
    if "file" in fields:
        raise RequestInvalid("the field `file` holds text: a recording is sent as a file (curl: `-F file=@name.wav`)")
