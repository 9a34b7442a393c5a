"""Text files that people write: as editors and shells of any system leave them."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

MAX_TEXT_BYTES: Final = 16 << 20
"""More than this is no file that a person wrote."""

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as the mark of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(path: Path) -> str:
    """Return the text of a file, its lines ended as Unix ends them.

    It is UTF-8, with or without a byte order mark, or what a byte order mark says: PowerShell's ``>`` writes UTF-16.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such text; the message says what to do.
    """
    with path.open("rb") as file:
        content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"it is longer than {MAX_TEXT_BYTES >> 20} MiB")
    return text_of(content)


def text_of(content: bytes) -> str:
    """Return the text of bytes, as :func:`read_text` does. Raises ValueError."""
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"it is not {encoding.upper()} (line {line}, byte 0x{content[error.start]:02x}): save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError("it has zero bytes, as UTF-16 without a byte order mark has: save it as UTF-8")
    # Files that were put together have marks inside as well.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def bare_value(value: str) -> str:
    """Return a value without blanks, line ends and byte order marks around it, which files of variables leave there."""
    return value.strip("\ufeff \t\r\n")


def encoding_of(head: bytes) -> str:
    """Return the encoding that the first four bytes of a file tell: UTF-8 unless there is another's mark."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")
