"""What a connection may do; known to the server and to those that tell clients of it."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Largest message on a WebSocket."""
