"""Options and output that ``listen`` and ``replay`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from humwatch_service.cli.console import say
from humwatch_service.client import DEFAULT_URL, Connected, LinkEvent, ServiceAddress
from humwatch_service.protocol.messages import ServerMessage

MachineOption = Annotated[str, typer.Option(help="Whose sound it is: the machine's id.")]
UrlOption = Annotated[str, typer.Option(help="Where the service is.")]
KeyFileOption = Annotated[Path | None, typer.Option(help="File with the API key: its first line.")]
ChannelOption = Annotated[
    int | None, typer.Option(min=0, max=15, help="Channel to judge, counted from 0; else the model's.")
]
MessagesOption = Annotated[
    bool, typer.Option("--json", help="Write every message of the service to stdout, one JSON object a line.")
]

__all__ = ["DEFAULT_URL", "ChannelOption", "KeyFileOption", "MachineOption", "MessagesOption", "UrlOption"]


def address(url: str, key_file: Path | None) -> ServiceAddress:
    """Return the address to send to; warn of a key that others can read. Raises as :class:`ServiceAddress`."""
    where = ServiceAddress.with_key_file(url, key_file)
    if where.shows_its_key:
        say(f"warning: {url} is not encrypted: everyone on the way can read the API key")
    return where


def print_message(message: ServerMessage) -> None:
    """Write a message to stdout as it came."""
    typer.echo(message.model_dump_json())


def link_event_text(event: LinkEvent) -> str:
    """Return an event of the connection in words."""
    if not isinstance(event, Connected):
        return f"{event.refusal}; trying again in {event.delay_s:.1f} s"
    ready = event.ready
    since = f"resumes at sample {ready.next_sample}" if ready.resumed else "begins"
    gap = f", {event.gap_samples} samples are lost" if event.gap_samples else ""
    model = f"model {ready.model_version}" if ready.model_version else "no model yet"
    return f"connected: {ready.machine_id}, {model}, stream {ready.stream_id} {since}{gap}"
