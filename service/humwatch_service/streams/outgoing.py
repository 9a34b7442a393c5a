"""Messages for a client of a live stream, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from humwatch_service.protocol.messages import Received, Score, ServerMessage

MAX_OUTGOING: Final = 256
"""Most messages that wait for a client that does not read; then the oldest scores are dropped."""


class Outgoing:
    """Messages for a client, bounded: one that reads slowly loses scores, never states or errors."""

    def __init__(self) -> None:
        """Begin without messages."""
        self.dropped = 0
        self._messages: deque[ServerMessage] = deque()
        self._there = asyncio.Event()
        self._closed = False

    def put(self, message: ServerMessage) -> None:
        """Add a message."""
        if len(self._messages) >= MAX_OUTGOING:
            self._drop_one()
        self._messages.append(message)
        self._there.set()

    def close(self) -> None:
        """End: nothing more comes."""
        self._closed = True
        self._there.set()

    async def something(self) -> bool:
        """Wait for a message; return False at the end."""
        while not self._messages:
            if self._closed:
                return False
            self._there.clear()
            await self._there.wait()
        return True

    def take_all(self) -> list[ServerMessage]:
        """Return the messages that wait, in order; they wait no more."""
        messages = list(self._messages)
        self._messages.clear()
        return messages

    async def get(self) -> ServerMessage | None:
        """Wait for the next message, and return it; None at the end."""
        return self._messages.popleft() if await self.something() else None

    def _drop_one(self) -> None:
        self.dropped += 1
        for message in self._messages:
            if isinstance(message, (Score, Received)):
                self._messages.remove(message)
                return
        self._messages.popleft()
