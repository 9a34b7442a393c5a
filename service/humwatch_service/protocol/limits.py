"""The limits of a connection, for the server and for the messages that name them."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Largest message on a WebSocket."""
