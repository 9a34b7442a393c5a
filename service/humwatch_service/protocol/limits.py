"""The limits of a connection, for the server and for the messages that name them."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Largest message on a WebSocket."""
EARLIEST_S: Final = 631_152_000.0
"""1990, seconds since 1970: before that no sound was recorded that is sent here."""
