"""Bytes that a line has not delivered yet: where the other side confirms some, it lives, however slow the line is."""

from __future__ import annotations

import array
import asyncio
import importlib

_REQUEST = "TIOCOUTQ"  # of a TCP socket on Linux: bytes that the other side has not confirmed


def undelivered_bytes(transport: asyncio.Transport) -> int | None:
    """Return how many bytes that were sent the other side has not confirmed; None where the system does not say."""
    try:
        fcntl, termios = importlib.import_module("fcntl"), importlib.import_module("termios")
        queued = array.array("i", [0])
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), getattr(termios, _REQUEST), queued)
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    return transport.get_write_buffer_size() + queued[0]
