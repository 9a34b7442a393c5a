"""Messages for a client of a live stream, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from humwatch_service.protocol.messages import Received, Score, ServerMessage

MAX_OUTGOING: Final = 256
"""Most messages that wait for a client that does not read; then the oldest scores are dropped."""
BESIDE_S: Final = 0.1
"""Longest time that a message waits for another one to leave with, seconds."""


class Outgoing:
    """Messages for a client, bounded: one that reads slowly loses scores, never states or errors.

    Attributes:
        dropped: number of messages that were dropped.
    """

    def __init__(self) -> None:
        """Begin without messages."""
        self.dropped = 0
        self._messages: deque[ServerMessage] = deque()
        self._due = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    def put(self, message: ServerMessage) -> None:
        """Add a message, which leaves at once."""
        self._append(message)
        self._due.set()

    def put_beside(self, message: ServerMessage) -> None:
        """Add a message that nobody waits for: it leaves together with the next one, or by itself a moment later."""
        self._append(message)
        if self._later is None and not self._due.is_set():
            self._later = asyncio.get_running_loop().call_later(BESIDE_S, self._due.set)

    def close(self) -> None:
        """End: nothing more comes."""
        self._closed = True
        self._due.set()

    async def due(self) -> bool:
        """Wait until messages are to leave; return False when all have, at the end."""
        await self._due.wait()
        return bool(self._messages)

    def take(self) -> list[ServerMessage]:
        """Return all that wait, in order; they leave now."""
        messages = list(self._messages)
        self._messages.clear()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if not self._closed:
            self._due.clear()
        return messages

    def _append(self, message: ServerMessage) -> None:
        if len(self._messages) >= MAX_OUTGOING:
            self._drop_one()
        self._messages.append(message)

    def _drop_one(self) -> None:
        self.dropped += 1
        for message in self._messages:
            if isinstance(message, (Score, Received)):
                self._messages.remove(message)
                return
        self._messages.popleft()
