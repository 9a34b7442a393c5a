"""The reference client of the live protocol; ``docs/protocol.md`` is the specification.

A source fills a :class:`Backlog`, a :class:`StreamClient` sends it to one machine's stream and resumes after every
break.
"""

from humwatch_service.client.address import DEFAULT_URL, ServiceAddress
from humwatch_service.client.backlog import Backlog
from humwatch_service.client.link import Times, read_message
from humwatch_service.client.patience import Patience
from humwatch_service.client.refusal import Refusal
from humwatch_service.client.ring import Piece, SampleRing
from humwatch_service.client.stream import Connected, LinkEvent, StreamClient, Waiting

__all__ = [
    "DEFAULT_URL",
    "Backlog",
    "Connected",
    "LinkEvent",
    "Patience",
    "Piece",
    "Refusal",
    "SampleRing",
    "ServiceAddress",
    "StreamClient",
    "Times",
    "Waiting",
    "read_message",
]
