"""Callers that hang up while they are worked for."""

from __future__ import annotations

from fastapi import Request


async def hung_up(request: Request) -> None:
    """Return once the caller of a request whose body was read is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
