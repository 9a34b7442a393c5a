"""``humwatch listen``: a microphone of this machine, followed by the service for as long as it runs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from humwatch_service.cli.client_options import (
    DEFAULT_URL,
    ChannelOption,
    KeyFileOption,
    MachineOption,
    MessagesOption,
    UrlOption,
    address,
    link_event_text,
    print_message,
)
from humwatch_service.cli.console import failures
from humwatch_service.cli.interruption import interruptible
from humwatch_service.cli.meter import MeterState, StreamDisplay, display, levels_dbfs
from humwatch_service.client import (
    Backlog,
    LinkEvent,
    Patience,
    ServiceAddress,
    StreamClient,
)
from humwatch_service.protocol.messages import Bye, Hello, ServerMessage
from humwatch_service.sources.capture import Block, Microphone, capture_blocks, load_sounddevice

PATIENCE: Final = Patience(
    slow_codes=frozenset(
        {"stream_owned", "stream_idle", "machine_not_found", "not_found", "http_404", "upgrade_required", "http_426"}
    )
)
"""A box that runs for years does not give up because a machine or a proxy is not set up yet, or another listens."""

GOODBYE_S: Final = 5.0
"""Longest time for what is left to be sent and scored, after the signal to stop."""


def listen(
    machine: MachineOption,
    url: UrlOption = DEFAULT_URL,
    key_file: KeyFileOption = None,
    device: Annotated[
        str | None, typer.Option(help="Number or name of the device, or a part of it; else the system's own choice.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=4_000, max=384_000, help="Samples a second; else what the device likes best.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=16, help="Channels to take; else 1, or up to the one to judge.")
    ] = None,
    bits_24: Annotated[bool, typer.Option("--24-bits", help="Take samples of 24 bits instead of 16.")] = False,
    channel: ChannelOption = None,
    buffer_minutes: Annotated[
        float, typer.Option(min=0.1, max=1440.0, help="Sound kept for when the service cannot be reached, minutes.")
    ] = 5.0,
    as_json: MessagesOption = False,
) -> None:
    """Send a microphone's sound to the service until SIGTERM or Ctrl-C, through breaks of the network."""
    with failures(as_json=as_json):
        where = address(url, key_file)
        microphone = Microphone(
            load_sounddevice(),
            device,
            rate_hz=rate,
            channels=channels or (channel or 0) + 1,
            bits=24 if bits_24 else 16,
        )
        microphone.open()
        hello = Hello(
            rate_hz=microphone.rate_hz, format=microphone.format, channels=microphone.channels, channel=channel
        )
        backlog = Backlog(hello, buffer_s=60.0 * buffer_minutes)
        asyncio.run(_listen(where, machine, microphone, backlog, as_json=as_json))


async def _listen(
    where: ServiceAddress, machine: str, microphone: Microphone, backlog: Backlog, *, as_json: bool
) -> None:
    meter = MeterState(machine, microphone.device.name)
    with interruptible() as stop, display(meter) as shown:

        def on_message(message: ServerMessage) -> None:
            if as_json:
                print_message(message)
            meter.on_message(message)
            shown.changed()

        def on_link(event: LinkEvent) -> None:
            meter.on_link(event)
            shown.note(link_event_text(event))

        client = StreamClient(where, machine, backlog, patience=PATIENCE, on_message=on_message, on_link=on_link)
        sending = asyncio.create_task(client.run())
        sending.add_done_callback(lambda _: stop.set())
        try:
            await _pump(microphone, backlog, meter, shown, stop)
        finally:
            backlog.finish()
            await _goodbye(sending, shown)


async def _pump(
    microphone: Microphone, backlog: Backlog, meter: MeterState, shown: StreamDisplay, stop: asyncio.Event
) -> None:
    """Bring blocks from the microphone to the backlog until the signal to stop."""
    async for block in capture_blocks(microphone, stop=stop, on_trouble=shown.note):
        _add(block, backlog)
        meter.peak_dbfs, meter.rms_dbfs = levels_dbfs(block.data, microphone.format)
        meter.dropped_samples = backlog.dropped_samples
        shown.changed()


def _add(block: Block, backlog: Backlog) -> None:
    backlog.skip(block.gap_samples)
    if block.overflows:
        backlog.overflowed(block.overflows)
    backlog.append(block.data, time_s=block.time_s)


async def _goodbye(sending: asyncio.Task[Bye], shown: StreamDisplay) -> None:
    """Give the last samples a moment. Raises what ended the sending, if it was not the end itself."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            bye = await sending
    except TimeoutError:
        shown.note(f"the service did not take the rest within {GOODBYE_S:.0f} s")
    else:
        shown.note(f"{bye.samples} samples were heard, {bye.gap_samples} are missing")
