"""Reads server-sent events as a browser does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    name: str
    data: dict[str, Any]
    id: str | None
    retry: str | None


class EventReader:
    """The events of one connection, in order; ``seen`` are those that were read so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.seen: list[Event] = []
        self._lines = response.iter_lines()

    def next(self) -> Event:
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and fields:
                event = Event(fields["event"], json.loads(fields["data"]), fields.get("id"), fields.get("retry"))
                self.seen.append(event)
                return event
            if line:
                name, _, value = line.partition(":")
                assert name not in fields, "a field came twice"
                fields[name] = value.removeprefix(" ")
        raise EOFError

    def until(self, what: Callable[[Event], object], *, timeout_s: float = 60.0) -> Event:
        """The next event of which something is so."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            event = self.next()
            if what(event):
                return event
        raise TimeoutError([event.name for event in self.seen])

    def rest(self) -> list[Event]:
        """Everything up to the end of the connection."""
        try:
            while True:
                self.next()
        except EOFError:
            return self.seen


@contextmanager
def reading(http: httpx.Client, path: str, headers: dict[str, str] | None = None) -> Iterator[EventReader]:
    with http.stream("GET", path, headers=headers, timeout=20) as response:
        assert response.status_code == 200, response.read()
        yield EventReader(response)
